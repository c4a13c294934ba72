"""The documentation is a contract: what can be set, typed or visited is written down."""

from __future__ import annotations

import re

import pytest
import typer.main

import app.site.tables  # noqa: F401 - the diagram shows all
from app.commands.cli import app as commands
from app.kernel.db import Base
from app.kernel.settings import ROOT, Settings

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


def test_the_diagram_of_tables_is_the_schema() -> None:
    page = (DOCS / "architecture.md").read_text()
    diagram = page[page.index("flowchart BT") :].partition("```")[0]
    drawn = set(re.findall(r"^  (\w+) --> (\w+)$", diagram, re.MULTILINE))
    rooms = {
        table: room
        for room, tables in re.findall(r"subgraph \w+ \[(\w+)/\]\n(.*?)\n  end", diagram, re.DOTALL)
        for table in tables.split()
    }
    homes = {mapper.local_table.description: mapper.class_.__module__.split(".")[1] for mapper in Base.registry.mappers}
    shown = {name for name in homes if name in rooms}
    arrows = {
        (table.name, key.column.table.name)
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if table.name in shown and key.column.table.name != "users"
    }
    assert drawn == arrows
    assert rooms == {name: homes[name] for name in shown}
    assert sorted(name for name in homes if f"`{name}`" not in page and name not in rooms) == []
