"""What the chat template in service leaves out of a prompt is said where the file is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.kernel.settings import get_settings
from app.prompts import service
from app.prompts.models import Batch, Prompt
from app.upkeep.doctor import look_at_chat_template
from tests.fake_engine import write_tiny_model
from tests.prompts.pages import jsonl, upload
from tests.prompts.test_api import headers, post
from training.base_model import FOR_TOOLS
from training.formats.templates import TOOL_USE

TOOLS = [{"type": "function", "function": {"name": "look", "description": "Look something up."}}]
PLAIN = {"prompt": "Why is the sky blue?"}
WITH_TOOLS = [{"prompt": f"Look up {number}.", "tools": TOOLS} for number in range(7)]
NO_SYSTEM = """\
{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{{ m.content }}{% endfor %}"""
SHOWS_MESSAGES = "{% for m in messages %}{{ m.content }}{% endfor %}"
SHOWS_TOOLS = "{{ tools | tojson }}" + SHOWS_MESSAGES
NO_TOOLS = "the model's chat template shows no tools"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets what is served by the environment variables of the settings."""

    def set_to(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"CORRAL_{name.upper()}", value)
        get_settings.cache_clear()

    yield set_to
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture
def model(tmp_path: Path, serve: Callable[..., None]) -> Path:
    """The model in service; its template is ChatML, without tools."""
    folder = write_tiny_model(tmp_path / "small-chat")
    serve(base_model=str(folder))
    return folder


@pytest.fixture
def admin(session: Session) -> dict[str, str]:
    return headers(session, Role.ADMIN, ["admin"])


def unseen(
    client: TestClient, admin: dict[str, str], *records: dict[str, Any], name: str = "Questions"
) -> list[dict[str, Any]]:
    answer = post(client, admin, jsonl(*records), name=name)
    assert answer.status_code == 201, answer.text
    found: list[dict[str, Any]] = answer.json()["unseen"]
    return found


def test_bob_reads_before_and_after_the_import_that_prompts_with_tools_get_no_response(
    client: TestClient, session: Session, bob: User, model: Path
) -> None:
    page = upload(client, jsonl(PLAIN, *WITH_TOOLS))
    said = f"7 prompts (lines 2, 3, 4, 5, 6 and 2 more) get no response: {NO_TOOLS}"
    assert said in unescape(client.get(page).text)

    client.post(f"{page}/confirm", data={"name": "Questions"})

    batch = session.scalars(select(Batch)).one()
    assert said in unescape(client.get(f"/batches/{batch.id}").text)
    first, second = session.scalars(select(Prompt).order_by(Prompt.id).limit(2))
    assert "gets no response" not in client.get(f"/prompts/{first.id}").text
    assert f"This prompt gets no response: {NO_TOOLS}" in unescape(client.get(f"/prompts/{second.id}").text)


def test_a_script_learns_it_in_the_answer(client: TestClient, admin: dict[str, str], model: Path) -> None:
    (entry,) = unseen(client, admin, PLAIN, *WITH_TOOLS)
    assert (entry["part"], entry["prompts"], entry["lines"]) == ("refused", 7, [2, 3, 4, 5, 6])
    assert entry["reason"].startswith("7 prompts (lines 2, 3, 4, 5, 6 and 2 more) get no response")


def test_tools_of_which_only_the_names_are_shown_reach_the_model_in_part(
    client: TestClient, admin: dict[str, str], model: Path
) -> None:
    (model / TOOL_USE).parent.mkdir()
    (model / TOOL_USE).write_text("{% for t in tools or [] %}{{ t.function.name }}{% endfor %}" + SHOWS_MESSAGES)
    (entry,) = unseen(client, admin, PLAIN, *WITH_TOOLS)
    assert entry["part"] == "tools"
    said = "7 prompts (lines 2, 3, 4, 5, 6 and 2 more) reach the model without their tools"
    assert entry["reason"].startswith(f"{said}, which the chat template of small-chat leaves out.")


def test_a_template_that_shows_everything_is_not_complained_of(
    client: TestClient, admin: dict[str, str], model: Path
) -> None:
    (model / TOOL_USE).parent.mkdir()
    (model / TOOL_USE).write_text(SHOWS_TOOLS)
    assert unseen(client, admin, PLAIN, *WITH_TOOLS) == []


def test_the_bundled_models_template_for_tools_shows_all_of_the_sample(model: Path) -> None:
    (said,) = service.unseen_in_sample()
    assert said.startswith("7 prompts (lines ")
    (model / TOOL_USE).parent.mkdir()
    (model / TOOL_USE).write_text(FOR_TOOLS.read_text())
    assert service.unseen_in_sample() == []


def test_prompts_that_the_template_refuses_are_announced(
    client: TestClient, admin: dict[str, str], model: Path
) -> None:
    (model / "chat_template.jinja").write_text(NO_SYSTEM)
    (entry,) = unseen(client, admin, PLAIN, {"prompt": "Hi", "system": "Be terse."})
    assert (entry["part"], entry["lines"]) == ("refused", [2])
    assert entry["reason"].startswith("1 prompt (line 2) gets no response: the model's chat template refuses")
    assert "System role not supported" in entry["reason"]


def test_calls_of_tools_and_names_are_told_apart(client: TestClient, admin: dict[str, str], model: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    asked = [
        {"role": "user", "content": "Look it up.", "name": "ada"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
        {"role": "user", "content": "And?", "name": "ada"},
    ]
    assert {entry["part"] for entry in unseen(client, admin, {"messages": asked})} == {"names", "tool_calls"}


def test_a_model_of_the_hub_is_read_where_the_worker_has_put_it_and_never_downloaded(
    client: TestClient,
    admin: dict[str, str],
    tmp_path: Path,
    serve: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    serve(base_model="zoo/small-chat")
    assert unseen(client, admin, *WITH_TOOLS) == [], "nothing is known of it yet"
    cached = tmp_path / "models--zoo--small-chat"
    write_tiny_model(cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    (entry,) = unseen(client, admin, *WITH_TOOLS, name="Again")
    assert NO_TOOLS in entry["reason"]


@pytest.mark.parametrize("state", ["another engine", "no model yet", "broken template"])
def test_where_nobody_can_know_nothing_is_said(
    client: TestClient, admin: dict[str, str], model: Path, serve: Callable[..., None], state: str
) -> None:
    if state == "another engine":
        serve(engine_kind="openai")
    elif state == "no model yet":
        serve(base_model=str(model / "elsewhere"))
    else:
        (model / "chat_template.jinja").write_text("{% for %}")
    assert unseen(client, admin, *WITH_TOOLS) == []


def test_the_doctor_names_what_the_model_never_sees(model: Path) -> None:
    (finding,) = look_at_chat_template(get_settings(), None)
    assert finding.found == "small-chat: prompts reach the model without tools, tool calls"
