"""Reads the response's code without running it: syntax in every language that can be run, names and types in Python."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final

from workers.sandbox import Limits, NoSandbox, Sandbox, SandboxAway, find_sandbox
from workers.verifiers.code.extract import (
    ALIASES,
    MOST_CODE,
    TITLES,
    blocks,
    code_in,
    complete,
    language_of,
    language_of_test,
)
from workers.verifiers.code.python_lint import NoTool, Remark, errors_in, is_syntax, types_in
from workers.verifiers.code.running import KINDS
from workers.verifiers.code.stdio import start_of
from workers.verifiers.protocol import Case, Finding, unchecked

MOST_BLOCKS: Final = 8
"""Blocks of one response that are looked at."""
MOST_REMARKS: Final = 10
NOTHING: Final[list[Remark]] = []
_LIMITS: Final = Limits(wall_s=5.0)


@dataclass(frozen=True, slots=True)
class Piece:
    """Code to read. A whole ``program`` must define what it uses; a piece of one only has to be readable."""

    language: str
    code: str
    program: bool
    given: str = ""


@dataclass(slots=True)
class Reading:
    """What was found in all pieces."""

    errors: list[Remark] = field(default_factory=list)
    notes: list[Remark] = field(default_factory=list)
    unsure: str = ""
    again: bool = False


class Static:
    """Passes where the code can be read and, being a program with tests, uses no undefined names. Types are notes only."""

    name = "static"
    version = "1"
    limit_s = 30.0

    def __init__(self, sandbox: Sandbox | None = None, *, types: bool = True) -> None:
        self._sandbox, self._types = sandbox, types

    def applies(self, case: Case) -> bool:
        """Whether there should be code, or is some."""
        return bool(case.tests_of(*KINDS)) or any(language_of(each.label) for each in blocks(case.response))

    def check(self, case: Case) -> Finding:
        """The finding: the errors, each with its line in the code."""
        reading, pieces = Reading(), pieces_of(case)
        for piece in pieces[:MOST_BLOCKS]:
            if not piece.code.strip():
                message = f"The response holds no {TITLES[piece.language]} code"
                reading.errors.append({"language": piece.language, "line": 1, "rule": "missing", "message": message})
                continue
            try:
                self._read(piece, reading)
            except (NoTool, NoSandbox) as error:
                reading.unsure = reading.unsure or str(error)
                reading.again = reading.again or isinstance(error, SandboxAway)
        if not reading.errors and (reading.unsure or not pieces):
            return unchecked(self, reading.unsure or "No language of the tests can be read here", again=reading.again)
        evidence = {
            name: remarks[:MOST_REMARKS]
            for name, remarks in (("errors", reading.errors), ("notes", reading.notes))
            if remarks
        }
        return Finding(self.name, self.version, not reading.errors, _message(reading, pieces), None, evidence)

    def _read(self, piece: Piece, reading: Reading) -> None:
        if len(piece.code) > MOST_CODE:
            message = f"has {len(piece.code):,} characters, {MOST_CODE:,} is the most"
            found, notes = [{"line": 1, "rule": "length", "message": message}], NOTHING
        elif piece.language == "python":
            found, notes = self._python(piece)
        else:
            found, notes = syntax_of(self._sandbox or find_sandbox(), piece.language, piece.code), NOTHING
        reading.errors += [{"language": piece.language, **each} for each in found]
        reading.notes += [{"language": piece.language, **each} for each in notes]

    def _python(self, piece: Piece) -> tuple[list[Remark], list[Remark]]:
        code = complete(piece.code, piece.given, ())
        before = ""
        if code is piece.code and piece.given:  # what the prompt defines need not be repeated
            before = piece.given.rstrip("\n") + "\n\n"
        shift = before.count("\n")
        remarks = _shifted(errors_in(before + code), shift)
        errors = [each for each in remarks if piece.program or is_syntax(each)]
        notes = [each for each in remarks if each not in errors]
        if self._types and piece.program and not errors:
            with contextlib.suppress(NoTool):  # a checker of types that is missing takes nothing from the rest
                notes += _shifted(types_in(before + code), shift)
        return errors, notes


def pieces_of(case: Case) -> list[Piece]:
    """What there is to read: the programs that the tests run, else every block whose fence names a language."""
    pieces = []
    tests = case.tests_of(*KINDS)
    for test in tests:
        language, names = language_of_test(test), test.get("names")
        if language is not None:
            named = tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
            given = test.get("given")
            code = code_in(case.response, language, named) or ""
            piece = Piece(language, code, program=True, given=given if isinstance(given, str) else "")
            if piece not in pieces:
                pieces.append(piece)
    if tests:
        return pieces
    found = ((language_of(each.label), each.text) for each in blocks(case.response))
    return [
        Piece(language, text, program=False)
        for language, text in found
        if language is not None and text.strip() and not text.lstrip().startswith((">>>", "$ ", "..."))
    ]


def syntax_of(sandbox: Sandbox, language: str, code: str) -> list[Remark]:
    """The first error of syntax, as the language's own program reads it.

    Raises:
        NoSandbox: it is not here.
    """
    start = start_of(language, code)
    name = next(name for name in start.files if name.startswith("solution."))
    argv: tuple[str, ...]
    if language == "shell":
        argv, sent = ("bash", "-n", name), start.files
    elif language == "javascript":
        argv, sent = ("node", "--check", name), start.files
    elif language == "typescript":
        program = files("workers.verifiers.code.programs") / "syntax.mjs"
        argv, sent = ("node", "--no-warnings", "syntax.mjs", name), {**start.files, "syntax.mjs": program.read_bytes()}
    else:
        argv, sent = (*start.argv, "--syntax"), start.files
    result = sandbox.run(argv, files=sent, limits=_LIMITS)
    said = result.stderr.decode("utf-8", "replace")
    if "unsupported" in said and result.code == 3:
        raise NoSandbox("TypeScript needs Node.js 22.13 or newer.")
    if result.stopped:
        return [{"line": 1, "rule": "syntax", "message": f"reading it ran over its limit of {result.stopped}"}]
    if not result.code:
        return []
    line = re.search(rf"{re.escape(name)}:(?: line )?(\d+)", said)
    return [{"line": int(line[1]) if line else 1, "rule": "syntax", "message": _spoken(said)}]


def _spoken(said: str) -> str:
    """The line of a tool's answer that says what is wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    wrong = next(
        (line for line in lines if re.search(r"error|unexpected|unrecognized|incomplete", line, re.IGNORECASE)),
        "cannot be read",
    )
    return re.sub(r"^.*solution\.\w+: (?:line \d+: )?", "", wrong)[:200]


def _shifted(remarks: list[Remark], lines: int) -> list[Remark]:
    return [{**each, "line": max(each["line"] - lines, 1)} for each in remarks if each["line"] > lines or not lines]


def _message(reading: Reading, pieces: list[Piece]) -> str:
    if reading.errors:
        first = reading.errors[0]
        more = f" (and {len(reading.errors) - 1} more)" if reading.errors[1:] else ""
        title = TITLES[str(first["language"])]
        if first["rule"] == "missing":
            return f"{first['message']}{more}"
        return f"{title}, line {first['line']}: {first['message']}{more}"
    languages = [TITLES[each] for each in ALIASES if any(piece.language == each for piece in pieces)]
    notes = len(reading.notes)
    said = f"{', '.join(languages)}: no errors"
    return f"{said}, {notes} note{'' if notes == 1 else 's'}" if notes else said
