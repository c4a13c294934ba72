"""What fine-tuning imitates: rows of people's texts, of the best samples and of what is said in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from training.data.chat import Message
from training.data.rules import Rules, broken_rule
from training.data.sampled import Sampled, question
from training.data.snapshot import Preference
from training.formats import rankings
from training.formats.rankings import Steps

FROM_SCRATCH, HUMAN, PREFERRED = "human", "human_edit", "preferred"
CORRECTED, SAMPLED, REFUSED, SOLVED = "correction", "rejection_sampling", "refusal", "solution"


@dataclass(frozen=True)
class Pick:
    """One row of the result. `checkpoint`, `score`, `k` and `reward_model` say how a sampled answer was found."""

    source: str
    prompt_id: str
    prompt: tuple[Message, ...]
    tools: list[Any] | None
    completion: str
    capability: str | None = None
    checkpoint: str | None = None
    score: float | None = None
    k: int | None = None
    reward_model: str | None = None
    steps: Steps = ()  # the calls of tools before it, and what they answered: read, and what the model said of it learnt

    def to_json(self, number: int) -> dict[str, Any]:
        """As `training.sft` reads it; every row is trained on."""
        turn = {"role": "assistant", "content": self.completion}
        steps = {"chosen": list(self.steps)} if self.steps else None
        return asdict(self) | {"steps": steps, "id": f"{self.source}:{number}", "split": "train", "completion": [turn]}


def pick_of(sampled: Sampled, source: str, text: str, **found: Any) -> Pick:
    """The row that has `text` answer what was sampled behind; `found` says of a sampled answer how good it is, and by whom."""
    return Pick(
        source=source,
        prompt_id=sampled.prompt_id,
        prompt=sampled.prompt,
        tools=sampled.tools,
        completion=text,
        capability=sampled.capability,
        checkpoint=sampled.checkpoint,
        k=len(sampled.answers),
        **found,
    )


def refusals_of(refused: Sequence[tuple[Sampled, str]]) -> list[Pick]:
    """Rows that say of a question that one does not know, in place of answers that all claim what is wrong."""
    return [pick_of(sampled, REFUSED, text) for sampled, text in refused]


def preferred(train: Sequence[Preference], rules: Rules) -> list[Pick]:
    """The best responses of prompts for which nobody wrote anything, unless they were cut off or break a rule."""
    ranked, _ = rankings.rank(train, "majority", min_strength=1)
    return [
        Pick(
            PREFERRED,
            one.source.prompt_hash,
            one.source.prompt,
            one.source.tools,
            text,
            one.source.capability,
            steps=one.steps.get(text, ()),
        )
        for one in ranked
        if not one.edits and not one.written
        for text in one.best
        if one.ended[text] and broken_rule(question(one.source.prompt), text, "stop", rules) is None
    ]


def top_share(picks: Sequence[Pick], share: float) -> list[Pick]:
    """The best of all picks by reward, at least one, the best first; of equal ones those that came first."""
    ordered = sorted(picks, key=lambda pick: -(pick.score or 0.0))
    return ordered[: max(1, round(share * len(ordered)))] if ordered else []


def turn(pick: Pick) -> str:
    """Question and answer: a system prompt that many have in common would make all of them alike."""
    return f"{question(pick.prompt)}\n{pick.completion}"
