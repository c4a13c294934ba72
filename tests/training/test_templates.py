"""What was sampled is what is trained, under every chat template that TRL ships."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

from tests.training.conftest import byte_tokenizer
from training.base_model import FOR_TOOLS
from training.data.chat import encode_chat, encode_response
from training.formats import templates
from training.formats.errors import ConfigError, DataError
from workers.engines.chat import ChatEncoder

SPEC = find_spec("trl")
FOLDER = Path((SPEC.submodule_search_locations or [""])[0] if SPEC else "") / "chat_templates"
BUNDLED = "smollm2"
NAMES = [*sorted(file.stem for file in FOLDER.glob("*.jinja")), BUNDLED]
SMOLLM2 = {
    "default": "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "tool_use": FOR_TOOLS.read_text(),
}
"""The bundled model's own, and the one that Corral puts beside it."""
MARKUP = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
SPECIAL = re.compile(
    r"<[|\uff5c][^<>\s'\"]+?[|\uff5c]>|</?s>|<[be]os>|<(?:start|end)_of_turn>|\[/?INST\]|<\|?[a-z_]+\|?>"
)
CALL = {"id": "call-1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "f",
            "description": "d",
            "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}},
        },
    }
]
RESULT = '{"a": "b\\n\\"q\\" ünï"}'


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


ASKED = [
    user("Call f"),
    assistant("", tool_calls=[CALL]),
    {"role": "tool", "name": "f", "tool_call_id": "call-1", "content": RESULT},
]
CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], list[Any] | None]] = {
    "a question": ([user("Hi there")], None),
    "a system prompt": ([{"role": "system", "content": "Be terse."}, user("Hi")], None),
    "turns": ([user("Hi"), assistant("Hello"), user("Again")], None),
    "turns with thinking": ([user("Hi"), assistant("<think>\nsecret\n</think>\n\nHello"), user("Again")], None),
    "turns with line breaks": ([user("  Hi "), assistant("\n\nHello\n"), user("\nAgain\n")], None),
    "a tool": (ASKED, TOOLS),
    "a tool that was used": (
        [{"role": "system", "content": "Be terse."}, *ASKED, assistant("b"), user("Again")],
        TOOLS,
    ),
    "a tool that waits": ([user("Hi")], TOOLS),
    "other scripts": ([user("naïve ✓ 漢字 \u2028 \u202e")], None),
}
SAMPLED = [
    "Hello",
    "<think>\nsum it\n</think>\n\nHello",
    "sum it\n</think>\n\nHello",
    " \nHello\n ",
    "<tool_call>\n{}\n</tool_call>",
]
REFUSED = {"gptoss", "idefics3", "llava_next", "muse_glimmer", "smolvlm"}
"""Whose answer starts with a control token that the model has to say, or that wants its messages in parts."""


def tokenizer_of(template: str | dict[str, str]) -> Any:
    """Every byte a token, with the control tokens that the template writes, and Qwen's that are not special."""
    tokenizer = byte_tokenizer()
    written = template if isinstance(template, str) else "".join(template.values())
    special = set(SPECIAL.findall(written)) - set(MARKUP)
    tokenizer.add_special_tokens({"additional_special_tokens": sorted(special)})
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in MARKUP])
    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    return {}


@pytest.fixture
def tokenizer(request: pytest.FixtureRequest, known: dict[str, Any]) -> Any:
    name: str = request.param
    if name not in known:
        known[name] = tokenizer_of(SMOLLM2 if name == BUNDLED else (FOLDER / f"{name}.jinja").read_text())
    return known[name]


def sent(tokenizer: Any, folder: Path, messages: list[dict[str, Any]], tools: list[Any] | None = None) -> list[int]:
    """The ids that the engine gets from a worker, which knows the model by its folder."""
    tokenizer.save_pretrained(folder)
    return ChatEncoder(str(folder)).encode(messages, tools)


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("tokenizer", NAMES, indirect=True)
def test_what_was_sampled_is_what_is_trained(tokenizer: Any, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    exact = 0
    for number, (messages, tools) in enumerate(CONVERSATIONS.values()):
        try:
            prompt = encode_chat(tokenizer, messages, add_generation_prompt=True, tools=tools)
            responses = [encode_response(tokenizer, messages, text, tools) for text in SAMPLED]
        except (ConfigError, DataError):
            continue
        assert prompt == sent(tokenizer, tmp_path / str(number), messages, tools)
        for text, response in zip(SAMPLED, responses, strict=True):
            said = ids_of(tokenizer, text)
            assert (response.ids[: len(said)], sum(response.content)) == (said, len(said)), text
        exact += 1
    name = request.node.callspec.params["tokenizer"].removesuffix("_training")
    assert exact == 0 if name in REFUSED else exact >= 5, "one that refuses everybody would pass as well"


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize(
    "tokenizer", ["qwen3", "qwen3_5_think", "qwen3_6", "glm4moe", "llama3_1", "gptoss", BUNDLED], indirect=True
)
def test_a_conversation_gets_the_very_ids_of_its_template(tokenizer: Any, conversation: str) -> None:
    messages, tools = json.loads(json.dumps(CONVERSATIONS[conversation]))
    ours = tokenizer.decode(encode_chat(tokenizer, messages, add_generation_prompt=True, tools=tools))
    for call in (call for message in messages for call in message.get("tool_calls", [])):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])  # as templates want them
    theirs = tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=True, tokenize=False)
    dates = re.compile(r"Current date: \S+")
    assert dates.sub("", ours) == dates.sub("", theirs)


@pytest.mark.parametrize("tokenizer", ["llama3_1", "gptoss"], indirect=True)
@pytest.mark.parametrize("result", [RESULT, ' "quoted" ', "line\nline\ttab", "\\", "<|eot_id|> 漢字", "\v"])
def test_a_tools_result_arrives_as_it_is(tokenizer: Any, result: str) -> None:
    messages = [*ASKED[:2], {**ASKED[2], "content": result}]
    assert json.dumps(result, ensure_ascii=False) in tokenizer.decode(encode_chat(tokenizer, messages, tools=TOOLS))


@pytest.mark.parametrize("tokenizer", ["llama3_2", "gptoss"], indirect=True)
def test_tomorrow_the_same_prompt_has_the_same_ids(tokenizer: Any) -> None:
    """The reference of a pair is kept by its ids, and what was sampled yesterday is trained tonight."""
    text = tokenizer.decode(encode_chat(tokenizer, [user("Hi")]))
    assert f"{templates.TODAY:%d %b %Y}" in text or f"{templates.TODAY}" in text


@pytest.mark.parametrize("token", [*MARKUP, "<|im_start|>"])
@pytest.mark.parametrize("role", ["user", "system", "tool"])
@pytest.mark.parametrize("tokenizer", ["qwen3"], indirect=True)
def test_markup_that_a_person_typed_is_text(tokenizer: Any, role: str, token: str, tmp_path: Path) -> None:
    def conversation(text: str) -> list[dict[str, Any]]:
        return [{"role": role, "content": f"so {text}x"}, user("Hi")]

    number = tokenizer.convert_tokens_to_ids(token)
    typed = encode_chat(tokenizer, conversation(token), add_generation_prompt=True)
    assert typed == sent(tokenizer, tmp_path, conversation(token))
    assert typed.count(number) == encode_chat(tokenizer, conversation("?"), add_generation_prompt=True).count(number)
    assert f"so {token}x" in tokenizer.decode(typed)


@pytest.mark.parametrize("tokenizer", ["qwen3"], indirect=True)
def test_markup_in_a_tools_description_is_text(tokenizer: Any) -> None:
    def count(description: str) -> int:
        tools = [{"type": "function", "function": {"name": "f", "description": description}}]
        ids = encode_chat(tokenizer, [user("Hi")], tools=tools)
        assert description in tokenizer.decode(ids)
        return ids.count(tokenizer.convert_tokens_to_ids("<tool_call>"))

    assert count("writes <tool_call>") == count("writes calls")


def test_words_that_were_added_to_a_vocabulary_stay_its_tokens() -> None:
    tokenizer = tokenizer_of("{% for m in messages %}{{ m.content }}{% endfor %}")
    tokenizer.add_tokens(["covfefe"])
    assert tokenizer.convert_tokens_to_ids("covfefe") in encode_chat(tokenizer, [user("a covfefe <think>")])


def test_a_control_token_that_swallows_white_space_swallows_it_here_too() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(
        [AddedToken("<|user|>", special=True, rstrip=True), AddedToken("<|end|>", special=True, lstrip=True)]
    )
    tokenizer.chat_template = "{% for m in messages %}{{ '<|user|>\n' + m.content + '\n<|end|>\n' }}{% endfor %}"
    messages = [user("Hi"), user(" there ")]
    assert encode_chat(tokenizer, messages) == tokenizer.apply_chat_template(messages, return_dict=False)


def test_a_tokenizer_that_calls_thinking_special_is_refused_where_the_template_inserts_it() -> None:
    """The engine leaves special tokens out of its texts, so nobody knows whether the model thought."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    tokenizer.chat_template = (FOLDER / "qwen3.jinja").read_text()
    with pytest.raises(ConfigError, match="does not continue its own generation prompt"):
        encode_response(tokenizer, [user("Hi")], "Hello")
