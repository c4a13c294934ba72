"""The notebook runs from its first cell to its last, against a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from app.accounts import service
from app.accounts.models import Role
from app.kernel.db import session_scope
from app.kernel.settings import ROOT
from tests.factories import current_round, make_user

NOTEBOOK = ROOT / "docs" / "client.ipynb"


def test_every_cell_of_the_notebook_runs(
    server: str, committed: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with session_scope() as session:
        current_round(session)
        bob = make_user(session, Role.ADMIN, "Bob")
        token = service.create_token(session, bob, "notebook", service.allowed_scopes(bob))
    monkeypatch.setenv("CORRAL_URL", server)
    monkeypatch.setenv("CORRAL_TOKEN", token)
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    known: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "outputs stay on whose machine they were made"
            exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), known)
    known["corral"].close()
    assert known["judged"] == 5
    assert known["preferences"] == [("terse-1", 3)] * 5
    assert (tmp_path / "preferences.trl.jsonl").stat().st_size > 0
    assert "line 2" in capsys.readouterr().out
