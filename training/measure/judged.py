"""The judgements that a model is measured on: of a snapshot, or of any preference file in TRL's format.

Where no line of a file has a `split`, the whole file is held out: who evaluates on it says so. Unlike in training,
nothing is filtered by strength: a weak preference is measured, beside the strong ones.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data import snapshot
from training.data.left_out import LeftOut
from training.data.snapshot import Preference
from training.formats.errors import DataError
from training.formats.pairs import WRITTEN
from training.formats.rankings import CUT_OFF


@dataclass(frozen=True)
class Judgement:
    """The line `source` says that `chosen` is better than `rejected`; `ended` is false for what was cut off."""

    source: Preference
    chosen: str
    rejected: str

    @property
    def prompt(self) -> str:
        """What is resampled as one: the hash of the prompt."""
        return self.source.prompt_hash

    @property
    def chosen_ended(self) -> bool:
        """Whether the chosen response came to its end."""
        return self.source.chosen_finish_reason not in CUT_OFF

    @property
    def rejected_ended(self) -> bool:
        """Whether the rejected response came to its end."""
        return self.source.rejected_finish_reason not in CUT_OFF


@dataclass(frozen=True)
class Judgements:
    """What a file holds: `train` is only ever used to fit a baseline. `left_out` counts lines by reason.

    `asked` are all held-out lines, those without a judgement among them.
    """

    train: list[Judgement]
    held_out: list[Judgement]
    asked: list[Preference]
    sha256: str
    left_out: dict[str, int]


Answer = tuple[str, bool]  # a text, and whether it came to its end


@dataclass(frozen=True)
class Four:
    """A prompt with one best answer and three others, of which `borrowed` were given to other prompts."""

    best: Judgement
    others: tuple[Answer, Answer, Answer]
    borrowed: int


def read(path: Path, held_out_percent: int = 100) -> Judgements:
    """Read a snapshot's folder or a JSON Lines file, of whose prompts so many are held out where it does not say.

    Raises:
        DataError: naming the file, the line and what is wrong; or nothing in it is held out.
    """
    unusable = LeftOut()
    rows, digest = snapshot.read(path, held_out_percent, unusable)
    left_out: Counter[str] = Counter(
        {"ties": 0, "all_unacceptable": 0, "written": 0, "same_text": 0, **unusable.counts}
    )
    sides: dict[str, list[Judgement]] = {"train": [], "held_out": []}
    for row in rows:
        if row.outcome == "tie":
            left_out["ties"] += 1
        elif row.outcome == WRITTEN:
            left_out["written"] += 1
        elif row.chosen is None or row.rejected is None:
            left_out["all_unacceptable"] += 1
        elif row.silent:
            left_out["empty_responses"] += 1
        elif row.chosen == row.rejected:
            left_out["same_text"] += 1
        else:
            sides[row.split].append(Judgement(row, row.chosen, row.rejected))
    if not sides["held_out"]:
        counted = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in left_out.items())
        raise DataError(
            f"{path} has no held-out judgement to measure on ({len(sides['train'])} to train on, {counted}): "
            "annotate more prompts, or give a file that no model was trained on"
        )
    asked = [row for row in rows if row.split == "held_out"]
    return Judgements(sides["train"], sides["held_out"], asked, digest, dict(left_out))


def fours(judgements: Sequence[Judgement]) -> list[Four]:
    """Best-of-4 as in RewardBench 2 (Malik et al., arXiv 2506.01937), on one's own prompts: one group a prompt.

    The best answer was preferred and never itself beaten. The others were beaten by it; what is missing of three is
    borrowed from other prompts, those preferred answers that are nearest in length, so that length tells nothing.
    Empty where there are too few prompts to borrow from. Responses that called tools are not among them: what is borrowed
    did not come by their steps.
    """
    by_prompt: dict[str, list[Judgement]] = defaultdict(list)
    judgements = [each for each in judgements if not each.source.called_tools]
    for judgement in judgements:
        by_prompt[judgement.prompt].append(judgement)
    found = []
    for rows in by_prompt.values():
        beaten = {row.rejected for row in rows}
        best = next((row for row in rows if row.chosen not in beaten), None)
        if best is None:
            continue
        lost = {row.rejected: row.rejected_ended for row in rows if row.chosen == best.chosen}
        own = list(lost.items())[:3]
        lent = _nearest(best, judgements, 3 - len(own), {best.chosen, *lost})
        if len(own) + len(lent) == 3:
            first, second, third = own + lent
            found.append(Four(best, (first, second, third), len(lent)))
    return found


def _nearest(best: Judgement, judgements: Iterable[Judgement], count: int, known: set[str]) -> list[Answer]:
    elsewhere = {row.chosen: row.chosen_ended for row in judgements if row.prompt != best.prompt}
    strange = [answer for answer in elsewhere.items() if answer[0] not in known]
    return sorted(strange, key=lambda answer: (abs(len(answer[0]) - len(best.chosen)), answer[0]))[:count]
