"""Prompts whose tools Corral runs: sampled step by step, kept as one candidate with everything that led to its text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.candidates.models import Candidate
from app.kernel.db import session_scope
from app.kernel.settings import Settings
from app.prompts import documents
from app.prompts.models import Batch, Prompt, PromptState
from app.registry import externals
from app.registry import service as registry
from tests.fake_engine import FakeEngine
from tests.generating import counts, open_batch, serve_base, settings_for
from tests.tools.mcp_server import WEATHER as MCP_WEATHER
from tests.tools.mcp_server import ToolServer
from tests.workers.test_chat import TOOL_USE
from workers import stopping
from workers.tasks.generation import generate
from workers.tools.calculator import Calculator
from workers.tools.documents import Search
from workers.tools.protocol import shown

CALCULATOR, SEARCH = shown(Calculator()), shown(Search({}))
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


@pytest.fixture(autouse=True)
def base_is_served(settings: Settings, tool_use: FakeEngine) -> Any:
    assert tool_use.model is not None
    with session_scope() as session:
        serve_base(session, settings)
    yield
    stopping.clear()


def ask(session: Session, text: str, *tools: dict[str, Any], tests: Any = None) -> Batch:
    batch = open_batch(session, [text], wanted=2)
    prompt = session.scalars(select(Prompt).where(Prompt.batch_id == batch.id)).one()
    prompt.tools, prompt.tests = list(tools), tests
    session.commit()
    return batch


def responses() -> list[Candidate]:
    with session_scope() as session:
        return list(session.scalars(select(Candidate).order_by(Candidate.id)))


def test_a_call_is_run_and_the_model_asked_again_behind_what_came_back(fake: FakeEngine) -> None:
    said = "I calculate.\n" + call("calculator", expression="21*2")
    fake.script = [("Twice 21?", said), ("answers call_1", None)]
    with session_scope() as session:
        ask(session, "Twice 21?", CALCULATOR)
    assert generate() == 1
    for response in responses():
        calling, result = response.steps or []
        assert (calling["content"], calling["said"]) == ("I calculate.", said)
        assert calling["tool_calls"][0]["function"] == {"name": "calculator", "arguments": '{"expression": "21*2"}'}
        assert (result["role"], result["content"], result["tool_call_id"]) == ("tool", "42", "call_1")
        assert response.text.startswith("base ")
        assert response.finish_reason == "stop"
        assert response.completion_tokens > len(said.split()), "those of both turns"
    asked = [str(each["text"]) for each in fake.asked if "answers call_1" in str(each["text"])]
    assert len(asked) == 2
    assert all(said in each and "\n42 answers call_1" in each for each in asked)


def test_a_call_that_fails_is_told_to_the_model(fake: FakeEngine) -> None:
    fake.script = [("Twice?", call("calculator")), ("answers call_1", None)]
    with session_scope() as session:
        ask(session, "Twice?", CALCULATOR)
    assert generate() == 1
    result = (responses()[0].steps or [])[1]
    assert result["failed"] is True
    assert "'expression' is a required property" in result["content"]


@pytest.mark.parametrize(
    ("tools", "tests"),
    [((CALCULATOR, WEATHER), None), ((CALCULATOR,), [{"kind": "tool_calls", "calls": [], "order": "any"}])],
)
def test_calls_that_are_not_run_are_the_answer(fake: FakeEngine, tools: Any, tests: Any) -> None:
    fake.script = [("Twice 21?", call("calculator", expression="21*2"))]
    with session_scope() as session:
        ask(session, "Twice 21?", *tools, tests=tests)
    generate()
    assert {(response.text, response.steps is None) for response in responses()} == {
        (call("calculator", expression="21*2"), True)
    }


def test_where_the_template_shows_no_results_the_call_is_the_answer(fake: FakeEngine) -> None:
    assert fake.model is not None
    closed = "{% for message in messages %}{% if message.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    template = fake.model / "additional_chat_templates" / "tool_use.jinja"
    template.write_text(closed + "{% endfor %}" + TOOL_USE)
    fake.script = [("Twice 21?", call("calculator", expression="21*2"))]
    with session_scope() as session:
        ask(session, "Twice 21?", CALCULATOR)
    generate()
    assert [response.steps for response in responses()] == [None, None]


def test_a_search_waits_for_documents_and_finds_what_is_in_them(fake: FakeEngine) -> None:
    fake.script = [("Who wrote it?", call("search", query="作者")), ("answers call_1", None)]
    with session_scope() as session:
        batch = ask(session, "Who wrote it?", SEARCH)
        open_batch(session, ["What is plain?"], wanted=2)
    assert generate() == 1, "the other prompt is answered"
    with session_scope() as session:
        waiting = session.scalars(select(Prompt).where(Prompt.batch_id == batch.id)).one()
        assert (waiting.state, waiting.last_error) == (PromptState.QUARANTINED, documents.NO_DOCUMENTS)
        again = session.get_one(Batch, batch.id)
        documents.add(session, None, again, "book.txt", "这本书的作者是鲁迅。".encode())
    assert generate() == 1
    found = [response.steps or [] for response in responses() if response.steps]
    assert [steps[1]["content"] for steps in found] == ["[book.txt] 这本书的作者是鲁迅。"] * 2


def test_an_external_model_is_told_in_messages_and_its_ids_are_not_kept(
    settings: Settings, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = call("calculator", expression="21*2")
    with FakeEngine(base="rival-large", script=[("Twice 21?", said), ("42", None)]).running() as rival:
        there = json.dumps({"rival": {"url": rival.url, "key": "key-of-the-rival-x7Qp2LmZ"}})
        settings_for(monkeypatch, settings.engine_url, Path(settings.base_model_path), endpoints=there)
        with session_scope() as session:
            about = {"name": "rival", "endpoint": "rival", "model": "rival-large", "note": ""}
            externals.add_external(session, **about, may_train=False, sampling={})
            for deployment in registry.in_rotation(session):
                registry.mark_loaded(session, deployment.id)
            ask(session, "Twice 21?", CALCULATOR)
        fake.script = [("Twice 21?", said), ("answers call_1", None)]
        assert generate() == 1, counts()
    last = rival.asked[-1]["messages"]
    assert [message["role"] for message in last] == ["user", "assistant", "tool"]
    assert "said" not in last[1]
    assert last[1]["tool_calls"][0]["id"] == last[2]["tool_call_id"] == "call_1"
    assert all(response.steps for response in responses())


def test_a_tool_of_a_server_is_called_there_and_its_failure_is_told_to_the_model(
    settings: Settings, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = {"type": "function", "function": {"name": "demo__weather", "parameters": MCP_WEATHER["inputSchema"]}}
    fake.script = [("Rain?", call("demo__weather", city="Bergen")), ("answers call_1", None)]
    with ToolServer().running() as server:
        there = json.dumps({"demo": {"url": server.url}})
        settings_for(monkeypatch, settings.engine_url, Path(settings.base_model_path), tool_servers=there)
        with session_scope() as session:
            ask(session, "Rain?", declared, CALCULATOR)
        assert generate() == 1, counts()
        assert server.methods.count("initialize") == 1, "one session for both responses"
        assert [(response.steps or [])[1]["content"] for response in responses()] == ["Rain in Bergen."] * 2
        server.raw = (200, "text/html", b"<html>Sign in</html>")
        fake.script = [("Snow?", call("demo__weather", city="Bergen")), ("answers call_1", None)]
        with session_scope() as session:
            ask(session, "Snow?", declared)
        assert generate() == 1, counts()
    result = (responses()[-1].steps or [])[1]
    assert result["content"] == "Error: demo answered with a web page (HTTP 200)"
    assert result["failed"] is True


@pytest.mark.parametrize("refuses", ["", "structured_outputs"])
def test_an_engine_may_be_held_to_calls_that_can_be_read_and_is_asked_without_where_it_refuses(
    settings: Settings, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch, refuses: str
) -> None:
    assert fake.model is not None
    template = fake.model / "additional_chat_templates" / "tool_use.jinja"
    template.write_text(TOOL_USE + "{# calls are written in <tool_call> #}")
    fake.refuses = refuses
    settings_for(monkeypatch, settings.engine_url, Path(settings.base_model_path), engine_constrains_calls=True)
    fake.script = [("Twice 21?", call("calculator", expression="21*2")), ("answers call_1", None)]
    with session_scope() as session:
        ask(session, "Twice 21?", CALCULATOR)
        open_batch(session, ["What is plain?"], wanted=2)
    assert generate() == 2, counts()
    asked = [each for each in fake.asked if "Twice 21?" in each["text"]]
    held = [each for each in asked if "structured_outputs" in each]
    if refuses:
        assert not any("answers call_1" in each["text"] for each in held), "the same tools are not tried again"
    else:
        assert held == asked, "first turns and those behind what a tool answered"
        tag = json.loads(held[0]["structured_outputs"]["structural_tag"])["format"]
        assert (tag["type"], tag["triggers"]) == ("triggered_tags", ["<tool_call>"])
        assert tag["tags"][0]["begin"] == '<tool_call>\n{"name": "calculator", "arguments": '
        assert tag["tags"][0]["content"]["json_schema"]["required"] == ["expression"]
    found = {bool(response.steps): response.sampling for response in responses()}
    assert found[True]["constrained_calls"] is not bool(refuses)
    assert "constrained_calls" not in found[False], "without tools there is nothing to hold it to"
    assert not any("structured_outputs" in sampling for sampling in found.values())


def test_nothing_is_held_to_calls_unless_the_operator_says_so(fake: FakeEngine) -> None:
    with session_scope() as session:
        ask(session, "Twice 21?", CALCULATOR)
    generate()
    assert not any("structured_outputs" in each for each in fake.asked)
