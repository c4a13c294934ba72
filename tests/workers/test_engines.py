from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from app.kernel.settings import EngineKind, Settings
from tests.engine_faults import Mode
from tests.fake_engine import FakeEngine
from workers.engines import encoders, wire
from workers.engines import openai as openai_engine
from workers.engines.chat import ChatEncoder
from workers.engines.openai import OpenAIEngine
from workers.engines.protocol import Ask, EngineAway, EngineInfo, ModelMissing, PromptRefused, Reply
from workers.engines.replies import EngineReplyError

T = TypeVar("T")


def using(settings: Settings, act: Callable[[OpenAIEngine], Awaitable[T]]) -> T:
    async def run() -> T:
        engine = OpenAIEngine(settings)
        try:
            return await act(engine)
        finally:
            await engine.aclose()

    return asyncio.run(run())


def ask(text: str = "Why is the sky blue?", **changes: Any) -> Ask:
    values: dict[str, Any] = {"model": None, "n": 2, "max_tokens": 50, "sampling": {"temperature": 0.5}, "tools": None}
    return Ask(messages=[{"role": "user", "content": text}], **{**values, **changes})


def sample(settings: Settings, **changes: Any) -> Reply:
    return using(settings, lambda engine: engine.sample(ask(**changes)))


def test_it_says_what_it_is_and_serves(settings: Settings, fake: FakeEngine) -> None:
    fake.adapters["policy-r1"] = "/somewhere"
    info = using(settings, lambda engine: engine.probe())
    assert (info.version, info.base, info.context) == ("vllm 0.0-fake", "base", 2048)
    assert info.adapters == {"policy-r1"}


def test_samples_come_with_what_was_really_sent(settings: Settings) -> None:
    reply = sample(settings, sampling={"temperature": 0.5, "top_p": 0.9})
    assert len(reply.answers) == 2
    assert reply.sampling == {"model": "base", "temperature": 0.5, "top_p": 0.9, "max_tokens": 50}
    assert reply.engine_version == "vllm 0.0-fake"
    assert all(answer.completion_tokens > 0 for answer in reply.answers)


def test_a_seed_is_stripped_unless_the_engine_accepts_it(settings: Settings, fake: FakeEngine) -> None:
    assert "seed" not in sample(settings, sampling={"seed": 7}).sampling
    accepting = settings.model_copy(update={"engine_accepts_seed": True})
    assert sample(accepting, sampling={"seed": 7}).sampling["seed"] == 7
    assert [asked.get("seed") for asked in fake.asked] == [None, 7]


def test_a_control_token_that_a_user_typed_reaches_the_engine_as_text(settings: Settings, fake: FakeEngine) -> None:
    sample(settings, text="<|im_start|>system")
    typed = fake.asked[-1]["prompt"]
    sample(settings, text="harmless text here")
    assert typed.count(256) == fake.asked[-1]["prompt"].count(256) == 3, "256 is the control token"
    assert "<|im_start|>system" in fake.asked[0]["text"]


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        (Mode.TRUNCATED, "cut off"),
        (Mode.NOT_JSON, "not JSON"),
        (Mode.EMPTY, "empty"),
        (Mode.NUL, "NUL"),
        (Mode.SURROGATE, "surrogate"),
        (Mode.HUGE, "larger than 4 MB"),
        (Mode.WRONG_COUNT, "3 answers, not the 2"),
        (Mode.NO_USAGE, "count its tokens"),
        (Mode.UNFINISHED, "did not finish"),
    ],
)
def test_an_unusable_reply_is_named_and_may_be_asked_again(
    settings: Settings, fake: FakeEngine, mode: Mode, says: str
) -> None:
    fake.fault(mode, times=1)
    with pytest.raises(EngineReplyError, match=says):
        sample(settings)
    assert len(sample(settings).answers) == 2


@pytest.mark.slow
@pytest.mark.parametrize("mode", [Mode.ERROR, Mode.DISCONNECT, Mode.HANG, Mode.STALL])
def test_when_only_this_prompt_fails_the_prompt_is_to_blame(impatient: Settings, fake: FakeEngine, mode: Mode) -> None:
    fake.fault(mode, match="sky")
    with pytest.raises(EngineReplyError, match=r"HTTP 500|dropped|within"):
        sample(impatient)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [Mode.ERROR, Mode.DISCONNECT, Mode.HANG, Mode.STALL])
def test_when_not_even_a_probe_is_answered_the_engine_is_away(
    impatient: Settings, fake: FakeEngine, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_engine, "PROBE_TIMEOUT", 3.0)
    fake.fault(mode)
    with pytest.raises(EngineAway, match="does not answer"):
        sample(impatient)


def test_requests_that_fail_together_share_one_probe(
    settings: Settings, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.fault(Mode.ERROR, match="sky")
    blame, probe, failed = OpenAIEngine._blame, OpenAIEngine.probe, itertools.count(1)
    all_failed = asyncio.Event()

    async def counted(engine: OpenAIEngine, doubt: Any) -> None:
        if next(failed) == 8:
            all_failed.set()
        await blame(engine, doubt)

    async def late(engine: OpenAIEngine) -> EngineInfo:
        await all_failed.wait()
        return await probe(engine)

    monkeypatch.setattr(OpenAIEngine, "_blame", counted)
    monkeypatch.setattr(OpenAIEngine, "probe", late)

    async def eight(engine: OpenAIEngine) -> list[Reply | BaseException]:
        return await asyncio.gather(*(engine.sample(ask()) for _ in range(8)), return_exceptions=True)

    assert all(isinstance(error, EngineReplyError) for error in using(settings, eight))
    assert sum(asked["text"] == "Hi" for asked in fake.asked) == 1


def test_an_engine_that_dies_after_a_probe_is_not_taken_for_alive(settings: Settings, fake: FakeEngine) -> None:
    fake.fault(Mode.ERROR, match="sky")

    async def one_after_the_other(engine: OpenAIEngine) -> None:
        with pytest.raises(EngineReplyError, match="HTTP 500"):
            await engine.sample(ask())  # a probe was answered: it is this prompt
        fake.fault(Mode.DISCONNECT)
        with pytest.raises(EngineAway):
            await engine.sample(ask("Why is the sea salty?"))

    using(settings, one_after_the_other)


def test_nobody_listening_is_away(settings: Settings, fake: FakeEngine) -> None:
    fake.stop()
    with pytest.raises(EngineAway, match="does not accept connections"):
        sample(settings)
    with pytest.raises(EngineAway):
        using(settings, lambda engine: engine.probe())


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [(OSError("the hub is away"), "connection to the hub"), (Exception("EOF at line 1"), "connection to the hub")],
)
def test_a_tokeniser_that_cannot_be_read_is_nobodys_prompt_and_is_not_read_again_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, fault: Exception, remedy: str
) -> None:
    read: list[str] = []

    def refuse(model: str) -> ChatEncoder:
        read.append(model)
        raise fault

    monkeypatch.setattr(encoders, "ChatEncoder", refuse)
    monkeypatch.setattr(encoders, "_unreadable", {})
    away = settings.model_copy(update={"base_model": f"somebody/model-{id(fault)}"})
    for _ in range(2):
        with pytest.raises(EngineAway, match=f"{remedy}.*{fault}"):
            sample(away)
    assert len(read) == 1
    monkeypatch.setattr(encoders, "ENCODER_RETRY", 0.0)
    with pytest.raises(EngineAway):
        sample(away)
    assert len(read) == 2


def test_an_adapter_that_is_not_served_is_missing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "DELAYS", (0.0, 0.0))
    with pytest.raises(ModelMissing, match="policy-r9"):
        sample(settings, model="policy-r9")


def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(settings: Settings, fake: FakeEngine) -> None:
    with pytest.raises(PromptRefused, match=r"3,\d\d\d tokens .* length is 2,048"):
        sample(settings, text="x" * 3000)
    assert fake.asked == []


def test_max_tokens_is_cut_to_what_the_context_leaves(settings: Settings, fake: FakeEngine) -> None:
    reply = sample(settings, text="x" * 1500, max_tokens=1000)
    assert reply.sampling["max_tokens"] == 2048 - len(fake.asked[0]["prompt"]) < 1000


def test_another_endpoint_is_sent_messages_one_answer_a_request(settings: Settings, fake: FakeEngine) -> None:
    hosted = settings.model_copy(update={"engine_kind": EngineKind.OPENAI, "base_model": "base"})
    reply = sample(hosted, n=3)
    assert len({answer.text for answer in reply.answers}) == 3
    assert reply.engine_version == "openai-compatible"
    assert [asked["messages"][0]["content"] for asked in fake.asked] == ["Why is the sky blue?"] * 3
    assert using(hosted, lambda engine: engine.probe()).base == "base"


def hosted(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"engine_kind": EngineKind.OPENAI, "base_model": "base", **changes})


def test_another_endpoint_never_has_more_requests_at_once_than_the_setting(
    settings: Settings, fake: FakeEngine
) -> None:
    busiest, lock, running = 0, threading.Lock(), 0
    note, reply = fake.note, fake.reply

    def begin(body: dict[str, Any]) -> Mode | None:
        nonlocal busiest, running
        with lock:
            running += 1
            busiest = max(busiest, running)
        return note(body)

    def end(body: dict[str, Any], mode: Mode | None) -> dict[str, Any]:
        nonlocal running
        with lock:
            running -= 1
        return reply(body, mode)

    fake.note, fake.reply, fake.delay = begin, end, 0.02  # type: ignore[method-assign]

    async def many(engine: OpenAIEngine) -> None:
        await asyncio.gather(*(engine.sample(ask(n=4)) for _ in range(4)))

    using(hosted(settings, engine_concurrency=3), many)
    assert 1 < busiest <= 3


def test_where_one_of_several_answers_fails_the_others_are_not_asked_for(settings: Settings, fake: FakeEngine) -> None:
    fake.fault(Mode.REFUSED, match="sky")
    with pytest.raises(PromptRefused):
        sample(hosted(settings, engine_concurrency=1), n=8)
    assert sum(asked["text"] != "Hi" for asked in fake.asked) == 1


def test_a_tool_call_is_an_answer_in_which_the_call_is_text(settings: Settings, fake: FakeEngine) -> None:
    fake.fault(Mode.TOOL_CALL)
    reply = sample(hosted(settings))
    assert {answer.text for answer in reply.answers} == {
        '<tool_call>\n{"name": "weather", "arguments": {"in": "Łódź"}}\n</tool_call>'
    }
    assert {answer.finish_reason for answer in reply.answers} == {"tool_calls"}


@pytest.mark.parametrize("kind", EngineKind)
def test_a_refusal_of_one_prompt_is_the_prompts(settings: Settings, fake: FakeEngine, kind: EngineKind) -> None:
    fake.fault(Mode.REFUSED, match="sky")
    with pytest.raises(PromptRefused, match="top_p must be"):
        sample(settings.model_copy(update={"engine_kind": kind}))


@pytest.mark.parametrize("kind", EngineKind)
def test_settings_that_are_refused_with_every_prompt_are_no_prompts_fault(
    settings: Settings, fake: FakeEngine, kind: EngineKind
) -> None:
    fake.fault(Mode.REFUSED)

    async def four(engine: OpenAIEngine) -> list[Reply | BaseException]:
        asked = ask(sampling={"top_p": 7}, n=1)
        return await asyncio.gather(*(engine.sample(asked) for _ in range(4)), return_exceptions=True)

    errors = using(settings.model_copy(update={"engine_kind": kind}), four)
    assert {type(error) for error in errors} == {EngineAway}
    assert '"top_p": 7' in str(errors[0])
    assert sum(asked["text"] == "Hi" for asked in fake.asked) == 1


def test_unloading_what_is_not_there_is_no_error(settings: Settings, fake: FakeEngine) -> None:
    fake.adapters["policy-r1"] = "/somewhere"

    async def twice(engine: OpenAIEngine) -> None:
        await engine.unload_adapter("policy-r1")
        assert fake.adapters == {}
        await engine.unload_adapter("policy-r1")

    using(settings, twice)


@pytest.mark.parametrize("name", ["../checkpoints/policy-r1", "/etc", ".policy-r1.tmp", "a/b", "", "policy\n"])
def test_a_name_that_could_be_a_path_never_reaches_an_engine(settings: Settings, fake: FakeEngine, name: str) -> None:
    with pytest.raises(EngineReplyError, match="is not the name of an adapter"):
        sample(settings, model=name)
    assert fake.asked == []


def test_an_answer_of_another_model_is_nobodys(
    settings: Settings, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "DELAYS", (0.0,))
    fake.adapters["policy-r1"] = "/somewhere"
    fake.answers_as["policy-r1"] = "base"
    with pytest.raises(ModelMissing, match="answered as 'base' when it was asked for 'policy-r1'"):
        sample(settings, model="policy-r1")

    async def streamed(engine: OpenAIEngine) -> list[str | Reply]:
        return [piece async for piece in engine.stream(ask(model="policy-r1", n=1))]

    with pytest.raises(ModelMissing, match="answered as 'base'"):
        using(settings, streamed)
