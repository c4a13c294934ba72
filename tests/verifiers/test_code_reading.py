"""Code is found in a response, read without running it, and what reads it cannot be talked out of what it sees."""

from __future__ import annotations

import pytest

from tests.verifiers.coding import calls, fenced, programs, read
from workers.verifiers import registry
from workers.verifiers.code import python_lint
from workers.verifiers.code.extract import blocks, code_in
from workers.verifiers.protocol import Case

F = ("f",)


@pytest.mark.parametrize(
    ("response", "code"),
    {
        "one block": (fenced("def f(): 1"), "def f(): 1\n"),
        "its use after it": (fenced("def f(): 1") + fenced("print(f())"), "def f(): 1\n"),
        "its installation before it": (fenced("pip install x", "bash") + fenced("def f(): 1", "py"), "def f(): 1\n"),
        "a better one after it": (fenced("def f(): 1") + fenced("def f(): 2", "Python3"), "def f(): 2\n"),
        "in two parts": (fenced("import re") + fenced("f = re.sub"), "import re\n\nf = re.sub\n"),
        "without a name on the fence": (fenced("def f(): 1", ""), "def f(): 1\n"),
        "output beside it": (fenced("def f(): 1") + fenced("1", ""), "def f(): 1\n"),
        "never closed": ("```python\ndef f():\n    return 1", "def f():\n    return 1\n"),
        "tildes": ("~~~ python\ndef f(): '```'\n~~~", "def f(): '```'\n"),
        "longer fences": ("````python\ndef f():\n    '''\n```\n'''\n````", "def f():\n    '''\n```\n'''\n"),
        "in a list": ("1. So:\n\n   ```python\n   def f():\n       return 1\n   ```", "def f():\n    return 1\n"),
        "with attributes": ('```python title="x.py"\ndef f(): 1\n```', "def f(): 1\n"),
        "Windows' line ends": ("```python\r\ndef f(): 1\r\n```\r\n", "def f(): 1\n"),
        "no fence": ("def f():\n    return 1", "def f():\n    return 1"),
        "no fence, words before": ("Sure:\n\ndef f():\n    return 1", "def f():\n    return 1"),
        "goes on": ("    return 1\n", "    return 1\n"),
        "prose": ("I define nothing.", None),
        "another language": (fenced("f = 1", "ruby"), None),
    }.values(),
    ids=lambda value: str(value)[:24],
)
def test_the_program_of_a_response_is_found(response: str, code: str | None) -> None:
    assert code_in(response, "python", F) == code


def test_without_names_the_longest_block_is_the_program() -> None:
    assert code_in(fenced("print(input() * 2)") + fenced("print(4)"), "python") == "print(input() * 2)\n"


def test_typescript_may_be_marked_as_javascript_and_not_the_other_way() -> None:
    assert code_in(fenced("const f = 1", "js"), "typescript", F) == "const f = 1\n"
    assert code_in(fenced("const f: number = 1", "ts"), "javascript", F) is None


def test_a_long_response_of_fences_is_read_in_one_pass() -> None:
    assert len(blocks("```\nx\n```\n" * 20_000)) == 20_000


@pytest.mark.parametrize(
    "text", ["const {", "function ", "function" + " " * 90, "import ", "from x ", "f\n\n", "```", "    ", "~"]
)
def test_a_long_response_of_anything_is_searched_in_a_moment(text: str) -> None:
    for language in ("python", "javascript", "typescript"):
        for response in (text * (180_000 // len(text)), fenced(text * (180_000 // len(text)), language)):
            found = code_in(response + " " * 180_000, language, ("g", "h"))
            assert found is None or len(found) <= len(response) + 180_001


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────
TEST = calls("assert f(1)")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def f(x):\n    return y", "Python, line 2: Undefined name `y`"),
        ("def f(x):\n    return y  # noqa", "Python, line 2: Undefined name `y`"),
        ("# ruff: noqa\ndef f(x):\n    return y", "Python, line 3: Undefined name `y`"),
        ("def f(x:\n    pass", "Python, line 1: "),
        ("def f(x):\n    return x is 'a'", "Python, line 2: Use `==` to compare constant literals"),
        ("def f(x):\n    assert (x, 'why')", "Python, line 2: Assert test is a non-empty tuple"),
        ("return 1\ndef f(x): pass", "Python, line 1: "),
    ],
)
def test_what_cannot_be_right_in_python_is_an_error(code: str, says: str) -> None:
    finding = read(fenced(code), TEST)

    assert (finding.passed, finding.message[: len(says)]) == (False, says)


def test_style_is_nobodys_business() -> None:
    finding = read(fenced("import os, sys\ndef f( x ) :\n  l = lambda : 0 ; return(x)"), TEST)

    assert (finding.passed, finding.message) == (True, "Python: no errors")


def test_what_the_prompt_defines_is_defined_and_lines_count_from_the_response() -> None:
    test = calls("assert f(1)", given="from typing import List\n\ndef helper(x):\n    return x\n")

    assert read(fenced("def f(x: List[int]):\n    return helper(x)"), test).passed is True
    assert (
        read(fenced("\ndef f(x: List[int]):\n    return helpe(x)"), test).message
        == "Python, line 3: Undefined name `helpe`"
    )


def test_wrong_types_are_a_note() -> None:
    finding = read(fenced("def f(x: int) -> str:\n    return x + 1"), TEST, types=True)

    assert (finding.passed, finding.message) == (True, "Python: no errors, 1 note")
    assert finding.evidence["notes"][0]["line"] == 2


def test_a_piece_of_a_program_only_has_to_be_readable() -> None:
    assert read(fenced("total = price * 2")).passed is True
    assert read(fenced("total = = price")).passed is False
    assert read(fenced(">>> 1 +\n... 2") + fenced("x = 1")).passed is True


@pytest.mark.parametrize(
    ("language", "right", "wrong", "line"),
    [
        ("javascript", "const f = (x) => x;", "const a = 1;\nconst f = (x => ;", 2),
        ("mjs", "import fs from 'fs';\nexport const f = (x) => x;", "export const = 1;", 1),
        ("typescript", "enum A { B }\nconst f = (x: number): A => x;", "const f = (x: number: => x;", 1),
        ("bash", 'for f in *; do echo "$f"; done', 'echo 1\nfor f in *; do echo "$f"', 3),
        ("sql", "SELECT a FROM nowhere WHERE b = 'x;y'; SELECT 1", "SELEC a FROM t", 1),
        ("sql", "CREATE TRIGGER t AFTER INSERT ON x BEGIN SELECT 1; SELECT 2; END;", "SELECT 'open", 1),
    ],
)
def test_every_language_is_read_by_its_own_program(language: str, right: str, wrong: str, line: int) -> None:
    good, bad = read(fenced(right, language)), read(fenced(wrong, language))
    if good.passed is None and ("not installed" in good.message or "or newer" in good.message):
        pytest.skip(good.message)

    assert (good.passed, bad.passed) == (True, False), (good, bad)
    assert bad.evidence["errors"][0]["line"] == line


def test_reading_runs_nothing() -> None:
    for language, code in (("bash", "touch /tmp/x; exit 1"), ("javascript", "process.exit(1)"), ("sql", "SELECT 1/0")):
        finding = read(fenced(code, language))
        assert finding.passed is not False, finding


@pytest.mark.parametrize(
    "code", ["x = " + "(" * 50_000, "x = " + "-" * 50_000 + "1", "x = " + "[" * 3_000 + "]" * 3_000, "x\0y"]
)
def test_code_that_breaks_a_reader_is_wrong_or_says_nothing(code: str) -> None:
    finding = read(fenced(code), TEST, types=True)

    assert finding.passed is False or "failed" in finding.message or finding.passed


def test_a_tool_that_is_missing_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(python_lint, "import_module", missing)

    finding = read(fenced("def f(x): return x"), TEST, types=True)

    assert (finding.passed, finding.message) == (None, "ruff is not installed: pip install 'corral[checks]'")


def test_only_code_is_read() -> None:
    static = registry.find("static")

    assert static.applies(Case([], "Prose.", tests=[TEST]))
    assert static.applies(Case([], fenced("x = 1")))
    assert static.applies(Case([], "Prose.", tests=[programs(("", "1"))]))
    assert not static.applies(Case([], "Prose."))
    assert not static.applies(Case([], fenced("<p>", "html")))
    assert read("Prose.", TEST).message == "The response holds no Python code"


def test_very_long_code_fails_by_its_length() -> None:
    assert "200,000 is the most" in read(fenced("x = 1\n" * 50_000), TEST).message
