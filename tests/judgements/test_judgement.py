"""A judgement by position and by candidate id: one becomes the other and nothing is lost; its words stand in one place."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from app.judgements.judgement import Draft, Judgement, Span
from app.judgements.positions import POSITIONS
from app.judgements.rules import check
from app.judgements.vocabulary import CHOICES, EditPolicy, Flag, Outcome, SpanLabel, Strength
from app.kernel.errors import BadInput
from training.formats.pairs import derive
from training.formats.words import OUTCOMES, STRENGTHS

ROOT = Path(__file__).parents[2]


def judged(seed: int) -> tuple[Judgement, list[int]]:
    """Any judgement that the rules let through, and the order in which its responses were shown."""
    draw = random.Random(seed)
    shown = draw.sample(range(1, 10_000), draw.randint(2, 8))
    names = list(POSITIONS[: len(shown)])
    outcome = draw.choice([Outcome.RANKED, Outcome.TIE, Outcome.ALL_UNACCEPTABLE])  # where responses are compared
    order = draw.sample(names, len(names))
    groups: list[list[str]] = [[order[0]]]
    for name in order[1:]:
        if draw.random() < 0.3 and len(groups) + len(names) > 3:
            groups[-1].append(name)
        else:
            groups.append([name])
    ranked = outcome is Outcome.RANKED and len(groups) > 1
    edited = draw.choice(groups[0]) if ranked and draw.random() < 0.5 else None
    said = Judgement(
        outcome=outcome if ranked or outcome is not Outcome.RANKED else Outcome.TIE,
        ranking=groups if ranked else [],
        strengths=[draw.randint(1, 4) for _ in groups[1:]] if ranked else [],
        edited_position=edited,
        edited_text="Better." if edited else None,
        revision_id=7 if edited and draw.random() < 0.5 else None,
        nothing_to_improve=edited is None and draw.random() < 0.3,
        attributes={name: {"helpful": draw.randint(1, 7)} for name in names if draw.random() < 0.5},
        flags={name: sorted(draw.sample(list(Flag), 2)) for name in names if draw.random() < 0.3},
        spans=[Span(position=names[-1], start=2, end=5, label=draw.choice(list(SpanLabel)), note="why")],
        comment="a comment",
    )
    return check(said, len(shown), EditPolicy.OPTIONAL), shown


@pytest.mark.parametrize("seed", range(60))
def test_ids_and_back_is_the_same_judgement(seed: int) -> None:
    said, shown = judged(seed)
    columns = said.to_ids(shown)
    assert Judgement.from_ids(shown, columns) == said
    assert sorted(each for group in columns["ranking"] for each in group) == sorted(shown)


@pytest.mark.parametrize("seed", range(30))
def test_a_draft_of_it_becomes_the_same_judgement(seed: int) -> None:
    said, shown = judged(seed)
    again = check(Draft.model_validate_json(said.draft().model_dump_json()).finished(), len(shown), EditPolicy.OPTIONAL)
    assert again == said


@pytest.mark.parametrize("seed", range(30))
def test_by_position_and_by_id_it_states_the_same_rows(seed: int) -> None:
    said, shown = judged(seed)
    names = dict(zip(shown, POSITIONS, strict=False))
    columns = said.to_ids(shown)
    by_id = list(derive(said.outcome, columns["ranking"], said.strengths, shown))
    by_position = list(derive(said.outcome, said.ranking, said.strengths, POSITIONS[: len(shown)]))
    assert [
        (row.chosen and names[row.chosen], row.rejected and names[row.rejected], row.strength) for row in by_id
    ] == [(row.chosen, row.rejected, row.strength) for row in by_position]


UNFINISHED: dict[str, tuple[Draft, str]] = {
    "nothing": (Draft(), "First choose which response is better"),
    "a strength left open": (
        Draft(outcome=Outcome.RANKED, ranking=[["A"], ["B"], ["C"]], strengths=[1, None]),
        "Choose a strength",
    ),
    "no strength": (Draft(outcome=Outcome.RANKED, ranking=[["A"], ["B"]]), "Choose a strength"),
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_an_unfinished_one_says_what_is_missing(name: str) -> None:
    draft, says = UNFINISHED[name]
    with pytest.raises(BadInput, match=says):
        draft.finished()


def test_an_edit_begun_on_another_response_stays_a_draft() -> None:
    draft = Draft(outcome=Outcome.RANKED, ranking=[["B"], ["A"]], strengths=[1], edits={"A": "begun", "B": "meant"})
    assert (draft.finished().edited_position, draft.finished().edited_text) == ("B", "meant")


def test_every_strength_and_outcome_has_words() -> None:
    assert set(STRENGTHS) == set(Strength)
    assert set(OUTCOMES) == set(Outcome)
    assert [f"{side}{level.value}" for side, level in CHOICES] == ["A4", "A3", "A2", "A1", "B1", "B2", "B3", "B4"]
    assert all(each.label for vocabulary in (Flag, SpanLabel, Outcome, Strength) for each in vocabulary)


@pytest.mark.parametrize("words", ["marginally better", "slightly better"])
def test_words_stand_in_one_place(words: str) -> None:
    files = [
        file
        for folder in ("app", "workers", "training", "templates", "static/js")
        for file in (ROOT / folder).rglob("*")
        if file.suffix in {".py", ".html", ".js"} and re.search(words, file.read_text(encoding="utf-8"), re.IGNORECASE)
    ]
    assert files == [ROOT / "training/formats/words.py"]
