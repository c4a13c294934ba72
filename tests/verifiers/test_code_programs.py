"""Whole programs: an input goes in, what is written is compared."""

from __future__ import annotations

import pytest

from tests.verifiers.coding import calls, fenced, first, programs, run
from workers.sandbox import Limits
from workers.verifiers.code import stdio

SUMS = ("1 2\n", "3\n"), ("-5 5\n", "0")
ADDS = {
    "python": "a, b = map(int, input().split())\nif __name__ == '__main__':\n    print(a + b)",
    "javascript": "const [a, b] = require('fs').readFileSync(0, 'utf8').split(' ').map(Number);\nconsole.log(a + b);",
    "js": "import fs from 'node:fs';\nconst [a, b] = fs.readFileSync(0, 'utf8').split(' ').map(Number);\nconsole.log(a + b);",
    "typescript": "import * as fs from 'node:fs';\nconst [a, b]: number[] = fs.readFileSync(0, 'utf8').split(' ').map(Number);\n"
    "console.log(a + b);",
    "bash": "read -r a b\necho $((a + b))",
    "sh": "read a b; echo $((a + b))",
}


@pytest.mark.parametrize("language", ADDS)
def test_a_program_passes_where_it_writes_what_is_expected(language: str) -> None:
    right = run(fenced(ADDS[language], language), programs(*SUMS, language=language))
    if right.passed is None and ("not installed" in right.message or "or newer" in right.message):
        pytest.skip(right.message)
    wrong = run(fenced(ADDS[language].replace("a + b", "a - b"), language), programs(*SUMS, language=language))

    assert (right.passed, right.score, right.message) == (True, 1.0, "2 of 2 tests passed")
    assert (wrong.passed, wrong.score) == (False, 0.0)
    assert first(wrong) == {"test": "case 1", "input": "1 2", "expected": "3", "got": "-1"}


TABLES = "CREATE TABLE people (name TEXT, age INT); INSERT INTO people VALUES ('Ann', 30), ('Bo; b', 20), ('Cy', NULL);"


def test_sql_gives_rows() -> None:
    test = programs((TABLES, "Bo; b|20\nAnn|30"), language="sql")

    assert run(fenced("SELECT name, age FROM people\nWHERE age > 1 ORDER BY age;", "sql"), test).passed is True
    assert run(fenced("SELECT name, age FROM people ORDER BY age", "sqlite"), test).passed is False
    wrong = run(fenced("SELEC name FROM people", "sql"), test)
    assert (wrong.passed, first(wrong)["error"]) == (False, 'SQLite: near "SELEC": syntax error')
    assert run(fenced("SELECT 1", "sql"), programs(("CREATE TABEL x", "1"), language="sql")).passed is None


def test_rows_in_any_order_are_asked_for() -> None:
    response = fenced("SELECT name FROM people", "sql")

    assert run(response, programs((TABLES, "Cy\nAnn\nBo; b"), language="sql")).passed is False
    assert run(response, programs((TABLES, "Cy\nAnn\nBo; b"), language="sql", order="any")).passed is True


def test_white_space_at_the_end_means_nothing_and_elsewhere_something() -> None:
    test = programs(("", "a\n b"))

    assert run(fenced("print('a  ')\nprint(' b\\t')\nprint()"), test).passed is True
    assert run(fenced("print('a\\r\\n b')"), test).passed is True
    assert run(fenced("print('a\\nb')"), test).passed is False


def test_a_case_may_have_arguments_and_files() -> None:
    case = {"input": "", "output": "2 lines", "args": ["names.txt"], "files": {"names.txt": "a\nb\n"}}
    test = {"kind": "io", "language": "bash", "cases": [case]}

    assert run(fenced('echo "$(wc -l < "$1") lines"', "bash"), test).passed is True
    assert first(run(fenced("exit 3", "bash"), test)) == {
        "test": "case 1",
        "input": "names.txt",
        "expected": "2 lines",
        "error": "exit status 3",
    }


def test_a_program_that_fails_after_writing_fails() -> None:
    finding = run(fenced("print(3)\nraise ValueError('late')"), programs(("", "3")))

    assert finding.message == "0 of 1 test passed: case 1 raised ValueError: late"


def test_a_program_sees_neither_the_expected_output_nor_another_case() -> None:
    look = (
        "import os, sys\nfor top in ('.', '/tmp'):\n    for folder, _, names in os.walk(top):\n        for name in names:\n"
        "            try:\n                if 'forty' + '-two' in open(os.path.join(folder, name)).read():\n"
        "                    print('forty' + '-two')\n"
        "            except (OSError, ValueError): pass\nopen('left', 'w').write('forty' + '-two')\n"
    )

    assert run(fenced(look), programs(("", "forty-two"), ("", "forty-two"))).score == 0.0


def test_the_rest_is_not_run_after_three_failures() -> None:
    finding = run(fenced("print(1)"), programs(*[("", str(n)) for n in range(9)]))

    assert finding.message == "1 of 9 tests passed: case 1 gave 1, 0 expected"
    assert len(finding.evidence["failures"]) == 3


def test_a_module_that_is_missing_here_is_nobodys_mistake() -> None:
    assert run(fenced("import numpy"), programs(("", "1"))).passed is None
    assert run(fenced("import collections.nothing"), programs(("", "1"))).passed is False


@pytest.mark.parametrize(
    "code", ["while True: pass", "while True: print('x' * 9999)", "import os\nwhile True: os.fork()"]
)
def test_what_never_ends_fails_within_its_limit(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "LIMITS", Limits(wall_s=1.5))

    finding = run(fenced(code), programs(("", "1")))

    assert (finding.passed, finding.score) == (False, 0.0), finding


def test_cases_that_are_left_over_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "ALL_S", 0.0)

    finding = run(fenced("print(1)"), programs(("", "1"), ("", "1")))

    assert (finding.passed, "cases were left" in finding.message) == (None, True)


def test_a_response_in_another_language_holds_no_program() -> None:
    finding = run(fenced("puts 1", "ruby"), programs(("", "1")))

    assert (finding.passed, finding.message) == (False, "The response holds no Python code")
    assert run(fenced("x", "ruby"), calls("assert f()")).passed is False
