"""What a judge of facts says of samples: wrong ones go, and where all claim what is wrong a refusal may be learnt."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import make_row as row_of
from tests.training.conftest import turn, write_snapshot
from tests.training.test_average import adapter
from tests.training.test_selection import kept_by, run, sample_line
from training.data import judged
from training.data.judged import REFUSALS, Judged, refusal, without_wrong
from training.data.sampled import Answer, Sampled
from training.formats.errors import DataError

ASKED = "What is the name of the river that runs through the town?"


def sampled(question: str = ASKED, **known: Any) -> Sampled:
    return Sampled("p", ({"role": "user", "content": question},), None, "policy-r1", (Answer("a"),), **known)


@pytest.mark.parametrize(
    ("question", "language", "code"),
    [
        (ASKED, None, "en"),
        ("Wie heißt der Fluss, der durch die Stadt fließt und nicht breit ist?", None, "de"),
        ("町を流れる川の名前は何ですか。", None, "ja"),
        ("Wann?", "de", "de"),
        ("When does Bergen open?", None, None),
        (ASKED, "cy", None),
    ],
)
def test_a_refusal_is_in_the_language_of_the_question(question: str, language: str | None, code: str | None) -> None:
    found = refusal(sampled(question, language=language))
    assert found == refusal(sampled(question, language=language)), "the same in each start"
    assert (found in REFUSALS[code]) if code else (found is None)


def test_each_language_has_several_refusals_and_prompts_draw_them() -> None:
    assert all(len(set(each)) > 1 for each in REFUSALS.values())
    assert {refusal(sampled(f"{number}. {ASKED}")) for number in range(40)} == set(REFUSALS["en"])


@pytest.mark.parametrize("refusals", [True, False])
@pytest.mark.parametrize(("required", "checks"), [(None, True), (("facts",), True), (("answer",), False), ((), False)])
def test_wrong_answers_go_where_the_check_is_required(
    *,
    refusals: bool,
    required: tuple[str, ...] | None,
    checks: bool,
) -> None:
    one, dropped = sampled(required=required), Counter[str]()
    said = {"p": Judged(frozenset({"wrong"}), steadily_wrong=False)}
    left, refused = without_wrong([(one, ["wrong", "right"])], said, None, dropped, refusals=refusals)
    assert left == [(one, ["right"] if checks else ["wrong", "right"])]
    assert refused == []
    assert dropped == ({"failed/facts": 1} if checks else {})


def test_what_is_steadily_wrong_is_refused_only_where_it_is_asked_for_and_can_be_said() -> None:
    said = {"p": Judged(frozenset({"a", "b"}), steadily_wrong=True)}
    for one, refusals in ((sampled(), False), (sampled("When?"), True)):
        dropped = Counter[str]()
        left, refused = without_wrong([(one, ["a", "b"])], said, None, dropped, refusals=refusals)
        assert (left, refused, dropped) == ([(one, [])], [], {"failed/facts": 2})
    dropped = Counter[str]()
    left, refused = without_wrong([(sampled(required=()), ["a", "b"])], said, None, dropped, refusals=True)
    assert (left, dropped) == ([], {"refusal_instead": 2})
    [(_, text)] = refused
    assert text in REFUSALS["en"]


@pytest.mark.parametrize(
    "line", ["{}", '{"prompt_id": "p", "answers": 1}', '{"prompt_id": "p", "answers": [{}]}', "<html>"]
)
def test_a_file_that_makes_no_sense_is_named_by_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "judged.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(DataError, match=r"line 2.*have the answers judged again"):
        judged.read(tmp_path / "judged.jsonl")
    assert judged.read(None) == {}


@pytest.fixture
def questions(tmp_path: Path, tiny_base: Path) -> Path:
    """Three questions: p0 has a right answer and a wrong one, of p1 and of the held-out p3 all are wrong."""
    adapter(tmp_path / "reward", tiny_base, 1, kind="reward")
    lines = [
        sample_line(0, "Rivers bend.", "Rivers stand."),
        sample_line(1, "It is the Rhine.", "It is the Rhone.", "It is the Rhine."),
        sample_line(3, "It is the Nile.", "It is the Rhine."),
    ]
    lines[1] |= {"language": "en", "capability": "factual"}
    verdicts = [
        {
            "prompt_id": "p0",
            "steadily_wrong": False,
            "answers": [("Rivers bend.", "correct"), ("Rivers stand.", "incorrect")],
        },
        {
            "prompt_id": "p1",
            "steadily_wrong": True,
            "answers": [("It is the Rhine.", "incorrect"), ("It is the Rhone.", "incorrect")],
        },
        {"prompt_id": "p3", "steadily_wrong": True, "answers": [("It is the Nile.", "incorrect")]},
    ]
    for each in verdicts:
        each["answers"] = [{"text": text, "verdict": said, "informative": True} for text, said in each["answers"]]  # type: ignore[attr-defined]
    for name, rows in (("samples", lines), ("judged", verdicts)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_snapshot(
        tmp_path / "snapshot", [row_of(3, split="held_out"), row_of(4, edited=turn("Bees hum, says Alice."))]
    )
    return tmp_path


def test_a_refusal_stands_in_place_of_answers_that_are_all_wrong_and_is_counted(questions: Path) -> None:
    settings = {"top_share": 1.0, "snapshot": "snapshot", "judged": "judged.jsonl"}
    assert run(questions, **settings, refusals=True) == 0
    kept, report = kept_by(questions)
    assert kept["p0"] == "Rivers bend."
    assert kept["p1"] in REFUSALS["en"]
    assert "p3" not in kept, "it is held out"
    rows = [json.loads(line) for line in (questions / "sft.jsonl").read_text().splitlines()]
    [row] = [row for row in rows if row["source"] == "refusal"]
    assert (row["prompt_id"], row["checkpoint"], row["k"], row["capability"]) == ("p1", "policy-r1", 3, "factual")
    counts, dropped = report["counts"], report["dropped"]
    assert (counts["judged"], counts["steadily_wrong"], counts["rows/refusal"]) == (3, 2, 1)
    assert (dropped["refusal_instead"], dropped["same_text"], dropped["failed/facts"]) == (2, 1, 1)
    assert counts["samples"] == counts["rows/rejection_sampling"] + sum(dropped.values()), (
        "every sample is accounted for"
    )
    assert report["settings"]["refusals"] is True


def test_without_the_setting_nothing_is_refused(questions: Path) -> None:
    assert run(questions, top_share=1.0, judged="judged.jsonl") == 0
    kept, report = kept_by(questions)
    assert set(kept) == {"p0", "p3"}
    assert report["dropped"]["failed/facts"] == 4
    assert "rows/refusal" not in report["counts"]
    assert run(questions, top_share=1.0, refusals=True) == 0, "and without verdicts nothing is dropped"
    kept, report = kept_by(questions)
    assert set(kept) == {"p0", "p1", "p3"}
    assert report["counts"]["rows/refusal"] == 0
