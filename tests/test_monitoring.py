"""What is documented, alerted and drawn is what ``/metrics`` exposes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.kernel.settings import ROOT
from tests.factories import make_user, sign_in

PAGE = ROOT / "docs" / "monitoring.md"
RULES = ROOT / "docs" / "monitoring" / "alerts.yml"
BOARD = ROOT / "docs" / "monitoring" / "grafana.json"


@pytest.fixture
def exposed(client: TestClient, session: Session) -> dict[str, set[str]]:
    """Metric → the names of its samples."""
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    client.get("/healthz")  # a request to count
    families = text_string_to_metric_families(client.get("/metrics").text)
    counted = {family.name: {sample.name for sample in family.samples} for family in families}
    return {name: samples for name, samples in counted.items() if not name.endswith("_created")}  # the library's own


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def queries() -> Iterator[str]:
    """Of rules and board."""
    yield from (rule["expr"] for rule in rules())
    panels = json.loads(BOARD.read_text())["panels"]
    yield from (target["expr"] for panel in panels for target in panel["targets"])


def test_the_table_of_metrics_is_what_is_exposed(exposed: dict[str, set[str]]) -> None:
    documented = re.findall(r"^\| `(corral_\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(exposed)


def test_every_query_asks_for_what_is_exposed(exposed: dict[str, set[str]]) -> None:
    samples = set().union(*exposed.values())
    asked = {name for query in queries() for name in re.findall(r"\bcorral_\w+", query)}
    assert asked - samples == set()
    looked_at = {re.sub("_(bucket|count|sum)$", "", name) for name in asked}
    assert set(exposed) - looked_at == set()


def test_queries_are_whole() -> None:
    for query in queries():
        assert query.count("(") == query.count(")")
        assert query.count("{") == query.count("}")


def test_every_alert_has_its_line() -> None:
    named = [rule["alert"] for rule in rules()]
    assert re.findall(r"^\| `(Corral\w+)` \|", PAGE.read_text(), re.MULTILINE) == named
    assert {rule["labels"]["severity"] for rule in rules()} == {"page", "ticket"}


def test_the_board_can_be_imported() -> None:
    board = json.loads(BOARD.read_text())
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {"${datasource}"}
    assert [each["name"] for each in board["templating"]["list"]] == ["datasource"]


def test_a_route_of_a_rule_exists(client: TestClient) -> None:
    paths = {getattr(route, "path", "") for route in client.app.routes}  # type: ignore[attr-defined]
    named = [found for query in queries() for found in re.findall(r'route=~"([^"]+)"', query)]
    assert named
    for pattern in named:
        for choice in pattern.split("|"):
            assert [path for path in paths if re.fullmatch(choice, path)]
