"""A policy that was trained elsewhere is added at the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.kernel.settings import get_settings
from tests.factories import make_user
from tests.launcher.conftest import Corral, refused
from tests.registry.making import make_adapter, make_base


def test_bob_adds_an_adapter_and_rita_does_not(
    corral: Corral, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_DATA_DIR", str(tmp_path / "data"))
    get_settings.cache_clear()
    make_base(session, tmp_path / "base")
    bob, rita = make_user(session, Role.ADMIN, "Bob"), make_user(session, Role.REVIEWER, "Rita")
    add = ("checkpoint", "add", str(make_adapter(tmp_path / "theirs")))
    refused(corral(*add, "--name", "a/b", "--by", bob.email), "A name has")
    refused(corral(*add, "--name", "theirs-1", "--by", rita.email), "is no admin")
    said = corral(*add, "--name", "theirs-1", "--by", bob.email)
    assert said.exit_code == 0, said.output
    assert "theirs-1 is checkpoint" in said.output
