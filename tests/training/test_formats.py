"""The hash and the split are a function of what is said, and of nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.formats.prompts import Split, canonical, content_hash, split_of

text = st.text(st.characters(exclude_categories=["Cs"]))
message = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": text})
messages = st.lists(message, min_size=1, max_size=5)


def test_the_hash_is_frozen_because_the_split_of_every_past_round_hangs_on_it() -> None:
    said = [{"role": "user", "content": "Grüß Gott"}]

    assert canonical(said) == '{"messages":[{"content":"Grüß Gott","role":"user"}]}'.encode()
    assert content_hash(said).hex() == "9520f454aadeccb56e62b3cd6042fd45d965f6a8a79ee0409df717390b69d8e8"


@given(messages)
def test_the_order_of_keys_does_not_matter(said: list[dict[str, str]]) -> None:
    turned = [dict(reversed(list(one.items()))) for one in said]

    assert content_hash(turned) == content_hash(said)


@given(messages, messages)
def test_two_conversations_share_a_hash_only_when_they_are_the_same(
    one: list[dict[str, str]], other: list[dict[str, str]]
) -> None:
    assert (content_hash(one) == content_hash(other)) == (one == other)


@given(messages)
def test_tools_are_part_of_the_content_and_no_tools_is_an_empty_list(said: list[dict[str, str]]) -> None:
    tool = {"type": "function", "function": {"name": "clock"}}

    assert content_hash(said, []) == content_hash(said, None)
    assert content_hash(said, [tool]) != content_hash(said)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 99))
def test_holding_out_more_never_brings_a_held_out_prompt_back_into_training(digest: bytes, percent: int) -> None:
    if split_of(digest, percent) is Split.HELD_OUT:
        assert split_of(digest, percent + 1) is Split.HELD_OUT


@given(st.binary(min_size=32, max_size=32))
def test_none_and_all_mean_none_and_all(digest: bytes) -> None:
    assert split_of(digest, 0) is Split.TRAIN
    assert split_of(digest, 100) is Split.HELD_OUT


def test_about_the_asked_share_of_prompts_is_held_out() -> None:
    hashes = [content_hash([{"role": "user", "content": f"question {n}"}]) for n in range(4000)]
    held_out = sum(split_of(digest, 10) is Split.HELD_OUT for digest in hashes)

    assert 320 < held_out < 480


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_percentage_outside_its_range_is_refused(percent: int) -> None:
    with pytest.raises(ValueError, match="percentage"):
        split_of(b"\0" * 32, percent)


def test_the_way_a_file_writes_a_tool_call_down_makes_no_other_prompt() -> None:
    def called(arguments: object, **more: object) -> list[dict[str, object]]:
        call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
        return [
            {"role": "user", "content": "Weather?", **more},
            {"role": "assistant", "content": "", "tool_calls": [call]},
        ]

    as_text = content_hash(called('{"city":"Oslo","days":2}'))
    assert content_hash(called({"days": 2, "city": "Oslo"})) == as_text
    assert content_hash(called('{"city":"Oslo","days":2}', name=None, tool_calls=None)) == as_text
    assert content_hash(called({"days": 3, "city": "Oslo"})) != as_text


def test_what_files_are_made_of_needs_the_standard_library_only() -> None:
    seen = "import sys, training.formats.prompts; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True).stdout.split()
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    started = {name.partition(".")[0] for name in bare.stdout.split()}
    assert {*loaded} - started - sys.stdlib_module_names == {"training"}


def test_a_prompt_is_the_same_however_a_file_writes_the_arguments_of_a_call() -> None:
    def asked(arguments: object) -> bytes:
        call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}
        return content_hash([{"role": "assistant", "content": "", "tool_calls": [call]}])

    as_object = asked({"item": "hat", "currency": "EUR"})
    assert asked('{"item":"hat","currency":"EUR"}') == asked('{ "currency": "EUR", "item": "hat" }') == as_object
    assert asked("no JSON") != asked('{"item":"cap","currency":"EUR"}') != as_object
