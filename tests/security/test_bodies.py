"""What is sent is what it is: nothing of another kind is taken for it, and nothing that nobody reads is let pass."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.prompts.models import Batch
from app.prompts.service import create_upload
from app.site.main import create_app
from tests.factories import make_batch, make_user, sign_in
from tests.security.doors import Door

LOOKED_UP_FIRST = {
    "/uploads/{upload_id}/confirm": {"name": "A batch"},
    "/batches/{batch_id}/guidelines": {"guidelines": "New."},
    "/batches/{batch_id}/settings": {"verify_percent": "5"},
}
"""The forms that need their row to be shown again, with what they take."""
OF_WORK = {"/assignments/{assignment_id}/submit", "/assignments/{assignment_id}/draft"}
"""Their fields are looked at together, once those that they must have are there."""


def bodies() -> list[type[BaseModel]]:
    """The model of every JSON body, with those inside of it; each once."""
    found: dict[type[BaseModel], None] = {}
    for route in create_app().routes:
        if isinstance(route, APIRoute) and route.path.startswith("/api/"):
            for body in route.dependant.body_params:
                for model in models_in(body.field_info.annotation):
                    found[model] = None
    return list(found)


def models_in(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from models_in(field.annotation)
    for inner in typing.get_args(kind):
        yield from models_in(inner)


def mistaken(kind: Any) -> Any:
    """A value in the shape of ``kind`` in which a truth stands for a number, or a number for a truth; else None."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind in (int, float):
        return True
    if kind is bool:
        return 1
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        return next((value for value in map(mistaken, inner) if value is not None), None)
    if origin in (list, tuple) and (value := mistaken(inner[0])) is not None:
        return [value]
    if origin is dict and (value := mistaken(inner[1])) is not None:
        return {"A": value}
    return None


FIELDS = [
    pytest.param(model, field.alias or name, value, id=f"{model.__name__}.{name}")
    for model in bodies()
    for name, field in model.model_fields.items()
    if (value := mistaken(field.annotation)) is not None
]


@pytest.mark.parametrize(("model", "name", "value"), FIELDS)
def test_a_truth_is_no_number_and_a_number_no_truth(model: type[BaseModel], name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refusal:
        TypeAdapter(model).validate_python({name: value})
    assert name in {error["loc"][0] for error in refusal.value.errors() if error["type"] != "extra_forbidden"}


@pytest.mark.parametrize("model", bodies(), ids=lambda model: model.__name__)
def test_a_body_with_a_field_that_is_unknown_is_refused(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError) as refusal:
        TypeAdapter(model).validate_python({"stranger": 1})
    assert ("stranger",) in {error["loc"] for error in refusal.value.errors() if error["type"] == "extra_forbidden"}


def test_a_form_with_a_field_that_is_unknown_is_refused(
    all_doors: list[Door], client: TestClient, session: Session
) -> None:
    """Of every page that takes one, by the name of the field; only a row that is not there may be noticed before."""
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    wrong = []
    for door in all_doors:
        if door.method != "POST" or door.is_api:
            continue
        filled = {"fencing_token": "1", "draft_version": "0", "key": "k" * 8} if door.template in OF_WORK else {}
        answer = door.knock(client, data={**filled, "stranger": "1"})
        refused = answer.status_code == 422 and "stranger" in answer.text
        if not refused and door.template not in LOOKED_UP_FIRST:
            wrong.append((str(door), answer.status_code))
    assert wrong == []


def test_a_form_that_is_read_with_its_row_refuses_one_too(client: TestClient, session: Session) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    sign_in(client, bob)
    batch = make_batch(session)
    upload = create_upload(session, bob, "prompts.jsonl", b'{"prompt": "Hello"}\n')
    session.commit()
    ids = {"batch_id": batch.id, "upload_id": upload.id}
    for template, fields in LOOKED_UP_FIRST.items():
        url = template.format(**ids)
        answer = client.post(url, data={**fields, "stranger": "1"})
        assert answer.status_code == 422, (url, answer.status_code)
    assert session.get_one(Batch, batch.id, populate_existing=True).guidelines != "New."
