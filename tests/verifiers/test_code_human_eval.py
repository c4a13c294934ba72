"""HumanEval, where its file lies beside the checkout: references pass, and nothing fails.

Every fourth task; ``make bench-capabilities`` checks all of them.
"""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from benchmarks.code_checks import case_of
from tests.verifiers.capabilities import public
from tests.verifiers.coding import here
from workers.verifiers.code.running import CodeTests
from workers.verifiers.code.static import Static
from workers.verifiers.protocol import checked

pytestmark = [pytest.mark.slow]


def test_references_pass_and_nothing_fails() -> None:
    lines = gzip.decompress(public("human_eval.jsonl.gz").read_bytes()).splitlines()
    tasks: list[dict[str, Any]] = [json.loads(line) for line in lines[::4]]
    tests, static = CodeTests(here()), Static(here(), types=False)
    right = [case_of(task, task["prompt"] + task["canonical_solution"]) for task in tasks]
    nothing = [case_of(task, f"{task['prompt']}    return None\n") for task in tasks]

    with ThreadPoolExecutor(2) as pool:
        passed = list(pool.map(lambda case: checked(tests, case), right))
        failed = list(pool.map(lambda case: checked(tests, case), nothing))
        clean = list(pool.map(lambda case: checked(static, case), right))

    assert [each for each in passed if each.passed is not True] == []
    assert [each for each in failed if each.passed is not False] == []
    assert [each for each in clean if each.passed is not True] == []
    assert len(passed) == len(failed) == 41
