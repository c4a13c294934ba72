"""Calls of tools: that they can be made with the tools of the prompt, and that they are the wanted ones.

A test is ``{"kind": "tool_calls", "calls": [{"name", "arguments": {argument: [accepted values]}}], "order": "any" | "same"}``.
Values are accepted as BFCL accepts them: texts without regard to case, spaces and punctuation; ``""`` among the values means
that the argument may be left out. BFCL's own form of a call, ``{name: {argument: […]}}``, is read as well. No calls wanted
means that none may be made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from workers.tools.calls import Call, NotACall, calls_in, calls_of
from workers.tools.schemas import BadSchema, fault, function_of, schema_of
from workers.verifiers.protocol import LIMIT_S, Case, Finding, Test, unchecked

VERSION: Final = "1"
ORDERS: Final = ("any", "same")
_IGNORED: Final = re.compile(r"[ ,./\-_*^]")


class BadTest(ValueError):
    """The test is none; no fault of the response."""


class ToolCalls:
    """The calls of a response."""

    name = "tool_calls"
    version = VERSION
    limit_s = LIMIT_S

    def applies(self, case: Case) -> bool:
        """Whether a test speaks of calls, or the response makes some of the prompt's tools."""
        return bool(case.tests_of("tool_calls")) or (bool(case.tools) and (bool(case.steps) or _calls(case.response)))

    def check(self, case: Case) -> Finding:
        """Whether every call can be made and every wanted one is among them."""
        tests = case.tests_of("tool_calls")
        try:
            wanted = [wanted_of(test) for test in tests]
            usable = [schema_of(tool) for tool in case.tools or []]
        except (BadTest, BadSchema) as error:
            return unchecked(self, str(error))
        try:
            taken = [step for step in case.steps or [] if step.get("role") == "assistant"]
            calls = [call for step in taken for call in calls_of(step)]
            calls += calls_in(case.response)
        except NotACall as error:
            return self._finding([], str(error))
        try:
            why = next((why for call in calls if usable and (why := fault(call, case.tools or []))), None)
        except BadSchema as error:
            return unchecked(self, str(error))
        for test, each in zip(tests, wanted, strict=True):
            why = why or _difference(calls, each, case.tools or [], same=test.get("order") == "same")
        failed = [str(step.get("content")) for step in case.steps or [] if step.get("failed")]
        why = why or (f"{len(failed)} of {len(calls)} calls did not run: {failed[0]}" if failed else None)
        return self._finding(calls, why)

    def _finding(self, calls: Sequence[Call], why: str | None) -> Finding:
        number = f"{len(calls)} call{'' if len(calls) == 1 else 's'}"
        return Finding(
            verifier=self.name,
            version=self.version,
            passed=why is None,
            message=number if why is None else why,
            evidence={"calls": [{"name": call.name, "arguments": call.arguments} for call in calls]},
        )


def wanted_of(test: Test) -> list[Call]:
    """The wanted calls of a test; the arguments are the accepted values by name.

    Raises:
        BadTest: it is no such test.
    """
    calls = test.get("calls")
    if not isinstance(calls, list) or test.get("order", "any") not in ORDERS:
        raise BadTest('A test of tool calls needs "calls", a list, and an "order" of "any" or "same".')
    return [_wanted(call) for call in calls]


def _wanted(call: Any) -> Call:
    if isinstance(call, Mapping) and len(call) == 1 and "name" not in call:
        ((name, arguments),) = call.items()
    elif isinstance(call, Mapping):
        name, arguments = call.get("name"), call.get("arguments", {})
    else:
        name, arguments = None, None
    if not isinstance(name, str) or not isinstance(arguments, Mapping):
        raise BadTest('A wanted call needs a "name" and "arguments", an object of lists of accepted values.')
    if not all(isinstance(values, list) for values in arguments.values()):
        raise BadTest(f"The arguments of the wanted call of {name} must be lists of accepted values.")
    return Call(name, dict(arguments))


def _calls(response: str) -> bool:
    try:
        return bool(calls_in(response))
    except NotACall:
        return True


def _difference(
    calls: Sequence[Call], wanted: Sequence[Call], tools: Sequence[Mapping[str, Any]], *, same: bool
) -> str | None:
    """What of the wanted calls is missing; None where each has a call of its own, and no call is left."""
    if len(calls) != len(wanted):
        return f"{len(calls)} calls, {len(wanted)} wanted"
    reasons = [[_mismatch(call, each, tools) for call in calls] for each in wanted]
    if same:
        return next((reasons[at][at] for at in range(len(wanted)) if reasons[at][at]), None)
    unmatched = _unmatched(reasons)
    if unmatched is None:
        return None
    named = [why for call, why in zip(calls, reasons[unmatched], strict=True) if call.name == wanted[unmatched].name]
    return next(filter(None, named), None) or f"no call of {wanted[unmatched].name}"


def _unmatched(reasons: list[list[str | None]]) -> int | None:
    """The first wanted call for which no call is left when each takes one (augmenting paths); None where all have one."""
    taken: dict[int, int] = {}

    def take(row: int, seen: set[int]) -> bool:
        for column, why in enumerate(reasons[row]):
            if why is None and column not in seen:
                seen.add(column)
                if column not in taken or take(taken[column], seen):
                    taken[column] = row
                    return True
        return False

    return next((row for row in range(len(reasons)) if not take(row, set())), None)


def _mismatch(call: Call, wanted: Call, tools: Sequence[Mapping[str, Any]]) -> str | None:
    if call.name != wanted.name:
        return f"{call.name} called, {wanted.name} wanted"
    extra = next((name for name in call.arguments if name not in wanted.arguments), None)
    if extra is not None and not _is_default(call, extra, tools):
        return f"{call.name}: {extra} is not wanted"
    for name, accepted in wanted.arguments.items():
        if name not in call.arguments:
            if accepted and "" not in accepted:
                return f"{call.name}: {name} is missing"
        elif not any(_same(call.arguments[name], value) for value in accepted):
            return f"{call.name}: {name} is {_shown(call.arguments[name])}, {_shown(accepted)} accepted"
    return None


def _is_default(call: Call, name: str, tools: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the argument only says what its tool takes anyway."""
    tool = next((tool for tool in tools if function_of(tool)["name"] == call.name), None)
    declared = schema_of(tool).get("properties", {}).get(name) if tool is not None else None
    return isinstance(declared, Mapping) and "default" in declared and _same(call.arguments[name], declared["default"])


def _same(given: Any, accepted: Any) -> bool:
    """Whether a value is an accepted one; inside of an accepted object each key has its accepted values."""
    if isinstance(given, bool) or isinstance(accepted, bool):
        return given is accepted
    if isinstance(given, str) and isinstance(accepted, str):
        return _standard(given) == _standard(accepted)
    if isinstance(given, list) and isinstance(accepted, list):
        return len(given) == len(accepted) and all(map(_same, given, accepted))
    if isinstance(given, Mapping) and isinstance(accepted, Mapping):
        return given.keys() <= accepted.keys() and all(
            _one_of(given.get(key), values, left_out=key not in given) for key, values in accepted.items()
        )
    if isinstance(given, int | float) and isinstance(accepted, int | float):
        return bool(given == accepted)
    return given is None and accepted is None


def _one_of(given: Any, values: Any, *, left_out: bool) -> bool:
    if not isinstance(values, list):
        return not left_out and _same(given, values)
    if left_out:
        return "" in values
    return any(_same(given, value) for value in values) or _same(given, values)


def _standard(text: str) -> str:
    return _IGNORED.sub("", text).lower().replace("'", '"')


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
