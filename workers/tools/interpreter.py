"""A Python interpreter, in the sandbox: each call is a program of its own, and the value of its last expression is printed."""

from __future__ import annotations

from typing import Any, Final

from workers.sandbox import Limits, NoSandbox, Sandbox, find_sandbox
from workers.tools.protocol import ToolFailed, cut

LIMITS: Final = Limits(wall_s=5.0, memory_mb=256, output_bytes=1 << 16)
_PROGRAM: Final = b"""\
import ast
with open("code.py", encoding="utf-8") as file:
    tree = ast.parse(file.read(), "code.py")
last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
names = {"__name__": "__main__"}
exec(compile(tree, "code.py", "exec"), names)
if last is not None:
    value = eval(compile(ast.Expression(last.value), "code.py", "eval"), names)
    if value is not None:
        print(value)
"""


class Interpreter:
    """Runs Python that a model wrote."""

    name = "python"
    description = "Run Python code. What it prints, and the value of its last line, come back."
    parameters: Final[dict[str, Any]] = {
        "type": "object",
        "properties": {"code": {"type": "string", "description": "The code; nothing is kept between calls."}},
        "required": ["code"],
    }

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self._sandbox = sandbox

    def run(self, arguments: dict[str, Any]) -> str:
        """What the code printed, and its error where it ended with one.

        Raises:
            ToolFailed: there is no sandbox, or the code went over a limit or raised.
        """
        files = {"main.py": _PROGRAM, "code.py": str(arguments["code"]).encode("utf-8", "replace")}
        try:
            sandbox = self._sandbox or find_sandbox()
            result = sandbox.run(["python", "main.py"], files=files, limits=LIMITS)
        except NoSandbox as error:
            raise ToolFailed(f"Python cannot be run here: {error}") from error
        said = result.stdout.decode("utf-8", "replace").strip()
        if result.stopped:
            raise ToolFailed(f"The code was stopped: it went over the limit of {result.stopped}.")
        if result.code:
            lines = result.stderr.decode("utf-8", "replace").strip().splitlines()
            raise ToolFailed(
                cut("\n".join(filter(None, [said, lines[-1] if lines else f"It ended with {result.code}."])))
            )
        return cut(said)
