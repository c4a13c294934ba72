"""Files and functions stay small enough to be read in one go."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

from app.kernel.settings import ROOT

FILE_LINES = 400
FUNCTION_LINES = 40
FUNCTIONS_BEYOND = 0.01
"""The share of functions that may be longer: a table written out, or one statement with its columns."""
KINDS = (".py", ".js", ".mjs", ".css", ".html")
FOREIGN = ("static/vendor/", "tests/browser/vendor/")
SHIPPED = {"migrations/versions/20261123_the_whole_loop.py", "migrations/versions/20261125_the_workbench.py"}
"""Migrations of releases are never touched again."""


def ours() -> list[Path]:
    """The files of the repository that people write by hand; in an unpacked copy, all that are there."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    names = (
        listed.stdout.splitlines() if listed.returncode == 0 else [str(p.relative_to(ROOT)) for p in ROOT.rglob("*.*")]
    )
    kept = [
        name for name in names if name.endswith(KINDS) and not name.startswith(FOREIGN) and "node_modules" not in name
    ]
    return [ROOT / name for name in kept if (ROOT / name).is_file()]


def functions(path: Path) -> Iterator[int]:
    """The lines of each function of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_is_longer_than_the_limit() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in ours()}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES and name not in SHIPPED} == {}


def test_hardly_a_function_is_longer_than_the_limit() -> None:
    lengths = [lines for path in ours() if path.suffix == ".py" for lines in functions(path)]
    assert sum(lines > FUNCTION_LINES for lines in lengths) <= FUNCTIONS_BEYOND * len(lengths)
