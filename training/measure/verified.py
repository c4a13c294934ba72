"""How many held-out prompts two policies solve, by capability: what checks find of their answers, prompt by prompt.

Prompts are those of the snapshot that say what an answer must come to, judged or not. Both policies answer each once. A prompt
counts where both answers could be checked, so that the two rates are of the same prompts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from training.data.asked import Asked
from training.data.chat import Tokenizer, encode_chat
from training.data.checks import Case, Checks, Finding, verdict
from training.data.left_out import LeftOut
from training.formats.errors import ConfigError, DataError
from training.measure import bootstrap
from training.measure.inference import Sample
from training.measure.metrics import Intervals

ALL, OTHER = "verified", "other"
GAIN = "verified_gain"
"""Names of a rate, and of the difference of two; behind a slash stands the capability, `OTHER` where a prompt says none."""


KNOWN = ("prompt_hash", "prompt", "tools", "reference", "tests", "verifiers", "required")
"""What a line says of a prompt, so that others can check the same answers."""


@dataclass(frozen=True)
class Checked:
    """A held-out prompt whose answers are checked."""

    source: Asked
    prompt_ids: list[int]

    @property
    def capability(self) -> str:
        """What it tests."""
        return self.source.capability or OTHER


@dataclass(frozen=True)
class Side:
    """One policy's answer to a prompt, and what was found of it; `passed` is None where it could not be checked."""

    text: str
    passed: bool | None
    findings: list[dict[str, Any]]  # of each verifier its name, `passed` and `message`


@dataclass(frozen=True)
class Found:
    """What checks found of the answers of two policies."""

    before: Intervals
    after: Intervals
    compared: Intervals
    report: dict[str, Any]
    lines: list[dict[str, Any]]


def questions(
    prompts: Sequence[Asked], tokenizer: Tokenizer, *, max_length: int, most: int, left_out: LeftOut
) -> list[Checked]:
    """The held-out prompts that can be checked, each once, in the order of its hash, as many of each capability as there is room.

    What the template refuses goes to `left_out`; what leaves no room within `max_length` is not asked.
    """
    found: dict[str, Checked] = {}
    for each in sorted(prompts, key=lambda prompt: prompt.prompt_hash):
        if each.split != "held_out" or not each.is_checked or each.prompt_hash in found:
            continue
        try:
            ids = encode_chat(tokenizer, list(each.prompt), add_generation_prompt=True, tools=each.tools)
        except (DataError, ConfigError) as error:
            left_out.refuse("unrenderable", each.prompt_hash, error)
            continue
        if len(ids) < max_length:
            found[each.prompt_hash] = Checked(each, ids)
    return _spread(list(found.values()), most)


def _spread(found: list[Checked], most: int) -> list[Checked]:
    """So many of them, in turn from each capability: one with thousands of prompts must not be all that is measured."""
    turns: dict[str, int] = {}
    order = []
    for each in found:
        turns[each.capability] = turns.get(each.capability, 0) + 1
        order.append((turns[each.capability], each.source.prompt_hash, each))
    return [each for *_, each in sorted(order, key=lambda turn: turn[:2])[:most]]


def measure(
    asked: Sequence[Checked], before: Sequence[Sample], after: Sequence[Sample], checks: Checks, **options: Any
) -> Found:
    """Check the answers of both policies to each prompt, in their order; `options` are those of the bootstrap."""
    olds, news = ([_side(*each, checks) for each in zip(asked, side, strict=True)] for side in (before, after))
    known = [
        (question, float(old.passed), float(new.passed))
        for question, old, new in zip(asked, olds, news, strict=True)
        if old.passed is not None and new.passed is not None
    ]
    rates: tuple[Intervals, Intervals, Intervals] = ({}, {}, {})
    for name, some in _groups(known):
        prompts = [each.source.prompt_hash for each, *_ in some]
        values = [old for _, old, _ in some], [new for *_, new in some], [new - old for _, old, new in some]
        for intervals, kind, of in zip(rates, (ALL, ALL, GAIN), values, strict=True):
            intervals[f"{kind}{name}"] = bootstrap.mean(prompts, of, **options)
    required = sorted({each.capability for each in asked if each.source.required})
    report = {**checks.to_json(), "prompts": len(asked), "measured": len(known), "required": required}
    lines = [
        {
            **{name: getattr(question.source, name) for name in KNOWN},
            "capability": question.capability,
            "before": asdict(old),
            "after": asdict(new),
        }
        for question, old, new in zip(asked, olds, news, strict=True)
    ]
    return Found(*rates, report, lines)


def _groups(known: Sequence[tuple[Checked, float, float]]) -> Iterator[tuple[str, list[tuple[Checked, float, float]]]]:
    if known:
        yield "", list(known)
    for capability in sorted({each.capability for each, *_ in known}):
        yield f"/{capability}", [row for row in known if row[0].capability == capability]


def _side(question: Checked, sample: Sample, checks: Checks) -> Side:
    source = question.source
    steps = sample.steps or None
    case = Case(source.prompt, sample.text, source.reference, source.tests, source.tools, steps)
    findings = checks.of(case, source.verifiers)
    return Side(sample.text, verdict(findings, source.required or None), [_said(each) for each in findings])


def _said(finding: Finding) -> dict[str, Any]:
    return {"verifier": finding.verifier, "passed": finding.passed, "message": finding.message}
