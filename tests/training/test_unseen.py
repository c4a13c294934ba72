"""What of a prompt a chat template does not show is found by rendering it, whatever the template is called."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from training.base_model import FOR_TOOLS
from training.formats.templates import compiled
from training.formats.unseen import Part, look

SPEC = find_spec("trl")
FOLDER = Path((SPEC.submodule_search_locations or [""])[0] if SPEC else "") / "chat_templates"
NAMES = {"bos_token": "<s>", "eos_token": "</s>"}
SMOLLM2 = """\
{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}\
{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
MISTRAL = """\
{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate') }}{% endif %}{{ m.content }}{% endfor %}"""
ONLY_NAMES = (
    "{% for t in tools or [] %}{{ t.function.name }}{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}"
)
LETTERS_ONLY = """\
{% for t in tools or [] %}{% if 'q' in t.function.name %}{{ raise_exception('no q') }}{% endif %}{{ t }}{% endfor %}\
{% for m in messages %}{{ m.content }}{% endfor %}"""

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "f",
            "description": "does",
            "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
        },
    }
]
CALL = {"id": "call00001", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text, **more}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


SYSTEM = [{"role": "system", "content": "Be terse."}, user("Hi")]
CALLED = [
    user("Call f"),
    assistant("", tool_calls=[CALL]),
    {"role": "tool", "name": "f", "tool_call_id": "call00001", "content": "1"},
    assistant("It is 1."),
    user("Again"),
]
THOUGHT = [user("Hi"), assistant("<think>\nhm\n</think>\n\nHello"), user("Again")]


def template(name: str) -> dict[str, str]:
    own = {
        "smollm2 of before": {"default": SMOLLM2},
        "smollm2": {"default": SMOLLM2, "tool_use": FOR_TOOLS.read_text()},
        "mistral": {"default": MISTRAL},
        "names of tools only": {"default": ONLY_NAMES},
        "no q": {"default": LETTERS_ONLY},
        "no q, no tools": {"default": LETTERS_ONLY.replace("{{ t }}", "")},
    }
    return own[name] if name in own else {"default": (FOLDER / f"{name}.jinja").read_text()}


def unseen(name: str, messages: list[dict[str, Any]], tools: list[Any] | None = None) -> set[Part]:
    seen = look(compiled(template(name)), messages, tools, names=NAMES)
    assert seen.refusal is None
    return set(seen.unseen)


@pytest.mark.parametrize("name", ["smollm2", "qwen2_5", "qwen3", "llama3_1", "glm4moe", "gptoss"])
def test_a_template_that_shows_everything_hides_nothing(name: str) -> None:
    assert unseen(name, [user("Hi")]) == unseen(name, SYSTEM) == unseen(name, CALLED, TOOLS) == set()


@pytest.mark.parametrize("name", ["smollm2 of before", "llama3", "gemma3", "deepseek_r1_distill", "no q, no tools"])
def test_a_prompt_whose_tools_a_template_drops_is_refused(name: str) -> None:
    seen = look(compiled(template(name)), [user("Hi")], TOOLS, names=NAMES)
    assert seen.refusal == "the model's chat template shows no tools"


@pytest.mark.parametrize("name", ["smollm2 of before", "llama3", "deepseek_r1_distill"])
def test_calls_do_not_stand_for_the_tools_that_a_template_drops(name: str) -> None:
    seen = look(compiled(template(name)), CALLED, TOOLS, names=NAMES)
    assert seen.refusal == "the model's chat template shows no tools"


def test_what_a_template_shows_of_tools_is_told_from_what_it_drops() -> None:
    assert unseen("names of tools only", [user("Hi")], TOOLS) == {Part.TOOLS}


def test_calls_and_results_that_a_template_drops_are_unseen() -> None:
    assert unseen("smollm2 of before", CALLED) == {Part.CALLS}
    assert unseen("smollm2", CALLED) == {Part.CALLS}  # without tools its template for tools is not asked
    assert unseen("phi3", CALLED) == {Part.CALLS, Part.RESULTS}


def test_thinking_and_names_that_a_template_drops_are_unseen() -> None:
    assert unseen("qwen3", THOUGHT) == {Part.THINKING}
    assert unseen("smollm2", THOUGHT) == set()
    assert unseen("smollm2", [user("Hi", name="Ada")]) == {Part.NAMES}


@pytest.mark.parametrize(
    ("name", "messages", "why"),
    [
        ("gemma", SYSTEM, "System role not supported"),
        ("mistral", SYSTEM, "must alternate"),
        ("gemma", CALLED, "alternate"),
    ],
)
def test_a_prompt_that_a_template_refuses_says_why(name: str, messages: list[dict[str, Any]], why: str) -> None:
    seen = look(compiled(template(name)), messages, names=NAMES)
    assert seen.refusal is not None
    assert why in seen.refusal


def test_a_template_that_refuses_only_the_marks_is_not_said_to_refuse() -> None:
    assert unseen("no q", [user("Hi")], TOOLS) == set()


def test_a_tool_of_many_parameters_is_looked_at_in_a_moment() -> None:
    properties = {f"x{number}": {"type": "string"} for number in range(40_000)}
    function = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": properties}}
    assert unseen("smollm2", [user("Hi")], [{"type": "function", "function": function}]) == set()
