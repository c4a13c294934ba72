"""Records of HumanEval and MBPP become prompts with tests that the verifiers run."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from app.prompts.records import ParsedPrompt
from tests.prompts.reading import line, one, read, reason
from tests.prompts.test_parsing_properties import ROOMY
from tests.verifiers.capabilities import public
from tests.verifiers.coding import run

HUMAN_EVAL = {
    "task_id": "HumanEval/900",
    "prompt": 'def twice(x: int) -> int:\n    """Two times x."""\n',
    "entry_point": "twice",
    "canonical_solution": "    return x * 2\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(0) == 0\n",
}
MBPP: dict[str, Any] = {
    "task_id": 900,
    "text": "Write a function to find the larger of two numbers.",
    "code": "def largest(a, b):\r\n  return max(a, b)",
    "test_list": ["assert largest(1, 2) == 2", "assert largest(4, 2) == 4", "assert set([largest(1, 1)]) == {1}"],
    "test_setup_code": "",
    "challenge_test_list": ["assert largest(-1, -2) == -1"],
}
SANITIZED = {"prompt": MBPP["text"], "source_file": "x.ipynb", "test_imports": ["import math"]} | {
    key: MBPP[key] for key in ("task_id", "code", "test_list")
}


def test_a_record_of_humaneval_is_a_prompt_with_tests_and_a_reference_that_passes_them() -> None:
    read = one(HUMAN_EVAL)

    assert (read.external_id, read.capability, read.metadata) == ("HumanEval/900", "code", {})
    assert read.messages == [{"role": "user", "content": HUMAN_EVAL["prompt"]}]
    assert read.reference == HUMAN_EVAL["prompt"] + HUMAN_EVAL["canonical_solution"]
    assert run(str(read.reference), *read.tests).message == "2 of 2 tests passed"
    assert run(HUMAN_EVAL["canonical_solution"], *read.tests).passed is True
    assert run("    return None\n", *read.tests).passed is False


def test_a_record_of_mbpp_shows_its_first_test_alone() -> None:
    read = one(MBPP)

    assert (read.external_id, read.capability, read.metadata) == ("900", "code", {})
    said = read.messages[0]["content"]
    assert said.startswith(MBPP["text"])
    assert "assert largest(1, 2) == 2" in said
    assert "largest(4, 2)" not in said
    assert read.tests[0]["names"] == ["largest"]
    assert run(str(read.reference), *read.tests).message == "4 of 4 tests passed"
    assert run("def largest(a, b):\n    return 2", *read.tests).message.startswith("1 of 4 tests passed")


def test_the_sanitized_set_and_tables_are_read_alike() -> None:
    read = one(SANITIZED)

    assert read.messages == one(MBPP).messages
    assert read.metadata == {"source_file": "x.ipynb"}
    assert read.tests[0]["code"].startswith("import math\nassert largest(1, 2)")
    assert one(SANITIZED | {"test_list": json.dumps(MBPP["test_list"])}).tests == read.tests


def test_a_class_that_the_setup_uses_is_called_too() -> None:
    record = MBPP | {
        "code": "class Node:\n    def __init__(self, v):\n        self.v = v\n        self.left = None\n\ndef f(n):\n"
        "    return 0 if n is None else 1 + f(n.left)",
        "test_setup_code": "root = Node(1)\nroot.left = Node(2)",
        "test_list": ["assert f(root) == 2"],
        "challenge_test_list": [],
    }
    read = one(record)

    assert read.tests[0]["names"] == ["Node", "f"]
    assert run(str(read.reference), *read.tests).passed is True


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (HUMAN_EVAL | {"entry_point": "twice()"}, "no name of a function"),
        (HUMAN_EVAL | {"test": "assert twice(1) == 2"}, "without a function check(candidate)"),
        (MBPP | {"test_list": [1]}, "not a list of texts"),
        (MBPP | {"test_list": "['assert f(1)']"}, "in Python notation"),
        (MBPP | {"test_list": ["assert True"], "challenge_test_list": []}, "calls no function"),
        (MBPP | {"challenge_test_list": {"a": 1}}, "not a list of texts"),
    ],
)
def test_tests_that_cannot_be_run_are_refused_with_the_remedy(record: dict[str, Any], says: str) -> None:
    assert says in reason(line(record))


def test_the_whole_of_humaneval_is_read() -> None:
    prompts = read(gzip.decompress(public("human_eval.jsonl.gz").read_bytes()), "human_eval.jsonl", ROOMY)

    assert len([each for each in prompts if isinstance(each, ParsedPrompt) and each.tests and each.reference]) == 164
