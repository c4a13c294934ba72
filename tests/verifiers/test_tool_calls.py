from __future__ import annotations

import json
from typing import Any

import pytest

from workers.tools.calls import Call, NotACall, calls_in, calls_of
from workers.tools.schemas import BadSchema, fault
from workers.verifiers.protocol import Case, Finding, checked
from workers.verifiers.tool_calls import ToolCalls

AREA: dict[str, Any] = {
    "name": "area",
    "parameters": {
        "type": "dict",
        "properties": {
            "base": {"type": "integer"},
            "height": {"type": "float"},
            "unit": {"type": "string", "enum": ["cm", "in"], "default": "cm"},
            "points": {"type": "tuple", "items": {"type": "any"}},
        },
        "required": ["base", "height"],
    },
}
RIGHT: dict[str, Any] = {"name": "area", "arguments": {"base": 10, "height": 5}}
WANTED = [{"area": {"base": [10], "height": [5, 5.0], "unit": ["cm", ""]}}]


def hermes(*calls: Any) -> str:
    return "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)


FUNCTION = {"name": "area", "arguments": json.dumps(RIGHT["arguments"])}


def find(response: str, wanted: Any = None, tools: Any = (AREA,), **test: Any) -> Finding:
    tests = [] if wanted is None else [{"kind": "tool_calls", "calls": wanted, **test}]
    return checked(ToolCalls(), Case(prompt=[], response=response, tools=list(tools), tests=tests))


@pytest.mark.parametrize(
    "written",
    [
        hermes(RIGHT),
        "I will compute it.\n" + hermes(RIGHT) + "\nDone.",
        hermes(RIGHT).removesuffix("</tool_call>"),
        hermes(RIGHT) + "<|im_end|>",
        '{"name": "area", "parameters": {"base": 10, "height": 5}}',
        '<|python_tag|>{"name": "area", "parameters": {"base": 10, "height": 5}}<|eom_id|>',
        '<function=area>{"base": 10, "height": 5}</function>',
        '<tool_call><function=area>{"base": 10, "height": 5}</function></tool_call>',
        '[TOOL_CALLS] [{"name": "area", "arguments": {"base": 10, "height": 5}}]</s>',
        '[TOOL_CALLS]area[ARGS]{"base": 10, "height": 5}',
        '[TOOL_CALLS]area[CALL_ID]abcdefghi[ARGS]{"base": 10, "height": 5}',
        '```json\n{"name": "area", "arguments": {"base": 10, "height": 5}}\n```',
        '[{"name": "area", "arguments": {"base": 10, "height": 5}}]',
        '[\n  {"name": "area", "arguments": {"base": 10, "height": 5}}\n]',
        "[area(base=10, height=5)]",
        "area(base=10, height=5)",
        json.dumps({"tool_calls": [{"id": "1", "type": "function", "function": FUNCTION}]}),
        json.dumps([{"type": "function", "function": FUNCTION}]),
    ],
)
def test_a_call_is_read_in_every_form_that_models_write(written: str) -> None:
    assert calls_in(written) == [Call("area", {"base": 10, "height": 5})]


@pytest.mark.parametrize(
    "written",
    [
        hermes(RIGHT, RIGHT),
        json.dumps([RIGHT, RIGHT]),
        ";".join([json.dumps(RIGHT)] * 2),
        "[area(base=10, height=5), area(base=10, height=5)]",
    ],
)
def test_several_calls_are_read_in_their_order(written: str) -> None:
    assert calls_in(written) == [Call("area", {"base": 10, "height": 5})] * 2


def test_the_calls_of_a_stored_message_are_those_in_its_field_or_in_its_text() -> None:
    field = {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": FUNCTION}]}
    assert calls_of(field) == calls_of({"role": "assistant", "content": hermes(RIGHT)})


@pytest.mark.parametrize(
    "said", ["", "The area is 25.", '{"area": 25}', "[1, 2]", "f(x) = 2x", "[see here](http://x)", "```json\n{}\n```"]
)
def test_an_answer_in_words_or_in_json_calls_nothing(said: str) -> None:
    assert calls_in(said) == []


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ('<tool_call>{"name": "area", "arguments": {"base": 10</tool_call>', "no JSON"),
        ("<tool_call><html>503</html></tool_call>", "no JSON"),
        ('<tool_call>{"arguments": {}}</tool_call>', "names no tool"),
        ('<tool_call>{"name": "area", "arguments": "{\\"base\\": 10}"}</tool_call>', "str, not an object"),
        ('<tool_call>{"name": "area", "arguments": [10, 5]}</tool_call>', "list, not an object"),
        ('<tool_call>{"name": "area", "arguments": {"base": 1, "base": 2}}</tool_call>', "twice"),
        ('<tool_call>{"name": "area", "arguments": {"base": NaN}}</tool_call>', "NaN"),
        ('{"name": "area", "arguments": {"base": 10', "no JSON"),
        ("[area(10, 5)]", "without a name"),
        ("[area(base=__import__('os').getpid())]", "no plain value"),
        ("<|python_tag|>", "nothing"),
        ("<tool_call>" + "[" * 100_000, "nested too deep"),
        ("<tool_call>" + "x" * 300_000, "characters"),
    ],
)
def test_what_begins_as_a_call_and_is_none_fails_with_its_reason(written: str, why: str) -> None:
    with pytest.raises(NotACall, match=why):
        calls_in(written)
    found = find(written)
    assert found.passed is False
    assert why in found.message


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "area_x"}, "no tool is called area_x"),
        ({"arguments": {"base": 10}}, "height"),
        ({"arguments": {"base": 10, "height": 5, "made_up": 1}}, "made_up"),
        ({"arguments": {"base": {"a": 1}, "height": 5}}, "base"),
        ({"arguments": {"base": 1.5, "height": 5}}, "base"),
        ({"arguments": {"base": True, "height": 5}}, "base"),
        ({"arguments": {"base": "10", "height": 5}}, "base"),
        ({"arguments": {"base": 10, "height": 5, "unit": "feet"}}, "unit"),
    ],
)
def test_a_call_that_its_tools_cannot_take_fails_and_says_where(change: dict[str, Any], why: str) -> None:
    found = find(hermes(RIGHT | change))
    assert found.passed is False
    assert why in found.message


@pytest.mark.parametrize(
    "arguments",
    [{"base": 10, "height": 5}, {"base": 10, "height": 5.0, "unit": "cm"}, {"base": 10.0, "height": 5}],
)
def test_the_wanted_call_passes_with_what_may_be_left_out_and_with_equal_numbers(arguments: dict[str, Any]) -> None:
    found = find(hermes({"name": "area", "arguments": arguments}), WANTED)
    assert (found.passed, found.message) == (True, "1 call")


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [RIGHT, RIGHT],
        [{"name": "area", "arguments": {"base": 11, "height": 5}}],
        [{"name": "area", "arguments": {"base": 10, "height": 5, "unit": "in"}}],
        [{"name": "area", "arguments": {"base": 10, "height": 5, "points": [1]}}],
    ],
)
def test_another_number_of_calls_or_another_value_fails(calls: list[Any]) -> None:
    assert find(hermes(*calls), WANTED).passed is False


def test_wanted_calls_may_come_in_any_order_unless_the_test_wants_theirs() -> None:
    wanted = [{"name": "area", "arguments": {"base": [n], "height": [n]}} for n in (1, 2)]
    said = hermes(*({"name": "area", "arguments": {"base": n, "height": n}} for n in (2, 1)))
    assert find(said, wanted).passed is True
    assert find(said, wanted, order="any").passed is True
    assert find(said, wanted, order="same").passed is False


def test_each_wanted_call_takes_a_call_of_its_own_whichever_fits_the_others() -> None:
    wanted = [{"name": "area", "arguments": {"base": bases, "height": [1]}} for bases in ([1, 2], [1])]
    said = hermes(*({"name": "area", "arguments": {"base": n, "height": 1}} for n in (1, 2)))
    assert find(said, wanted).passed is True
    assert find(hermes(*[{"name": "area", "arguments": {"base": 2, "height": 1}}] * 2), wanted).passed is False


@pytest.mark.parametrize(
    ("given", "accepted", "same"),
    [
        ("San Diego, CA", ["san diego CA"], True),
        ("it's", ['it"s'], True),
        (True, [1], False),
        (1, [True], False),
        (0, [False], False),
        ([1, 2], [[2, 1]], False),
        (["A b"], [["ab"]], True),
        ({"min": 1}, [{"min": [1, 2], "max": [3, ""]}], True),
        ({"min": 3}, [{"min": [1, 2]}], False),
        ({"min": 1, "more": 1}, [{"min": [1]}], False),
        ({}, [{"min": [1]}], False),
        (None, [None], True),
        (None, [""], False),
    ],
)
def test_values_are_accepted_as_bfcl_accepts_them(given: Any, accepted: list[Any], *, same: bool) -> None:
    said = hermes({"name": "f", "arguments": {"x": given}})
    found = find(said, [{"f": {"x": accepted}}], tools=[{"name": "f"}])
    assert found.passed is same, found.message


def test_a_call_where_none_is_wanted_fails_and_words_pass() -> None:
    assert find("It is 25.", []).passed is True
    assert find(hermes(RIGHT), []).passed is False


def test_tools_in_openais_form_are_read_too() -> None:
    assert find(hermes(RIGHT), WANTED, tools=[{"type": "function", "function": AREA}]).passed is True


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"$ref": "#"}, "refers to itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "refers to itself"),
        ({"$ref": "https://example.com/schema.json"}, "not in it"),
        ({"$ref": "#/$defs/missing"}, "not in it"),
        ({"$ref": "file:///etc/passwd"}, "not in it"),
        ({"type": "object", "properties": {"base": {"type": "Car"}}}, "schema of area is none"),
        ([1], "no object"),
    ],
)
def test_a_schema_that_cannot_be_used_is_no_fault_of_the_response(parameters: Any, why: str) -> None:
    found = find(hermes(RIGHT), tools=[{"name": "area", "parameters": parameters}])
    assert found.passed is None
    assert why in found.message


def test_a_schema_of_trees_may_refer_to_itself() -> None:
    node = {"type": "object", "properties": {"left": {"$ref": "#/$defs/node"}, "value": {"type": "integer"}}}
    tool = {
        "name": "put",
        "parameters": {"type": "object", "properties": {"tree": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}},
    }
    deep: dict[str, Any] = {"value": 1}
    for _ in range(20):
        deep = {"left": deep}
    assert fault(Call("put", {"tree": deep}), [tool]) is None
    assert fault(Call("put", {"tree": {"left": {"value": "x"}}}), [tool]) is not None


def test_a_tool_without_a_name_is_no_tool() -> None:
    with pytest.raises(BadSchema):
        fault(Call("f", {}), [{"function": "f"}])


@pytest.mark.parametrize(
    "calls",
    ["area", [{"area": {"base": 10}}], [7], [{"name": 7, "arguments": {}}], [{"name": "area", "arguments": []}]],
)
def test_a_test_that_is_none_is_null(calls: Any) -> None:
    assert find(hermes(RIGHT), calls).passed is None
    assert find(hermes(RIGHT), WANTED, order="sorted").passed is None


def test_the_verifier_applies_to_calls_and_to_tests_of_calls_alone() -> None:
    def applies(response: str, **others: Any) -> bool:
        return ToolCalls().applies(Case(prompt=[], response=response, **others))

    assert applies(hermes(RIGHT), tools=[AREA])
    assert applies("<tool_call>broken", tools=[AREA])
    assert applies("words", tests=[{"kind": "tool_calls", "calls": []}])
    assert not applies("words", tools=[AREA])
    assert not applies(hermes(RIGHT))


STEPS: list[dict[str, Any]] = [
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call_1", "function": {"name": "add", "arguments": '{"a": 1}'}}],
        "said": "[add(a=1)]",
    },
    {"role": "tool", "name": "add", "tool_call_id": "call_1", "content": "1"},
]
ADD = [{"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}]


def of_steps(steps: list[dict[str, Any]], tests: list[dict[str, Any]] | None = None) -> Finding:
    return ToolCalls().check(Case([], "It is 1.", tests=tests or [], tools=ADD, steps=steps))


def test_the_calls_of_the_steps_are_calls_of_the_response() -> None:
    assert ToolCalls().applies(Case([], "It is 1.", tools=ADD, steps=STEPS))
    assert not ToolCalls().applies(Case([], "It is 1.", tools=ADD))
    wanted = [{"kind": "tool_calls", "calls": [{"name": "add", "arguments": {"a": [1]}}]}]
    found = of_steps(STEPS, wanted)
    assert (found.passed, found.message) == (True, "1 call")


def test_a_call_that_did_not_run_fails_with_what_the_tool_said() -> None:
    found = of_steps([STEPS[0], STEPS[1] | {"content": "Error: no", "failed": True}])
    assert (found.passed, found.message) == (False, "1 of 1 calls did not run: Error: no")


def test_a_case_without_steps_has_the_hash_that_it_had_before_there_were_any() -> None:
    assert Case([], "Yes.").hash == "456bd714a89f87f34b68cf28b99266a33c18a9d9dde6bd3dfe52f9b053beea28"
    assert Case([], "Yes.", steps=STEPS).hash != Case([], "Yes.").hash
