"""A deployment refuses to start with secrets that are none, and says which, without repeating them."""

from __future__ import annotations

import secrets

import pytest
from pydantic import SecretStr, ValidationError

from app.kernel.settings import Settings
from app.kernel.weak_secrets import weakness


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "short",
        "changeme",
        "changeme-changeme-changeme",
        "postgres_password",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "corral-secret-admin-1",
    ],
)
def test_a_weak_secret_is_refused(secret: str) -> None:
    assert weakness(secret) is not None


def test_what_make_secrets_writes_is_accepted() -> None:
    assert all(weakness(secrets.token_urlsafe(32)) is None for _ in range(200))


def test_a_deployment_names_every_weak_secret_and_the_remedy() -> None:
    good = secrets.token_urlsafe(32)
    with pytest.raises(ValidationError) as refusal:
        Settings(
            refuse_weak_secrets=True,
            database_url="postgresql://corral:changeme@db/corral",
            broker_url=f"redis://:{good}@broker/0",
            engine_api_key=SecretStr(""),
        )
    said = str(refusal.value)
    assert "DATABASE_URL" in said
    assert "CORRAL_ENGINE_API_KEY is empty" in said
    assert "BROKER_URL" not in said
    assert "make secrets" in said


def test_a_refusal_does_not_repeat_the_secret() -> None:
    with pytest.raises(ValidationError) as refusal:
        Settings(refuse_weak_secrets=True, database_url="postgresql://corral:hunter2@db/corral", broker_url="")
    assert "hunter2" not in str(refusal.value)


def test_a_laptop_needs_no_secrets() -> None:
    assert Settings(refuse_weak_secrets=False).refuse_weak_secrets is False
