"""What ruff and ty say of Python, without running it."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

RULES: Final = "E9,F63,F7,F82,PLE"
"""What is an error whatever the code is for: syntax, comparisons and statements that cannot mean anything, undefined names."""
_RUFF: Final = (
    *(
        "check",
        "--isolated",
        "--no-cache",
        "--ignore-noqa",
        "--exit-zero",
        "--select",
        RULES,
        "--target-version",
        "py311",
    ),
    *("--output-format", "json", "--stdin-filename", "response.py", "-"),
)
_TY: Final = (
    *("check", "--python-version", "3.11", "--output-format", "concise", "--no-progress", "--exit-zero"),
    *("--ignore", "unresolved-import"),
)
_TIMEOUT_S: Final = 8.0
_TYPES: Final = re.compile(r"^[^:]+:(\d+):\d+: (?:error|warning)\[([\w-]+)\] (.+)$", re.MULTILINE)

Remark = dict[str, Any]
"""``line``, ``rule`` and ``message`` of one finding of a tool."""


class NoTool(Exception):
    """The tool is not here, or did not answer; the message says what to do."""


def errors_in(code: str) -> list[Remark]:
    """What ruff finds; comments that would silence it are not heard.

    Raises:
        NoTool: it cannot be run.
    """
    found = _run(
        [_binary("ruff"), *_RUFF],
        code,
    )
    try:
        listed = json.loads(found)
    except ValueError:
        raise NoTool("ruff did not answer") from None
    return [
        {
            "line": each["location"]["row"],
            "rule": each.get("code") or "syntax",
            "message": str(each["message"])[:200],
        }
        for each in listed
    ]


def is_syntax(remark: Remark) -> bool:
    """Whether the code cannot even be read."""
    return remark["rule"] in {"syntax", "invalid-syntax"} or str(remark["rule"]).startswith("E9")


def types_in(code: str) -> list[Remark]:
    """What ty finds. Modules that are not installed here are no finding.

    Raises:
        NoTool: it cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="corral-types-") as folder:
        Path(folder, "response.py").write_text(code, encoding="utf-8", errors="replace")
        found = _run(
            [_binary("ty"), *_TY, "--project", folder, "response.py"],
            "",
            folder,
        )
    return [
        {"line": int(line), "rule": rule, "message": message[:200]} for line, rule, message in _TYPES.findall(found)
    ]


def _binary(tool: str) -> str:
    try:
        return str(getattr(import_module(tool), f"find_{tool}_bin")())
    except (ImportError, FileNotFoundError):
        raise NoTool(f"{tool} is not installed: pip install 'corral[checks]'") from None


def _run(command: Sequence[str], given: str, folder: str | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            input=given.encode("utf-8", "replace"),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "NO_COLOR": "1"},
        )
    except subprocess.TimeoutExpired:
        raise NoTool(f"{Path(command[0]).name} did not answer within {_TIMEOUT_S:.0f} seconds") from None
    if done.returncode:
        raise NoTool(f"{Path(command[0]).name} failed: {done.stderr.decode('utf-8', 'replace').strip()[-200:]}")
    return done.stdout.decode("utf-8", "replace")
