"""What other tools read: each assertion mirrors a rule of a loader, which is named beside it.

The rules were read in the loaders of TRL 1.16, OpenRLHF 0.11, LLaMA-Factory 0.9.5, axolotl 0.19 and Argilla 2.8;
``make test-consumers`` asks the tools themselves.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import orjson
import pyarrow.parquet
import pytest
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.judgements.vocabulary import Outcome
from app.preferences.exporters import Format, Shape
from app.preferences.exporters.llamafactory import conversation, tools
from app.preferences.forms import ExportFilter
from app.prompts import importers
from app.sources.models import SourceKind
from app.sources.reading import rows_of
from tests.exporting import exported as file_of
from tests.factories import (
    make_annotation,
    make_batch,
    make_comparison,
    make_prompt,
    make_steps,
    make_traced,
    make_user,
    make_writing,
)
from tests.preferences.test_export import as_table, exported

SYSTEM = {"role": "system", "content": "Be brief."}
ASKED, ANSWERED = {"role": "user", "content": "Which city?"}, {"role": "assistant", "content": "Which country?"}
MORE = {"role": "user", "content": "France."}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Lyon"}'}}
CALLED: list[dict[str, Any]] = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
    {"role": "user", "content": "And tomorrow?"},
]
WEATHER = {"type": "function", "function": {"name": "weather"}}
PAIRS = (
    Shape.TRL,
    Shape.TRL_REWARD,
    Shape.LLAMAFACTORY,
    Shape.LLAMAFACTORY_ALPACA,
    Shape.AXOLOTL,
    Shape.AXOLOTL_REWARD,
)


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, name="Alice")


def judged(session: Session, alice: User, messages: list[dict[str, Any]], **said: Any) -> int:
    """An annotation of a training prompt with these messages."""
    prompt = make_prompt(session, make_batch(session), held_out=False)
    prompt.messages, prompt.tools = messages, said.pop("tools", None)
    session.commit()
    return make_annotation(session, alice, make_comparison(session, prompt=prompt), **said).id


def test_margins_are_numbers_by_strength_and_only_in_the_shape_that_asks_for_them(
    session: Session, alice: User
) -> None:
    """TRL's collator of pairs takes `margin` wherever the first example has one; OpenRLHF's takes null for 0."""
    for strength in (1, 4):
        judged(session, alice, [ASKED], strengths=[strength])
    assert [row["margin"] for row in exported(session, Shape.TRL_REWARD)] == [0.0, 1.0]
    assert all("margin" not in row for row in exported(session, Shape.TRL))


def test_prompts_and_answers_are_lists_that_can_be_joined(session: Session, alice: User) -> None:
    """OpenRLHF renders `data[prompt_key] + data[chosen_key]`, and the prompt alone; TRL the same."""
    judged(session, alice, [SYSTEM, ASKED])
    [row] = exported(session, Shape.TRL)
    joined = row["prompt"] + row["chosen"]
    assert [message["role"] for message in joined] == ["system", "user", "assistant"]


def test_a_response_is_desirable_where_it_only_won_and_a_middle_one_is_in_no_row(session: Session, alice: User) -> None:
    """TRL's KTOTrainer wants `prompt`, `completion` and a boolean `label`, whose numbers it balances."""
    comparison = make_comparison(session, texts=["best", "middle", "worst"])
    make_annotation(session, alice, comparison, strengths=[4, 4], edited_text="better still")
    make_annotation(session, alice, make_comparison(session, texts=["bad", "awful"]), outcome=Outcome.ALL_UNACCEPTABLE)
    make_annotation(session, alice, make_comparison(session), outcome=Outcome.TIE)
    rows = exported(session, Shape.KTO)
    assert [(row["completion"][0]["content"], row["label"]) for row in rows][:2] == [
        ("better still", True),
        ("worst", False),
    ]
    assert {row["completion"][0]["content"] for row in rows[2:]} == {"bad", "awful"}
    assert [row["label"] for row in rows[2:]] == [False, False]


def test_what_was_written_from_scratch_is_desirable(session: Session, alice: User) -> None:
    make_annotation(session, alice, make_writing(session)[0], outcome=Outcome.WRITTEN, edited_text="Red!")
    [row] = exported(session, Shape.KTO)
    assert (row["completion"][0]["content"], row["label"]) == ("Red!", True)


def test_turns_alternate_and_the_two_answers_are_messages(session: Session, alice: User) -> None:
    """SharegptDatasetConverter: system first, then odd turns of human or observation, even ones of gpt or function_call; with
    ranking an odd number of them; `chosen` and `rejected` are objects."""
    judged(session, alice, [SYSTEM, ASKED, ANSWERED, MORE])
    told = {"role": "assistant", "content": "It is sunny."}
    judged(session, alice, [*CALLED[:3], told, CALLED[3]], tools=[WEATHER])
    plain, called = exported(session, Shape.LLAMAFACTORY)
    assert [turn["from"] for turn in plain["conversations"]] == ["system", "human", "gpt", "human"]
    assert plain["tools"] == ""
    assert plain["chosen"].keys() == plain["rejected"].keys() == {"from", "value"}
    assert plain["chosen"]["from"] == "gpt"
    said = [turn["from"] for turn in called["conversations"]]
    assert said == ["human", "function_call", "observation", "gpt", "human"]
    assert orjson.loads(called["tools"])[0]["function"]["name"] == "weather"


def test_calls_are_json_in_a_turn_of_their_own() -> None:
    """FunctionFormatter reads the text of a call as JSON; tool_formatter reads `parameters.properties` of every tool."""
    said = conversation([*CALLED[:2], CALLED[2]])
    assert said is not None
    assert orjson.loads(said[1]["value"]) == {"name": "weather", "arguments": {"city": "Lyon"}}
    [described] = orjson.loads(tools([WEATHER]))
    assert described["function"]["parameters"]["properties"] == {}
    assert conversation([ASKED, MORE]) is None
    assert conversation([ASKED, {**CALLED[1], "content": "I look."}, CALLED[2]]) is None


def test_the_alpaca_form_has_texts_and_what_was_said_before_in_pairs(session: Session, alice: User) -> None:
    """AlpacaDatasetConverter: `for old_prompt, old_response in example[history]`; chosen and rejected are texts."""
    judged(session, alice, [SYSTEM, ASKED, ANSWERED, MORE])
    [row] = exported(session, Shape.LLAMAFACTORY_ALPACA)
    assert (row["instruction"], row["input"], row["system"]) == ("France.", "", "Be brief.")
    assert row["history"] == [["Which city?", "Which country?"]]
    assert isinstance(row["chosen"], str)


def test_the_strategies_of_axolotl_find_their_fields(session: Session, alice: User) -> None:
    """dpo.chat_template.default: `messages`, and an object with role and content; bradley_terry: `prompt["system"]` is read
    without looking whether it is there."""
    judged(session, alice, [ASKED])
    judged(session, alice, [SYSTEM, ASKED, ANSWERED, MORE])
    for row in exported(session, Shape.AXOLOTL):
        assert all(message.keys() == {"role", "content"} for message in row["messages"])
        assert (row["chosen"]["role"], row["chosen"].keys()) == ("assistant", {"role", "content"})
    [row] = exported(session, Shape.AXOLOTL_REWARD)
    assert (row["system"], row["input"]) == ("", "Which city?")


def test_what_a_tool_cannot_say_is_left_out_of_its_shape_and_stays_in_the_others(session: Session, alice: User) -> None:
    judged(session, alice, CALLED, tools=[WEATHER])
    make_annotation(session, alice, make_traced(session, make_steps("42", expression="21*2"), None), strengths=[4])
    assert len(exported(session, Shape.TRL, split=None)) == 2
    for shape in (Shape.AXOLOTL, Shape.AXOLOTL_REWARD, Shape.LLAMAFACTORY_ALPACA, Shape.LLAMAFACTORY):
        assert exported(session, shape, split=None) == []
        assert shape.exporter.leaves_out


def test_a_record_of_argilla_has_texts_as_fields_and_suggestions_with_values(session: Session, alice: User) -> None:
    """Record.from_dict: `Suggestion(question_name=…, **value)`, whose value is not null; a chat field has messages of role and
    content; the client takes a ranking as names, best first. GenericIO reads one list."""
    number = judged(session, alice, CALLED, strengths=[3], edited_text="Sunny, too.")
    tie = judged(session, alice, [ASKED], outcome=Outcome.TIE)
    file, _ = file_of(session, Shape.ARGILLA, Format.JSON, ExportFilter())
    first, second = orjson.loads(file)
    assert (first["id"], second["id"]) == (str(number), str(tie))
    assert all(message.keys() == {"role", "content"} for message in first["fields"]["prompt"])
    assert {key for key in first["fields"] if key != "prompt"} == {"response-1", "response-2"}
    assert sorted(first["suggestions"]["ranking"]["value"]) == ["response-1", "response-2"]
    assert first["suggestions"]["edited"]["value"] == "Sunny, too."
    assert all(said["value"] is not None for said in first["suggestions"].values())
    assert "ranking" not in second["suggestions"]
    assert second["metadata"]["ranking"] in {"1 = 2", "2 = 1"}


def test_a_record_of_argilla_comes_back_as_the_same_preference(session: Session, alice: User) -> None:
    for _ in range(3):
        judged(session, alice, [ASKED])
    file, _ = file_of(session, Shape.ARGILLA, Format.JSON, ExportFilter())
    form = importers.importers()["JSON"]
    back = [rows_of(SourceKind.PREFERENCES, record, 1, form, 9999)[0] for record in orjson.loads(file)]
    [*out] = exported(session, Shape.TRL, split=None)
    keys = ("prompt", "chosen", "rejected")
    assert [[row[key] for key in keys] for row in back if isinstance(row, dict)] == [
        [row[key] for key in keys] for row in out
    ]


def test_rows_that_have_what_others_lack_come_first(session: Session, alice: User) -> None:
    """`datasets` 3.6 and 5.2 take the types of a JSON Lines file from its first ten megabytes, and refuse what comes later."""
    for _ in range(2):
        judged(session, alice, [ASKED])
    late = judged(session, alice, CALLED, tools=[WEATHER])
    for shape in (Shape.TRL, Shape.TRL_REWARD, Shape.KTO):
        rows = exported(session, shape)
        assert rows[0]["annotation_id"] == late, shape
        assert len({(row["annotation_id"], orjson.dumps(row)) for row in rows}) == len(rows)
    assert [row["annotation_id"] for row in exported(session)][-1] == late


@pytest.mark.parametrize("shape", PAIRS)
def test_every_shape_is_a_table_with_the_same_rows(session: Session, alice: User, shape: Shape) -> None:
    judged(session, alice, [SYSTEM, ASKED], strengths=[2], edited_text="Paris!")
    judged(session, alice, [ASKED])
    rows = exported(session, shape)
    assert len(rows) == 4
    assert as_table(session, shape) == rows
    assert list(rows[0].keys() - {each.name for each in shape.exporter.columns()}) == []


def test_a_zip_is_a_folder_with_rows_card_and_what_the_tool_reads_beside_them(session: Session, alice: User) -> None:
    judged(session, alice, [ASKED])
    for shape, beside in ((Shape.TRL, set()), (Shape.LLAMAFACTORY, {"dataset_info.json"}), (Shape.ARGILLA, set())):
        file, rows = file_of(session, shape, Format.ZIP, ExportFilter())
        folder = zipfile.ZipFile(io.BytesIO(file))
        data = "records.json" if shape is Shape.ARGILLA else "preferences.parquet"
        assert set(folder.namelist()) == {data, "README.md"} | beside
        assert folder.testzip() is None
        card = folder.read("README.md").decode()
        assert f'data_files: "{data}"' in card
        assert f"Rows: {rows}" in card
        for column in shape.exporter.columns():
            assert f"| `{column.name}` |" in card
        if beside:
            info = orjson.loads(folder.read("dataset_info.json"))["corral"]
            assert (info["file_name"], info["ranking"]) == (data, True)
            assert set(info["columns"].values()) <= {each.name for each in shape.exporter.columns()}
        if data.endswith("parquet"):
            assert pyarrow.parquet.read_table(io.BytesIO(folder.read(data))).num_rows == rows
