"""In the tests' sandbox: runs the tests against a proxy, and says which held. What comes back from the solution is data."""

from __future__ import annotations

import ast
import builtins
import json
import os
import random
import sys
import types

from .copying import MOST_TEXT, NotData, short
from .wire import CALLS, Peer, is_own, line_of, load_given

TYPE_CHECKING = False  # typing takes as long to load as half an interpreter
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MISTAKES = (SyntaxError, NameError, ImportError, MemoryError)
"""What is the tests' own mistake where they raised it themselves."""
MOST_SHOWN = 3
"""Failures that a person is shown."""


class Counting(ast.NodeTransformer):
    """Puts each assertion that stands alone into a counter, so that those after a failed one still run."""

    def __init__(self) -> None:
        self.asserts: list[ast.Assert] = []

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Wrap it."""
        self.asserts.append(node)
        counter = ast.Call(ast.Name("__counted__", ast.Load()), [ast.Constant(len(self.asserts) - 1)], [])
        wrapped = ast.With([ast.withitem(counter)], [node])
        return ast.fix_missing_locations(ast.copy_location(wrapped, node))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Look only into the functions that are tests themselves."""
        return self.generic_visit(node) if is_test(node.name) else node

    def _leave(self, node: ast.AST) -> ast.AST:
        return node

    visit_Try = visit_ClassDef = visit_AsyncFunctionDef = visit_Lambda = _leave  # noqa: N815  # names that ast calls


def _needs(function: types.FunctionType) -> int:
    return function.__code__.co_argcount - len(function.__defaults__ or ())


def is_test(name: str) -> bool:
    """Whether a function of that name holds assertions."""
    return name == "check" or name.startswith("test")


class Counted:
    """One assertion while it runs."""

    def __init__(self, run: Tests, number: int) -> None:
        self.run, self.number = run, number

    def __enter__(self) -> None:
        self.run.peer.last = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> bool:
        if error is None:
            self.run.passed += 1
            return False
        if not isinstance(error, Exception) or (is_own(error) and isinstance(error, MISTAKES)):
            return False  # that is no verdict on the solution
        self.run.fail(error, self.run.counting.asserts[self.number])
        return True


class Tests:
    """The tests of one job, and how they went."""

    def __init__(self, peer: Peer, job: dict[str, Any]) -> None:
        self.peer, self.job = peer, job
        self.counting = Counting()
        self.passed = 0
        self.failed: list[dict[str, Any]] = []
        self.failures = 0

    def run(self) -> dict[str, Any]:
        """Run them all; the verdict."""
        space: dict[str, Any] = {"__name__": "tests", "__counted__": lambda number: Counted(self, number)}
        unsure = ""
        try:
            space["__name__"] = "solution"
            self.peer.copier.given = load_given(self.job["given"], space)
            space["__name__"] = "tests"
            for name, base in self.job["kinds"].items():
                space[name] = self._error(name, base) if base else self._proxy(name)
            tree = self.counting.visit(ast.parse(self.job["code"], "tests.py"))
            exec(compile(tree, "tests.py", "exec"), space)  # noqa: S102
            self._run_functions(space)
        except NotData as error:
            unsure = str(error)
        except SystemExit:
            unsure = "the tests ended themselves before their end"
        except BaseException as error:  # noqa: BLE001  # what a wrong value led to
            if is_own(error) and isinstance(error, MISTAKES):
                unsure = f"the tests are wrong in line {line_of(error, 'tests.py')}: {type(error).__name__}: {error}"
            else:
                self.fail(error, None)
        if not unsure and not self.failures and not self.passed:
            if self.peer.calls and not self.counting.asserts:
                self.passed = 1  # it fails by raising and did not
            else:
                unsure = "the tests test nothing"
        if not unsure and not self.peer.calls:
            unsure = "the tests never call the solution"
        return {"passed": self.passed, "failures": self.failures, "failed": self.failed, "unsure": unsure}

    def _run_functions(self, space: dict[str, Any]) -> None:
        if self.job["check"]:
            if not callable(space.get("check")):
                raise NotData("the tests define no check()")
            space["check"](space[self.job["names"][0]])
            return
        for name, each in list(space.items()):
            if name.startswith("test") and isinstance(each, types.FunctionType) and not _needs(each):
                each()

    def _proxy(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self.peer.call(name, args, kwargs)

        call.__name__ = name
        return call

    def _error(self, name: str, base: str) -> type[Exception]:
        known = getattr(builtins, base, Exception)
        made = type(name, (known if isinstance(known, type) and issubclass(known, Exception) else Exception,), {})
        self.peer.errors[name] = made
        return made

    def fail(self, error: BaseException, node: ast.Assert | None) -> None:
        """Count a failure, and say of the first ones what a person would ask."""
        self.failures += 1
        if len(self.failed) >= MOST_SHOWN:
            return
        line = line_of(error, "tests.py")
        lines = self.job["code"].splitlines()
        said: dict[str, Any] = {"test": lines[line - 1].strip()[:MOST_TEXT] if line and line <= len(lines) else ""}
        if self.peer.last is not None:
            name, sent, got, raised = self.peer.last
            args, kwargs = self.peer.copier.unpack(json.loads(sent))
            words = [*map(short, args), *(f"{key}={short(value)}" for key, value in kwargs.items())]
            said["input"] = f"{name}({', '.join(words)})"[:MOST_TEXT]
            if raised is None:
                said["got"] = short(got)
        if not isinstance(error, AssertionError) or "got" not in said:
            said["error"] = f"{type(error).__name__}: {error}".removesuffix(": ").removeprefix("Solution: ")[:MOST_TEXT]
        elif str(error):
            said["error"] = str(error)[:MOST_TEXT]
        if node is not None and (expected := self._expected(node.test, error)):
            said["expected"] = expected
        self.failed.append(said)

    @staticmethod
    def _expected(test: ast.expr, error: BaseException) -> str:
        if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq | ast.Is):
            return ""
        right = test.comparators[0]
        calls = any(isinstance(each, ast.Call) for each in ast.walk(right))
        frame = error.__traceback__.tb_frame if error.__traceback__ else None
        if calls or frame is None:
            return ast.unparse(right)[:MOST_TEXT]
        try:
            code = compile(ast.Expression(right), "expected", "eval")
            return short(eval(code, frame.f_globals, frame.f_locals))  # noqa: S307  # the tests' own words, in their box
        except Exception:  # noqa: BLE001  # then as it is written
            return ast.unparse(right)[:MOST_TEXT]


def main() -> None:
    """Run the tests of one job and say how they went."""
    sys.setrecursionlimit(5_000)
    random.seed(0)  # tests that draw draw the same each time
    peer = Peer(serves=CALLS)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # tests may write as much as they like
    job = peer.hear()
    peer.say({"verdict": Tests(peer, job).run()})
