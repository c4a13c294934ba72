"""Programming problems that pieces of code inspire: a model writes problem, solution and tests, and none of it is believed.

Tests are kept where the solution passes them and a stub fails (:mod:`workers.verifiers.code.keep`); a problem without any is
dropped.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from workers.sandbox import NoSandbox
from workers.synthesis.chunks import all_pieces
from workers.synthesis.protocol import Dropped, Ended, Impossible, Made, Order, asked, object_in
from workers.verifiers.code.keep import keep_tests, tests_in

WRITE: Final = """\
Let the code below inspire you to a new, self-contained programming problem in Python that one function solves. The problem \
must not mention the code. Reply with a JSON object and nothing else. Its keys, each a text:
"problem": what the function does, with its name, its arguments and what it returns;
"name": the name of the function;
"solution": the function in Python, with its imports;
"tests": at least three lines of Python, each an assertion that calls the function.

Code:
{code}"""
_NAME: Final = re.compile(r"[A-Za-z_]\w{0,59}")


class CodeExamples:
    """One problem a piece of code."""

    version = "1"

    async def make(self, order: Order, number: int) -> Made:
        """The problem that the piece of that number inspires."""
        if not order.documents:
            raise Impossible("No code was given: add files or pieces of code.")
        found = all_pieces(order.documents)
        if number >= len(found):
            raise Ended
        piece = found[number]
        written = object_in(await order.ask(WRITE.format(code=piece.text)), "problem", "name", "solution", "tests")
        name, solution = written["name"].strip().removesuffix("()"), _fenced(written["solution"])
        if not _NAME.fullmatch(name):
            raise Dropped(f"“{name[:60]}” is no name of a function")
        like = {"kind": "calls", "language": "python", "names": [name]}
        try:
            kept = await asyncio.to_thread(keep_tests, tests_in(_fenced(written["tests"]), like), solution)
        except NoSandbox as error:
            raise Impossible(
                f"Tests that a model wrote are tried in a sandbox, and there is none here: {error}"
            ) from None
        if not kept.tests:
            why = kept.dropped[0][1] if kept.dropped else "it wrote none that can be read"
            raise Dropped(f"no test of the model tells right from wrong: {why}")
        return Made(
            messages=asked(f"{written['problem'].strip()}\n\nWrite it in Python, as a function called `{name}`."),
            capability="coding",
            source={"code": piece.document.name, "piece": piece.number},
            reference=solution,
            tests=kept.tests,
        )


def _fenced(code: str) -> str:
    return code.strip() if "```" in code else f"```python\n{code.strip()}\n```"
