"""Several engines behind one address, or at addresses of their own: who is asked, who is ready, and what one that ends costs."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from app.candidates.models import Candidate
from app.kernel.db import session_scope
from app.kernel.settings import EngineKind, Settings, get_settings
from app.prompts.models import Prompt
from app.registry import service as registry
from app.registry.models import Checkpoint, EngineState, LoadState
from app.registry.queries import engine_view, engines_view
from tests import generating
from tests.fake_engine import FakeEngine
from tests.generating import assert_nothing_lost_or_doubled, batch_of, counts, register_policy, settings_for
from tests.patience import PATIENCE, eventually
from tests.round_robin import RoundRobin
from workers.engines import addresses, wire
from workers.engines.openai import OpenAIEngine
from workers.engines.protocol import Ask, EngineAway, Reply
from workers.tasks.generation import generate
from workers.tasks.serving import reconcile_serving

LAGS = "policy-r1"
"""The adapter that one engine does not serve, in tests of that."""


@pytest.fixture
def other(fake: FakeEngine, settings: Settings) -> Iterator[FakeEngine]:
    """A second engine with the same model and the same folder of adapters."""
    with FakeEngine(model=fake.model, resolves=settings.served_dir).running() as engine:
        yield engine


@pytest.fixture
def balanced(
    fake: FakeEngine, other: FakeEngine, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> Iterator[RoundRobin]:
    """Requests go through one address, probes to each."""
    with RoundRobin((fake.port, other.port)).running() as proxy:
        urls = f"{fake.url},{other.url}"
        settings_for(monkeypatch, proxy.url, Path(settings.base_model_path), engine_urls=urls)
        yield proxy


@pytest.fixture
def spread(
    fake: FakeEngine, other: FakeEngine, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> Iterator[Settings]:
    """No load balancer: the two addresses are all there is."""
    monkeypatch.delenv("CORRAL_ENGINE_URL")
    monkeypatch.setenv("CORRAL_ENGINE_URLS", f"{fake.url},{other.url}")
    get_settings.cache_clear()
    yield get_settings()
    monkeypatch.undo()
    get_settings.cache_clear()


def serve_policy(folder: Path) -> None:
    """The base and a champion, asked for once."""
    with session_scope() as session:
        registry.ensure_base(session, get_settings().base_model_path)
        generating.promote(session, register_policy(session, folder))
    reconcile_serving()


def sampled() -> set[str]:
    with session_scope() as session:
        return {deployment.checkpoint.name for deployment in registry.rotation(session)}


def written_by() -> Counter[str]:
    """How many candidates the rows say each model wrote; the fake engine begins a text with the name it was asked by."""
    with session_scope() as session:
        rows = session.execute(select(Candidate.text, Checkpoint.kind).join(Checkpoint)).all()
    for text, kind in rows:
        assert text.startswith(LAGS if kind == "policy" else "base"), (text, kind)
    return Counter(str(kind) for _, kind in rows)


def states() -> dict[str, EngineState]:
    with session_scope() as session:
        return {each.place: each.state for each in engines_view(session, get_settings().engine_url)}


def ask(model: str | None = None) -> Ask:
    question = [{"role": "user", "content": "Why is the sky blue?"}]
    return Ask(question, None, model, 1, 20, {"temperature": 0.5})


def test_an_adapter_is_loaded_only_when_every_engine_that_is_there_answers_as_it(
    balanced: RoundRobin, fake: FakeEngine, other: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "DELAYS", (0.0,))
    other.resolves = None
    serve_policy(tmp_path / LAGS)
    assert list(fake.adapters) == [LAGS]
    assert sampled() == {"tiny-base"}
    with session_scope() as session:
        states_of = {each.checkpoint.name: each for each in registry.in_rotation(session)}
        refused = states_of[LAGS]
        assert refused.load_state is LoadState.FAILED
        assert f"127.0.0.1:{other.port} does not serve it" in (refused.load_error or "")
    other.resolves = fake.resolves
    reconcile_serving()
    assert sampled() == {"tiny-base", LAGS}
    assert list(other.adapters) == [LAGS]


def test_every_second_answer_is_a_404_and_no_prompt_is_lost(
    balanced: RoundRobin, fake: FakeEngine, other: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_policy(tmp_path / LAGS)
    other.adapters.clear()
    other.resolves = None
    monkeypatch.setattr(wire, "DELAYS", (0.0,) * 12)  # so that chance never leads one there each time
    batch_of(20)
    assert generate() == 20, counts()
    assert written_by() == {"base": 40, "policy": 40}
    assert_nothing_lost_or_doubled()


def test_a_name_that_is_not_served_is_asked_for_on_a_new_connection(
    balanced: RoundRobin, fake: FakeEngine, other: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_policy(tmp_path / LAGS)
    other.adapters.clear()
    other.resolves = None
    monkeypatch.setattr(wire, "DELAYS", (0.0,))
    made = []

    async def once() -> None:
        engine = OpenAIEngine(get_settings())
        try:
            await engine.describe()
            made.append(await engine.sample(ask(LAGS)))
        finally:
            await engine.aclose()

    with RoundRobin((other.port, fake.port)).running() as proxy:
        settings_for(monkeypatch, proxy.url, Path(get_settings().base_model_path))
        asyncio.run(once())
        assert len(made) == 1
        assert proxy.led == [other.port, fake.port], "the first one was kept, and led to who does not serve it"


def test_an_engine_that_answers_as_the_base_is_not_believed(
    balanced: RoundRobin, other: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_policy(tmp_path / LAGS)
    other.answers_as[LAGS] = "base"
    monkeypatch.setattr(wire, "DELAYS", (0.0,) * 12)
    batch_of(6)
    assert generate() == 6, counts()
    assert written_by() == {"base": 12, "policy": 12}
    assert_nothing_lost_or_doubled()


@pytest.mark.parametrize("way", ["balanced", "spread"])
def test_one_of_two_engines_ends_and_each_prompt_is_answered_once(
    way: str, request: pytest.FixtureRequest, fake: FakeEngine, other: FakeEngine, tmp_path: Path
) -> None:
    request.getfixturevalue(way)
    serve_policy(tmp_path / LAGS)
    assert sampled() == {"tiny-base", LAGS}
    batch_of(40)
    fake.delay = other.delay = 0.02
    other.dies_after = 10
    eventually(lambda: generate() >= 0 and counts().get("ready") == 40, PATIENCE, "all prompts answered")
    assert not other.alive
    assert written_by() == {"base": 80, "policy": 80}
    assert_nothing_lost_or_doubled()
    with session_scope() as session:
        tried = session.execute(select(Prompt.attempts)).scalars().all()
    assert set(tried) == {0}, "it was no prompt's fault"
    reconcile_serving()
    assert states()[f"127.0.0.1:{other.port}"] is EngineState.AWAY
    assert sampled() == {"tiny-base", LAGS}, "the other one answers"
    with session_scope() as session:
        assert engine_view(session, get_settings().engine_url).ready


def test_requests_are_spread_over_the_addresses_that_are_listed(
    spread: Settings, fake: FakeEngine, other: FakeEngine
) -> None:
    async def six() -> list[Reply]:
        engine = OpenAIEngine(spread)
        try:
            return [await engine.sample(ask()) for _ in range(6)]
        finally:
            await engine.aclose()

    asyncio.run(six())
    assert len(fake.prompts_asked()) == len(other.prompts_asked()) == 3


def test_nobody_is_there_only_when_no_address_answers(spread: Settings, fake: FakeEngine, other: FakeEngine) -> None:
    async def one() -> Reply:
        engine = OpenAIEngine(spread)
        try:
            return await engine.sample(ask())
        finally:
            await engine.aclose()

    fake.stop()
    assert asyncio.run(one()).answers
    other.stop()
    with pytest.raises(EngineAway, match="does not accept connections"):
        asyncio.run(one())
    reconcile_serving()
    assert set(states().values()) == {EngineState.STARTING}


def test_engines_with_different_models_are_none(
    balanced: RoundRobin, fake: FakeEngine, other: FakeEngine, tmp_path: Path
) -> None:
    serve_policy(tmp_path / LAGS)
    other.model = tmp_path / "another-base"
    reconcile_serving()
    with session_scope() as session:
        view = engine_view(session, get_settings().engine_url)
    assert view.state is EngineState.AWAY
    assert "serve different models" in (view.error or "")


def test_what_was_found_of_engines_that_are_none_any_more_is_forgotten(settings: Settings) -> None:
    with session_scope() as session:
        registry.note_engine(session, "http://127.0.0.1:2/v1", EngineState.READY, version="vllm 0")
    reconcile_serving()
    assert states() == {}


def resolving(monkeypatch: pytest.MonkeyPatch, *hosts: tuple[int, str]) -> None:
    """What every name leads to, by family."""

    async def getaddrinfo(_loop: object, host: str, port: int, **_: object) -> list[object]:
        if not hosts:
            raise socket.gaierror(f"no such host as {host}")
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in hosts]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", getaddrinfo)


FOUR, SIX = int(socket.AF_INET), int(socket.AF_INET6)


@pytest.mark.parametrize(
    ("url", "hosts", "found"),
    [
        ("http://engine:8000/v1", [(FOUR, "10.0.0.3"), (FOUR, "10.0.0.2")], ["10.0.0.2", "10.0.0.3"]),
        ("http://engine:8000/v1", [(FOUR, "10.0.0.2")], ["engine"]),
        ("http://localhost:8000/v1", [(SIX, "::1"), (FOUR, "127.0.0.1")], ["localhost"]),
        ("http://engine:8000/v1", [(SIX, "fd00::2"), (SIX, "fd00::1")], ["[fd00::1]", "[fd00::2]"]),
        ("https://engine:8000/v1", [(FOUR, "10.0.0.3"), (FOUR, "10.0.0.2")], ["engine"]),
        ("http://10.0.0.9:8000/v1", [(FOUR, "10.0.0.3"), (FOUR, "10.0.0.2")], ["10.0.0.9"]),
        ("http://engine:8000/v1", [], ["engine"]),
    ],
)
def test_all_addresses_of_a_name_are_engines(
    monkeypatch: pytest.MonkeyPatch, url: str, hosts: list[tuple[int, str]], found: list[str]
) -> None:
    resolving(monkeypatch, *hosts)
    scheme = url.partition(":")[0]
    expected = [f"{scheme}://{host}:8000/v1" for host in found]
    settings = Settings(engine_url=url)
    assert asyncio.run(addresses.engines(settings)) == expected
    assert asyncio.run(addresses.routes(settings)) == expected


def test_other_endpoints_are_asked_by_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, (FOUR, "10.0.0.3"), (FOUR, "10.0.0.2"))
    settings = Settings(engine_url="http://models.example/v1", engine_kind=EngineKind.OPENAI, engine_urls="http://a/v1")
    assert asyncio.run(addresses.engines(settings)) == ["http://models.example/v1"]


def test_a_path_before_v1_is_that_of_the_address() -> None:
    seen: list[tuple[str, str]] = []

    async def look() -> None:
        async def both() -> list[str]:
            return ["http://127.0.0.1:9/two/v1"]

        spread = addresses.Spread("http://engine:8000/one/v1/", both, 2)
        for path in ("/one/v1/completions", "/one/version"):
            request = httpx.Request("GET", f"http://engine:8000{path}")
            sent = spread._directed(request, "http://127.0.0.1:9/two/v1")
            seen.append((str(sent.url), sent.headers["host"]))
        await spread.aclose()

    asyncio.run(look())
    assert seen == [
        ("http://127.0.0.1:9/two/v1/completions", "engine:8000"),
        ("http://127.0.0.1:9/two/version", "engine:8000"),
    ]
