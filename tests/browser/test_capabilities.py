"""Alice judges one item of each capability; what checks found of it comes from the real queue, worker and sandbox.

Only the engine is a fake: it gives each prompt of the sample a right answer and its twin with one thing wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import func, select

from app.accounts.models import Role
from app.candidates.models import Candidate
from app.comparisons.models import Assignment, Comparison
from app.findings.models import Check, CheckState
from app.kernel import jobs
from app.kernel.jobs import Queue
from app.kernel.settings import get_settings
from app.prompts.models import Prompt
from app.prompts.service import SAMPLE_FILE
from app.upkeep.audit import audit
from tests.browser.conftest import Site
from tests.browser.items import item_of, wait_for_next
from tests.browser.uploading import upload_batch
from tests.factories import current_round, make_user
from tests.fake_engine import FakeEngine
from tests.faults.rig import Rig, eventually
from tests.generating import serve_base, settings_for, tiny_engine
from tests.verifiers.coding import here
from tests.verifiers.twins import TWINS

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

FAILING = {
    "coding-second-largest": "code_tests",
    "coding-sql-top-customers": "code_tests",
    "coding-bash-rename": "code_tests",
    "coding-js-chunk": "code_tests",
    "maths-train-tickets": "answer",
    "maths-jam-jars": "steps",
    "multilingual-de-fahrplan": "language",
    "factual-salt-ice": "span",
    "steerable-json-only": "instructions",
    "tool-use-weather": "tool_calls",
    "long-context-harvest-cooperative": "instructions",
}
"""Prompts of the sample, by the check that the wrong twin of each fails."""
MISJUDGED = "maths-jam-jars"
"""Where Alice prefers the wrong twin."""


@pytest.fixture(scope="module")
def records() -> dict[str, dict[str, Any]]:
    rows = map(json.loads, SAMPLE_FILE.read_text(encoding="utf-8").splitlines())
    return {row["id"]: row for row in rows if row["id"] in FAILING}


@pytest.fixture
def scripted(records: dict[str, dict[str, Any]], tmp_path: Path) -> FakeEngine:
    """It answers each prompt with its twins, and takes long ones although it counts a token a byte."""
    engine = tiny_engine(tmp_path)
    assert engine.model is not None
    template = engine.model / "chat_template.jinja"
    template.write_text("{% if tools %}{{ tools | tojson }}\n{% endif %}" + template.read_text())
    engine.context = 1 << 16
    engine.answers = {records[name]["prompt"]: TWINS[name] for name in FAILING}
    return engine


@pytest.fixture
def rig(site: Site, scripted: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A broker, and the workers that generate and check; the site rings for both itself."""
    here()
    assert scripted.model is not None
    with scripted.running():
        settings = settings_for(monkeypatch, scripted.url, scripted.model)
        current_round(site.session)
        serve_base(site.session, settings)
        rig = Rig(scripted, tmp_path, {"CORRAL_ENGINE_URL": scripted.url, "CORRAL_BASE_MODEL": str(scripted.model)})
        try:
            rig.start_broker()
            monkeypatch.setenv("BROKER_URL", rig.broker.url)
            get_settings.cache_clear()
            jobs.producer.cache_clear()
            for queue in (Queue.GENERATION, Queue.CHECKS):
                rig.start_worker(queue)
            yield rig
        finally:
            rig.stop()
            for name, said in rig.logs():
                print(f"── {name}\n{said}")  # noqa: T201 - pytest shows it when the test failed
            monkeypatch.undo()
            get_settings.cache_clear()
            jobs.producer.cache_clear()


def test_one_item_of_each_capability_is_judged_and_its_wrong_twin_fails(
    site: Site, rig: Rig, records: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "capabilities.jsonl"
    file.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records.values()), "utf-8")
    bob, alice = make_user(site.session, Role.ADMIN, "Bob"), make_user(site.session)
    site.session.commit()
    admin = site.context(bob).new_page()
    upload_batch(admin, site.url, file, "Capabilities")
    eventually(lambda: checked(site) == 2 * len(FAILING), "all responses are checked")

    page = site.context(alice).new_page()
    page.goto(f"{site.url}/annotate")
    page.get_by_role("button", name="Start").first.click()
    page.wait_for_load_state("networkidle")
    judged = [judge(site, page) for _ in FAILING]
    assert sorted(name for _, name, _ in judged) == sorted(FAILING)
    for item, name, right in judged:
        page.goto(f"{site.url}/assignments/{item}")
        assert_told_apart(page, name, right)
    admin.goto(f"{site.url}/checks")
    table = admin.get_by_role("table")
    for verifier in {*FAILING.values(), "static"}:
        expect(table.get_by_role("rowheader", name=verifier, exact=True).first).to_be_visible()
    conflict = admin.get_by_role("listitem").filter(has=admin.get_by_role("link", name=MISJUDGED, exact=True))
    expect(conflict).to_contain_text(FAILING[MISJUDGED])
    site.session.rollback()
    assert list(audit(site.session, files=False)) == []


def checked(site: Site) -> int:
    """How many responses have been checked."""
    site.session.rollback()
    return site.session.scalar(select(func.count()).where(Check.state == CheckState.DONE)) or 0


def judge(site: Site, page: Page) -> tuple[str, str, str]:
    """Judge the item on the page; returns it, its prompt's name, and under which letter the right answer stands."""
    expect(page.locator("#work[data-assignment]")).to_be_visible()
    item = item_of(page)
    name, right = right_of(site, int(item))
    expect(page.locator(".finding__chip")).to_have_count(0)  # the checks are done, and hidden until the submission
    page.keyboard.press("1" if (right == "A") is (name != MISJUDGED) else "8")
    page.keyboard.press("Control+Enter")
    wait_for_next(page, item)
    return item, name, right


def assert_told_apart(page: Page, name: str, right: str) -> None:
    """The page of a submitted item says that the right answer passed, and what its twin fails."""
    wrong = "B" if right == "A" else "A"
    passed, failed = (page.locator(f"#findings-{letter} .finding__chip") for letter in (right, wrong))
    expect(passed.filter(has_text="Passed:").first, name).to_be_visible()
    expect(passed.filter(has_text="Failed:"), name).to_have_count(0)
    expect(failed.filter(has_text="Failed:").first, name).to_be_visible()
    body = page.locator(f"#findings-{wrong} .finding--bad .finding__body", has_text=f"Checked by {FAILING[name]}")
    expect(body, name).to_have_count(1)


def right_of(site: Site, assignment: int) -> tuple[str, str]:
    """The name of an item's prompt, and under which letter its right answer stands."""
    site.session.rollback()
    held = site.session.get_one(Assignment, assignment)
    name = site.session.scalars(
        select(Prompt.external_id)
        .join(Comparison, Comparison.prompt_id == Prompt.id)
        .where(Comparison.id == held.comparison_id)
    ).one()
    texts = [site.session.get_one(Candidate, each).text for each in held.order_shown]
    assert sorted(texts) == sorted(TWINS[name])
    return name, "AB"[texts.index(TWINS[name][0])]
