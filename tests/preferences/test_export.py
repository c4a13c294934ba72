"""Exports carry what was sampled and judged, whole, in the order of the annotations, and nobody's name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations.models import Annotation
from app.candidates.models import Candidate
from app.comparisons import service as comparing
from app.comparisons.models import Comparison
from app.judgements.vocabulary import Outcome
from app.kernel.settings import get_settings
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.prompts.messages import strict
from app.prompts.models import Prompt, PromptState
from tests import exporting
from tests.factories import (
    current_round,
    make_annotation,
    make_batch,
    make_candidate,
    make_comparison,
    make_prompt,
    make_steps,
    make_traced,
    make_user,
)
from training.data.snapshot import read_file
from training.formats.prompts import content_hash

TEXTS = ["Paris.\n\n```py\nprint('é')\n```", "<|im_end|> \u2028 = Lyon", "  trailing  "]


def exported(session: Session, shape: Shape = Shape.CANONICAL, **wanted: Any) -> list[dict[str, Any]]:
    file, count = exporting.exported(session, shape, Format.JSONL, ExportFilter(**wanted))
    rows = [orjson.loads(line) for line in file.splitlines()]
    assert len(rows) == count
    return rows


def as_table(session: Session, shape: Shape = Shape.CANONICAL) -> list[dict[str, Any]]:
    file, count = exporting.exported(session, shape, Format.PARQUET, ExportFilter())
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(io.BytesIO(file)).to_pylist()
    assert len(rows) == count
    return rows


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, name="Alice")


@pytest.fixture
def comparison(session: Session) -> Comparison:
    return make_comparison(session, texts=TEXTS)


def ranked(session: Session, alice: User, comparison: Comparison, edited: str | None = "Paris!") -> Annotation:
    return make_annotation(session, alice, comparison, strengths=[2, 4], edited_text=edited)


def test_a_ranking_of_three_is_three_rows_with_the_texts_as_sampled(
    session: Session, alice: User, comparison: Comparison
) -> None:
    annotation = ranked(session, alice, comparison)
    rows = exported(session)
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"], row["strength"]) for row in rows] == [
        (TEXTS[0], TEXTS[1], 2),
        (TEXTS[0], TEXTS[2], 4),
        (TEXTS[1], TEXTS[2], 4),
    ]
    best, middle, worst = (group[0] for group in annotation.ranking)
    assert rows[0]["id"] == f"{annotation.id}:{best}:{middle}"
    assert rows[0]["ranking"] == [[best], [middle], [worst]]
    assert [row["edited"] and row["edited"][0]["content"] for row in rows] == ["Paris!", "Paris!", None]


def test_a_row_says_where_everything_came_from_and_names_nobody(
    session: Session, alice: User, comparison: Comparison
) -> None:
    annotation = ranked(session, alice, comparison)
    prompt = session.get_one(Prompt, comparison.prompt_id)
    [row, *_] = exported(session)
    best, middle, _ = (group[0] for group in annotation.ranking)
    assert row["prompt"] == prompt.messages
    assert row["prompt_hash"] == prompt.content_hash.hex()
    assert row["annotator"] == alice.pseudonym
    assert alice.name not in str(row)
    assert alice.email not in str(row)
    assert row["chosen_checkpoint"] == "zebra-base"
    assert row["sampling"]["chosen"] == {"model": "zebra-base", "temperature": 0.7}
    assert row["position_shown"] == {
        "chosen": annotation.order_shown.index(best),
        "rejected": annotation.order_shown.index(middle),
    }
    assert (row["chosen_finish_reason"], row["rejected_finish_reason"]) == ("stop", "stop")
    assert row["round"] == 1
    assert row["active_seconds"] == 12.5
    assert row["split"] in {"train", "held_out"}


def test_a_row_says_which_response_was_cut_off(session: Session, alice: User) -> None:
    prompt = make_prompt(session, make_batch(session, candidates_per_prompt=3), state=PromptState.READY)
    for text, reason in zip(TEXTS, ("stop", "length", "stop"), strict=True):
        make_candidate(session, prompt, text, finish_reason=reason)
    comparison = comparing.create_comparison(session, prompt)
    session.commit()
    make_annotation(session, alice, comparison)
    expected = [("stop", "length"), ("stop", "stop"), ("length", "stop")]
    for rows in (exported(session), as_table(session)):
        assert [(row["chosen_finish_reason"], row["rejected_finish_reason"]) for row in rows] == expected


def test_ties_and_all_unacceptable_stay_in_the_canonical_rows_and_out_of_trl(session: Session, alice: User) -> None:
    make_annotation(session, alice, make_comparison(session), outcome=Outcome.TIE)
    make_annotation(session, alice, make_comparison(session), outcome=Outcome.ALL_UNACCEPTABLE)
    rows = exported(session)
    assert [(row["outcome"], row["chosen"] is None, row["strength"]) for row in rows] == [
        ("tie", False, None),
        ("all_unacceptable", True, None),
        ("all_unacceptable", True, None),
    ]
    assert exported(session, Shape.TRL) == []


def test_trl_rows_expand_the_edit_into_a_winner_of_its_own(
    session: Session, alice: User, comparison: Comparison
) -> None:
    annotation = ranked(session, alice, comparison)
    rows = exported(session, Shape.TRL)
    columns = {"prompt", "chosen", "rejected", "tools", "strength", "annotation_id", "split"}
    assert all(set(row) == columns for row in rows)
    assert [row["strength"] for row in rows] == [4, 2, 2, 4, 4, 4]
    assert {row["annotation_id"] for row in rows} == {annotation.id}
    assert {row["split"] for row in rows} == {row["split"] for row in exported(session)}
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows] == [
        ("Paris!", TEXTS[0]),
        ("Paris!", TEXTS[1]),
        (TEXTS[0], TEXTS[1]),
        ("Paris!", TEXTS[2]),
        (TEXTS[0], TEXTS[2]),
        (TEXTS[1], TEXTS[2]),
    ]


def corrected(session: Session, old: Annotation, **changes: Any) -> int:
    """The id of an annotation that stands in the place of ``old``; annotations themselves never change."""
    kept = {
        column.name: getattr(old, column.name)
        for column in Annotation.__table__.columns
        if column.name not in {"id", "created_at", "idempotency_key", *changes}
    }
    correction = Annotation(**kept, **changes, idempotency_key=f"correction of {old.id}")
    new_id = correction.id = old.id + 1_000
    old.superseded_by_id = new_id
    session.flush()
    session.add(correction)
    session.commit()
    return new_id


def test_a_superseded_annotation_is_gone_from_every_export(
    session: Session, alice: User, comparison: Comparison
) -> None:
    old = ranked(session, alice, comparison, edited=None)
    new_id = corrected(session, old, strengths=[1, 1])
    assert {row["annotation_id"] for row in exported(session)} == {new_id}


def test_filters_keep_what_they_say(session: Session, alice: User) -> None:
    first, second = (make_batch(session) for _ in range(2))
    one = make_annotation(session, alice, make_comparison(session, batch=first), strengths=[1])
    two = make_annotation(session, alice, make_comparison(session, batch=second), strengths=[4])

    def kept(**wanted: Any) -> set[int]:
        return {row["annotation_id"] for row in exported(session, **wanted)}

    assert kept() == {one.id, two.id}
    assert kept(batch_ids=[first.id]) == {one.id}
    assert kept(min_strength=3) == {two.id}
    assert kept(until=one.id) == {one.id}
    assert kept(rounds=[current_round(session).number]) == {one.id, two.id}
    assert kept(rounds=[99]) == set()


def test_the_split_of_a_row_is_the_split_it_is_filtered_by(session: Session, alice: User) -> None:
    for held_out in (False, True, False):
        prompt = make_prompt(session, make_batch(session), held_out=held_out)
        make_annotation(session, alice, make_comparison(session, prompt=prompt))
    sides = {side: exported(session, split=side) for side in ("train", "held_out")}
    assert all(row["split"] == side for side, rows in sides.items() for row in rows)
    assert {side: len(rows) for side, rows in sides.items()} == {"train": 2, "held_out": 1}


def test_parquet_says_what_json_lines_say(session: Session, alice: User, comparison: Comparison) -> None:
    ranked(session, alice, comparison)
    make_annotation(session, alice, make_comparison(session), outcome=Outcome.ALL_UNACCEPTABLE)
    for line, row in zip(exported(session), as_table(session), strict=True):
        sampling = {side: text and orjson.loads(text) for side, text in row.pop("sampling").items()}
        created = row.pop("created_at").isoformat().replace("+00:00", "Z")
        assert {**row, "spans": orjson.loads(row["spans"]), "sampling": sampling, "created_at": created} == line
    assert as_table(session, Shape.TRL) == exported(session, Shape.TRL)


def test_what_the_source_said_of_a_prompt_stands_in_its_rows(session: Session, alice: User) -> None:
    prompt = make_prompt(session, make_batch(session))
    prompt.external_id, prompt.reference = "HumanEval/7", "42"
    prompt.tests, prompt.extra = ["assert f() == 42"], {"later_turns": ["And why?"], "level": 3}
    session.commit()
    make_annotation(session, alice, make_comparison(session, prompt=prompt))

    [line], [row] = exported(session), as_table(session)

    assert (line["source_id"], line["reference"]) == (row["source_id"], row["reference"]) == ("HumanEval/7", "42")
    assert line["tests"] == orjson.loads(row["tests"]) == prompt.tests
    assert line["metadata"] == orjson.loads(row["metadata"]) == prompt.extra


def test_tool_calls_have_one_form_in_every_shape(session: Session, alice: User) -> None:
    batch = make_batch(session)
    prompt = make_prompt(session, batch)
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Lyon"}}}
    prompt.messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
        {"role": "user", "content": "And tomorrow?"},
    ]
    prompt.tools = [{"type": "function", "function": {"name": "weather"}}]
    session.commit()
    make_annotation(session, alice, make_comparison(session, prompt=prompt))
    [row] = as_table(session)
    assert row["prompt"][1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Lyon"}'}
    assert row["prompt"][2]["tool_call_id"] == "c1"
    assert orjson.loads(row["tools"]) == prompt.tools
    [line] = exported(session)
    assert line["prompt"] == strict(prompt.messages)
    assert exported(session, Shape.TRL)[0]["prompt"] == strict(prompt.messages)
    assert line["tools"] == prompt.tools


def test_an_empty_export_is_an_empty_file_or_a_table_without_rows(session: Session) -> None:
    assert exported(session) == []
    assert as_table(session) == []
    assert as_table(session, Shape.TRL) == []


def test_what_was_said_of_responses_is_a_list_and_no_column_for_each_of_them(session: Session, alice: User) -> None:
    expected = []
    for _ in range(3):
        comparison = make_comparison(session, texts=TEXTS)
        annotation = ranked(session, alice, comparison)
        first, second, _ = annotation.order_shown
        corrected(
            session,
            annotation,
            attributes={str(first): {"helpful": 3, "clear": 1}, str(second): {"helpful": 2}},
            flags={str(second): ["unsafe", "broken_rendering"]},
        )
        places = ((first, "clear", 1), (first, "helpful", 3), (second, "helpful", 2))
        attributes = [dict(zip(("candidate_id", "name", "value"), place, strict=True)) for place in places]
        flags = [{"candidate_id": second, "flag": flag} for flag in ("broken_rendering", "unsafe")]
        attributes.sort(key=lambda each: (each["candidate_id"], each["name"]))
        expected += [(attributes, flags)] * 3
    for rows in (exported(session), as_table(session)):
        said = [
            (
                sorted(row["attributes"], key=lambda each: (each["candidate_id"], each["name"])),
                sorted(row["flags"], key=lambda each: str(each["flag"])),
            )
            for row in rows
        ]
        assert said == expected
        assert len({key for row in rows for key in row}) == len(rows[0]), "every row has the same columns"


def test_arguments_of_tool_calls_are_text_in_trl_rows_whatever_their_types(session: Session, alice: User) -> None:
    for arguments in ({"time": "2025-08-01"}, {"time": 1690876800}, {"item": "hat", "currency": "EUR"}, '{"n":0}'):
        call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}
        prompt = make_prompt(session, make_batch(session))
        prompt.messages = [
            {"role": "user", "content": "When?"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "Friday", "tool_call_id": "c1"},
            {"role": "user", "content": "Say it in one sentence."},
        ]
        session.commit()
        make_annotation(session, alice, make_comparison(session, prompt=prompt))
    found = [row["prompt"][1]["tool_calls"][0]["function"]["arguments"] for row in exported(session, Shape.TRL)]
    assert found == ['{"time":"2025-08-01"}', '{"time":1690876800}', '{"item":"hat","currency":"EUR"}', '{"n":0}']


def test_a_file_for_a_trainer_holds_out_what_corral_holds_out(session: Session, alice: User, tmp_path: Path) -> None:
    """Whether the rows say their side or not, and in either shape."""
    percent = get_settings().held_out_percent
    for number in range(40):
        prompt = make_prompt(session, make_batch(session))
        prompt.messages = [{"role": "user", "content": f"Question {number}?"}]
        prompt.content_hash = content_hash(prompt.messages)
        session.commit()
        make_annotation(session, alice, make_comparison(session, prompt=prompt))
    for shape in (Shape.CANONICAL, Shape.TRL):  # nobody wrote anything that could be fine-tuned on
        rows = exported(session, shape)
        sides = [row["split"] for row in rows]
        assert set(sides) == {"train", "held_out"}
        for kept in (rows, [{key: value for key, value in row.items() if key != "split"} for row in rows]):
            file = tmp_path / "rows.jsonl"
            file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in kept))
            assert [row.split for row in read_file(file, percent)[0]] == sides


def test_the_calls_before_a_response_are_a_column_and_in_trl_rows_messages(session: Session, alice: User) -> None:
    steps = make_steps("42", expression="21*2")
    comparison = make_traced(session, steps, None)
    first, second = sorted(session.scalars(select(Candidate.id).where(Candidate.prompt_id == comparison.prompt_id)))
    make_annotation(session, alice, comparison, ranking=[[first], [second]], strengths=[4], edited_text="Forty-two.")
    [row] = exported(session)
    assert row["steps"] == {"chosen": steps, "rejected": None}
    assert row["chosen"] == [{"role": "assistant", "content": "It is 42."}]
    before = [{"role": "assistant", "content": steps[0]["said"]}, {"role": "tool", "content": "42"}]
    rows = exported(session, Shape.TRL, split=None)
    assert {tuple(turn["content"] for turn in each["chosen"]) for each in rows} == {
        (*(turn["content"] for turn in before), text) for text in ("Forty-two.", "It is 42.")
    }
    assert {len(each["rejected"]) for each in rows} == {1, 3}
    flat = as_table(session)[0]["steps"]
    assert orjson.loads(flat["chosen"]) == steps
    assert [len(each["chosen"]) for each in as_table(session, Shape.TRL)] == [3] * len(rows)
