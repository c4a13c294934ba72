"""The documentation is a contract: what can be set, typed or visited is written down."""

from __future__ import annotations

import re

import pytest
import typer.main

from app.cli import app as commands
from app.settings import ROOT, Settings

DOCS = ROOT / "docs"


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_documented_by_its_variable(field: str) -> None:
    variable = {"database_url": "DATABASE_URL", "broker_url": "BROKER_URL"}.get(field, f"CORRAL_{field.upper()}")
    assert f"`{variable}`" in (DOCS / "settings.md").read_text()


def command_names() -> list[str]:
    root = typer.main.get_command(commands)
    names = []
    for name, command in getattr(root, "commands", {}).items():
        inner = getattr(command, "commands", None)
        names += [f"{name} {sub}" for sub in inner] if inner else [name]
    return names


@pytest.mark.parametrize("name", command_names())
def test_every_command_is_documented(name: str) -> None:
    assert f"`corral {name}`" in (DOCS / "commands.md").read_text()


def test_every_link_between_our_pages_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_decision_is_in_the_index() -> None:
    index = (DOCS / "decisions" / "README.md").read_text()
    written = {page.name for page in (DOCS / "decisions").glob("[0-9]*.md")}
    assert written == set(re.findall(r"\((\d{4}-[\w-]+\.md)\)", index))
