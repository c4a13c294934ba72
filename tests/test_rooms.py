"""No room reads a table of a room above it: not by import, which the import contract refuses, nor by its name."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import app.site.tables  # noqa: F401 - so that every table has its model
from app.kernel.db import Base
from app.kernel.settings import ROOT

READ_BOTH_WAYS = {"commands", "site", "upkeep", "lineage"}
ALLOWED = {
    # one statement leases prompts and counts comparisons: read apart, two workers would both find room (decision 0051)
    ("app/candidates/service.py", "choices_awaited"),
    ("app/candidates/service.py", "comparisons"),
}
TABLE = re.compile(r"\b(?:FROM|JOIN|UPDATE|INTO)\s+([a-z_]+)")


def rooms() -> list[set[str]]:
    """The layers of the house, from the top down."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (house,) = (contract for contract in contracts if contract["id"] == "house")
    return [set(layer.replace("|", " ").split()) for layer in house["layers"]]


def read_upward(file: str, source: str) -> Iterator[str]:
    """Tables of rooms beside or above its own that SQL text of ``file`` names; and every look-up of a table by name."""
    layers = rooms()
    place = {room: index for index, layer in enumerate(layers) for room in layer}
    homes = {mapper.local_table.name: mapper.class_.__module__.split(".")[1] for mapper in Base.registry.mappers}  # type: ignore[attr-defined]
    room = file.split("/")[1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr == "tables" and ast.unparse(node.value).endswith("metadata"):
            yield "metadata.tables"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for table in TABLE.findall(node.value):
                home = homes.get(table, room)
                if home != room and place[home] <= place[room]:
                    yield table


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('text("SELECT 1 FROM prompts JOIN annotations a ON true")', ["annotations"]),
        ('text("SELECT 1 FROM prompts JOIN users ON true")', []),
        ('Base.metadata.tables["annotations"]', ["metadata.tables"]),
    ],
)
def test_an_arrow_upward_that_is_a_text_is_seen(source: str, found: list[str]) -> None:
    assert list(read_upward("app/prompts/queries.py", source)) == found


def test_no_room_reads_a_table_of_a_room_above() -> None:
    files = [path.relative_to(ROOT) for path in Path(ROOT, "app").rglob("*.py")]
    inside = [path for path in files if len(path.parts) > 2 and path.parts[1] not in READ_BOTH_WAYS]
    found = {(str(path), table) for path in inside for table in read_upward(str(path), Path(ROOT, path).read_text())}
    assert found == ALLOWED
