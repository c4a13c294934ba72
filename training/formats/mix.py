"""What is trained on, by capability, language and source: rows, tokens, shares, and what a recipe asks for.

Tokens are those that are learnt: of responses, without prompts. A recipe asks for shares of them, by `capability:NAME`,
`language:NAME` or `source:NAME`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from training.formats.errors import ConfigError

DIMENSIONS = ("capability", "language", "source")
UNKNOWN = "unknown"
PAPER = {"human": 0.024, "other tasks": 0.442, "rejection sampled": 0.188, "translated": 0.346}
"""Of the multilingual data for fine-tuning in Llama 3 (arXiv 2407.21783, 4.3.2); of no other capability does the paper say it."""
MISSING = "The recipe asks for {target} of {dimension} {name}, and it is {share}: about {tokens} tokens are missing."
ORIGINS = ("human", "other_task", "synthetic")
"""Where the rows of a source beside a snapshot come from: people, another task's data, a model."""
AS_IN_PAPER = {
    "human": "human",
    "other_task": "other tasks",
    "human_edit": "human",
    "preferred": "human",
    "imported": "other tasks",
    "rejection_sampling": "rejection sampled",
    "correction": "rejection sampled",
    "translated": "translated",
}
"""Which of the paper's kinds a source is; others have none there. Of "ORIGIN:NAME" the origin says it."""


def named(origin: str, name: str) -> str:
    """What a source beside a snapshot is called here."""
    return f"{origin}:{name}"


@dataclass(frozen=True)
class Portion:
    """Rows that have capability, language and source in common; a row is a prompt with its responses."""

    capability: str
    language: str
    source: str
    rows: int
    tokens: int


def together(portions: Iterable[Portion]) -> list[Portion]:
    """The same, each combination once, those of most tokens first."""
    sums: dict[tuple[str, str, str], tuple[int, int]] = {}
    for each in portions:
        key = (each.capability, each.language, each.source)
        rows, tokens = sums.get(key, (0, 0))
        sums[key] = (rows + each.rows, tokens + each.tokens)
    found = [Portion(*key, *counts) for key, counts in sums.items()]
    return sorted(found, key=lambda each: (-each.tokens, each.capability, each.language, each.source))


def report(portions: Iterable[Portion], targets: Mapping[str, float]) -> dict[str, Any]:
    """As JSON: every combination with its share, the sums of each dimension with what was asked for, and what is missing."""
    found = together(portions)
    rows, tokens = sum(each.rows for each in found), sum(each.tokens for each in found)
    groups = [
        _group(dimension, name, found, tokens, targets.get(f"{dimension}:{name}"))
        for dimension in DIMENSIONS
        for name in _names(dimension, found, targets)
    ]
    kinds: dict[str, int] = dict.fromkeys(PAPER, 0)
    for each in found:
        kind = AS_IN_PAPER.get(each.source.partition(":")[0])
        kinds |= {kind: kinds[kind] + each.tokens} if kind else {}
    return {
        "rows": rows,
        "tokens": tokens,
        "portions": [asdict(each) | {"share": _share(each.tokens, tokens)} for each in found],
        "groups": groups,
        "paper": [
            {"kind": kind, "share": _share(kinds[kind], tokens), "paper": share} for kind, share in PAPER.items()
        ],
        "missing": [sentence(group) for group in groups if group["missing_tokens"]],
    }


def sentence(group: Mapping[str, Any]) -> str:
    """What is missing of a group, for a person."""
    return MISSING.format(
        target=f"{group['target']:.0%}",
        dimension=group["dimension"],
        name=group["name"],
        share=f"{group['share']:.1%}",
        tokens=f"{group['missing_tokens']:,}",
    )


def check(targets: Mapping[str, float]) -> None:
    """Refuse a mix that makes no sense.

    Raises:
        ConfigError: naming the key.
    """
    for key, share in targets.items():
        dimension, _, name = key.partition(":")
        if dimension not in DIMENSIONS or not name:
            raise ConfigError(
                f'"data.mix" has the key {key!r}, but must say {", ".join(f"{each}:NAME" for each in DIMENSIONS)}'
            )
        if not 0 < share < 1:
            raise ConfigError(f'"data.mix" asks for {share} of {key!r}: a share is above 0 and below 1')
    for dimension in DIMENSIONS:
        if sum(share for key, share in targets.items() if key.startswith(f"{dimension}:")) > 1 + 1e-9:
            raise ConfigError(f'"data.mix" asks for more than all: its shares by {dimension} must add up to 1 at most')


def _names(dimension: str, found: Iterable[Portion], targets: Mapping[str, float]) -> list[str]:
    asked = [key.partition(":")[2] for key in targets if key.startswith(f"{dimension}:")]
    return list(dict.fromkeys([*(getattr(each, dimension) for each in found), *asked]))


def _group(dimension: str, name: str, found: Iterable[Portion], tokens: int, target: float | None) -> dict[str, Any]:
    its = [each for each in found if getattr(each, dimension) == name]
    own = sum(each.tokens for each in its)
    # more of it makes the whole larger as well
    missing = 0 if target is None else max(0, ceil(target / (1 - target) * (tokens - own) - own - 1e-6))
    return {
        "dimension": dimension,
        "name": name,
        "rows": sum(each.rows for each in its),
        "tokens": own,
        "share": _share(own, tokens),
        "target": target,
        "missing_tokens": missing,
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
