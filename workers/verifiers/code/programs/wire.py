"""The wire between a solution and its tests, each in a sandbox of its own.

Both speak lines of JSON, and what the one says is only ever data to the other. So a solution never holds an object of the
tests, whose frames and globals would tell it what is expected, and a test never holds an object of the solution, which could
claim to equal anything. The two never speak at once: each line is answered by exactly one line.
"""

from __future__ import annotations

import builtins
import itertools
import json
import os
import sys
import types

from .copying import MOST_ITEMS, MOST_TEXT, Copier, NotData, update

TYPE_CHECKING = False  # typing takes as long to load as half an interpreter
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Solution(Exception):
    """An error of the solution's own kind."""


class Peer:
    """One end of the wire."""

    def __init__(self, *, serves: frozenset[str]) -> None:
        self._serves = serves
        self.copier = Copier(self, objects="get" in serves)
        self._in, self._out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)  # what is printed is nobody's answer
        self.space: dict[str, Any] = {}
        self.errors: dict[str, type[Exception]] = {}
        """Classes of errors that the solution defines, for tests that catch them."""
        self.last: tuple[str, str, Any, Any] | None = None
        """The last call: what was called, its arguments as sent, the value or the error."""
        self.calls = 0

    def say(self, what: dict[str, Any]) -> None:
        """Send one line."""
        self._out.write(json.dumps(what).encode() + b"\n")
        self._out.flush()

    def hear(self) -> dict[str, Any]:
        """The next line."""
        line = self._in.readline()
        if not line:
            os._exit(0)
        heard = json.loads(line)
        if not isinstance(heard, dict):
            raise Solution("the answer wrote something else than what was asked")
        return heard

    # ── Asking and answering ─────────────────────────────────────────────────────────────────────────────────────────
    def call(self, on: int | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call what the other end names so; lists and dicts that it changed in place are changed here."""
        self.calls += 1
        sent = self.copier.pack([list(args), kwargs])
        shown = sent if isinstance(on, str) else None
        if shown is not None:
            self.last = (str(on), json.dumps(shown), None, None)
        answer = self._exchange({"op": "call", "on": on, "with": sent})
        for place, after in answer.get("after") or []:
            mine = args[place] if isinstance(place, int) else kwargs[place]
            update(mine, self.copier.unpack(after))
        try:
            value = self._value(answer)
        except Exception as error:
            if shown is not None:
                self.last = (str(on), json.dumps(shown), None, error)
            raise
        if shown is not None:
            self.last = (str(on), json.dumps(shown), value, None)
        return value

    def ask(self, operation: str, on: int, *details: Any) -> Any:
        """Do something with an object of the other end."""
        return self._value(self._exchange({"op": operation, "on": on, "with": self.copier.pack(list(details))}))

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        self.say(message)
        while "op" in (answer := self.hear()):
            self.serve(answer)
        return answer

    def _value(self, answer: dict[str, Any]) -> Any:
        if "value" in answer:
            return self.copier.unpack(answer["value"])
        if "unsure" in answer:
            raise NotData(str(answer["unsure"])[:MOST_TEXT])
        if not isinstance(answer.get("error"), list):
            raise marked(Solution("the answer wrote something else than what was asked"))
        kinds = [str(kind) for kind in answer["error"]]
        message = str(answer.get("message", ""))[:MOST_TEXT]
        for kind in kinds:
            known = self.errors.get(kind) or getattr(builtins, kind, None)
            if isinstance(known, type) and issubclass(known, Exception) and not issubclass(known, UnicodeError):
                raise marked(known(message))
        raise marked(Solution(": ".join(filter(None, [*kinds[:1], message]))))

    def serve(self, message: dict[str, Any]) -> None:
        """Answer one line of the other end."""
        try:
            answer = self._do(message)
        except NotData as error:
            answer = {"unsure": str(error)}
        except ModuleNotFoundError as error:
            answer = missing_module(error) or failure(error)
        except BaseException as error:  # noqa: BLE001  # the other end decides what it means
            answer = failure(error)
        self.say(answer)

    def _do(self, message: dict[str, Any]) -> dict[str, Any]:
        operation, details = message["op"], self.copier.unpack(message["with"])
        if operation not in self._serves:
            raise NotData("the answer asks the tests for more than a call")
        on = self.copier.held[message["on"]] if isinstance(message["on"], int) else self.space[message["on"]]
        if operation != "call":
            return {"value": self.copier.pack(OPERATIONS[operation](on, *details))}
        args, kwargs = details
        value = on(*args, **kwargs)
        if isinstance(value, types.CoroutineType):
            import asyncio

            packed = {"~": "coroutine", "v": self.copier.pack(asyncio.run(value))}
        else:
            packed = self.copier.pack(value)
        sent = [*enumerate(message["with"][0]), *((key, each) for key, each in message["with"][1]["v"])]
        after = []
        for (place, then), now in zip(sent, [*args, *kwargs.values()], strict=True):
            if isinstance(now, list | dict | set | bytearray) or type(now).__name__ in self.copier.given:
                changed = self.copier.pack(now)
                if changed != then:
                    after.append([place, changed])
        return {"value": packed, "after": after}


OPERATIONS: dict[str, Callable[..., Any]] = {
    "eq": lambda on, other: bool(on == other),
    "get": getattr,
    "set": setattr,
    "item": lambda on, key: on[key],
    "put": lambda on, key, value: on.__setitem__(key, value),
    "len": len,
    "bool": bool,
    "str": str,
    "iter": lambda on: list(itertools.islice(on, MOST_ITEMS)),
}


EVERYTHING = frozenset({"call", *OPERATIONS})
CALLS = frozenset({"call"})
"""What a solution may do with a function that it was passed. Its attributes would lead to the tests."""


def marked(error: Exception) -> Exception:
    """An error that came over the wire, so that it is not taken for one of this end."""
    vars(error)["came_over_the_wire"] = True
    return error


def is_own(error: BaseException) -> bool:
    """Whether an error was raised on this end first."""
    return "came_over_the_wire" not in vars(error)


def failure(error: BaseException) -> dict[str, Any]:
    """An error as the wire carries it: its kinds, the nearest first, and its words."""
    kinds = [each.__name__ for each in type(error).__mro__ if each not in (object, BaseException)]
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return {"error": kinds, "message": message[:MOST_TEXT], "line": line_of(error, "solution.py")}


def line_of(error: BaseException, file: str) -> int | None:
    """The innermost line of that file in which the error was raised."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def missing_module(error: ModuleNotFoundError) -> dict[str, Any] | None:
    """What to say of a module that is nobody's mistake: it is just not here."""
    name = (error.name or "").partition(".")[0]
    if not name or name in sys.stdlib_module_names:
        return None
    return {"unsure": f"it needs the module {name}, which the sandbox does not have"}


def load_given(text: str, space: dict[str, Any]) -> dict[str, type]:
    """Run what both ends are given, and name the classes in it."""
    exec(compile(text, "given.py", "exec"), space)  # noqa: S102
    return {
        name: each for name, each in space.items() if isinstance(each, type) and each.__module__ == space["__name__"]
    }
