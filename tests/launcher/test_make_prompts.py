"""Prompts are ordered at the command line, as on the page."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.synthesis.models import Synthesis
from tests.factories import current_round, make_user
from tests.launcher.conftest import Corral, refused


def test_bob_orders_prompts_of_a_folder(corral: Corral, session: Session, tmp_path: Path) -> None:
    current_round(session)
    bob, rita = make_user(session, Role.ADMIN, "Bob"), make_user(session, Role.REVIEWER, "Rita")
    files = {"pkg/core.py": "X = 1", "pkg/a.py": "from pkg.core import X", ".git/config": "[core]", "logo.png": "\0"}
    for name, written in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(written)
    order = ("make-prompts", "repository", "--name", "Files", "--from", str(tmp_path), "--by")
    refused(corral(*order, rita.email), "is no admin")
    refused(corral("make-prompts", "nonsense", "--name", "Files", "--by", bob.email), "No generator is called")
    refused(corral("make-prompts", "arithmetic", "--name", "", "--by", bob.email), "settings.name")
    refused(
        corral("make-prompts", "repository", "--name", "F", "--from", str(tmp_path / "no"), "--by", bob.email),
        "cannot be read",
    )
    said = corral(*order, bob.email)
    assert said.exit_code == 0, said.output
    synthesis = session.scalars(select(Synthesis)).one()
    assert f"/syntheses/{synthesis.id}" in said.output
    assert [each["name"] for each in synthesis.material] == ["pkg/a.py", "pkg/core.py"]
