"""A calculator: exact numbers, algebra and units, in a process that is killed when it takes too long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from workers.tools.protocol import ToolFailed, cut

LIMIT_S: Final = 10.0
_PROGRAM: Final = str(Path(__file__).with_name("calculating.py"))


class Calculator:
    """Says what an expression comes to."""

    name = "calculator"
    description = (
        "Calculate exactly: numbers, sqrt, log, solve(x**2 == 2, x), diff, integrate, factor; and units: 3 miles to km."
    )
    parameters: Final[dict[str, Any]] = {
        "type": "object",
        "properties": {"expression": {"type": "string", "maxLength": 1000}},
        "required": ["expression"],
    }

    def run(self, arguments: dict[str, Any]) -> str:
        """What the expression comes to.

        Raises:
            ToolFailed: it is none, or takes too long.
        """
        try:
            done = subprocess.run(
                [sys.executable, "-I", _PROGRAM],
                input=str(arguments["expression"]).encode("utf-8", "replace"),
                capture_output=True,
                timeout=LIMIT_S,
                check=False,
                env={},
            )
        except subprocess.TimeoutExpired:
            raise ToolFailed(f"The expression takes longer than {LIMIT_S:g} s.") from None
        said = done.stdout.decode("utf-8", "replace").strip()
        if done.returncode or not said:
            raise ToolFailed(cut(said) or "The expression takes more memory than there is for it.")
        return cut(said)
