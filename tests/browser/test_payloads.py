"""Nothing that people or models write runs, loads or calls in a real browser, wherever it is shown.

Every attack that the rules of ``app.kernel.markup`` know is put where text comes from outside (prompts with all that comes with
them, responses, guidelines, names, comments, edits, reasons of failures), and every page that shows such text is opened.
"""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Dialog, Page

from app.accounts.models import ApiToken, Role, User
from app.annotations import service as annotating
from app.annotations.models import Annotation
from app.candidates import live
from app.comparisons import service as comparing
from app.comparisons.models import Assignment
from app.dialogues.forms import Seed
from app.judgements.judgement import Draft
from app.judgements.vocabulary import Outcome
from app.prompts import guidelines
from app.prompts import service as prompts
from app.prompts.models import Batch, Prompt, PromptState
from tests import factories, talking
from tests.browser.conftest import Site
from tests.test_markup import ATTACKS

pytestmark = [pytest.mark.browser]

PAYLOADS = [attack.replace("alert(1)", "window.marked=1,alert(1)") for attack in ATTACKS if "\0" not in attack]
NAMES = [payload for payload in PAYLOADS if len(payload) <= 120 and payload.isprintable()]
TOGETHER = "\n\n".join(PAYLOADS)
ITEMS = 4
TAME = {"http:", "https:", "mailto:"}
NOTE_VIOLATIONS = """
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) => violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
FOUND = """() => {
    const all = [...document.querySelectorAll("*")];
    return {
        marked: window.marked ?? null,
        violations: window.violations,
        handlers: all.flatMap((each) => each.getAttributeNames()).filter((name) => name.startsWith("on")),
        schemes: [...document.links].map((link) => link.protocol),
        foreign: document.querySelectorAll(
        "main :is(script:not([type='application/json']), iframe:not(.look__page), object, embed)"
    ).length,
    };
}"""


class Watch:
    """What a page did that it should not have done."""

    def __init__(self, page: Page, site: Site) -> None:
        self.wrong: list[str] = []
        self._site = site
        page.add_init_script(NOTE_VIOLATIONS)
        page.on("dialog", self._asked)
        page.on("request", lambda request: self._requested(request.url))

    def _asked(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _requested(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "data":
            return
        if f"{parts.scheme}://{parts.netloc}" != self._site.url or parts.path.startswith(("/logout", "/x")):
            self.wrong.append(f"request {url}")


@pytest.fixture
def people(site: Site) -> dict[Role, User]:
    names = {Role.ANNOTATOR: "Alice", Role.REVIEWER: "Rita", Role.ADMIN: "Bob"}
    return {role: factories.make_user(site.session, role, name) for role, name in names.items()}


def fill_prompt(prompt: Prompt, number: int) -> None:
    """Attacks in everything that comes with a prompt."""
    attack = NAMES[number]
    prompt.messages = [{"role": "system", "content": attack}, {"role": "user", "content": part(number)}]
    prompt.external_id, prompt.capability, prompt.reference = attack, attack[:60], attack
    prompt.extra, prompt.tests, prompt.tools = {attack: attack}, attack, [{"type": "function", "name": attack}]


def part(number: int) -> str:
    """One of ``ITEMS`` parts of all attacks, as one text."""
    return "\n\n".join(PAYLOADS[number::ITEMS])


def set_stage(site: Site, people: dict[Role, User]) -> list[str]:
    """Work to be done, with drafts; work that is done; names and failures. The pages of it."""
    session, alice, bob = site.session, people[Role.ANNOTATOR], people[Role.ADMIN]
    paths = [
        "/",
        "/annotate",
        "/queues/drafts",
        "/queues/submitted",
        "/dialogues",
        "/review",
        "/review/gold",
        "/batches",
        "/users",
        "/tokens",
        "/profile",
        "/checkpoints",
        "/rounds",
        "/preferences?shape=trl&split=all",
    ]
    for number in range(ITEMS):
        batch = factories.make_batch(session, name=NAMES[number], guidelines=TOGETHER)
        held = _item(site, alice, batch, number)
        poison = factories.make_prompt(session, batch, f"poison {number}", state=PromptState.QUARANTINED)
        poison.last_error = part(number)
        session.commit()
        guidelines.rewrite(session, bob, batch, f"{TOGETHER}\n\nchanged", {"4": part(number)})
        session.commit()
        paths += [f"/batches/{batch.id}/guidelines?since=1", *_talk(site, alice, number)]
        paths += [f"/assignments/{held.id}", f"/batches/{batch.id}", f"/preferences?batch={batch.id}"]
    paths += [f"/prompts/{prompt.id}" for prompt in session.query(Prompt)]
    paths += [f"/review/annotations/{annotation.id}" for annotation in session.query(Annotation)]
    lines = b"\n".join(json.dumps({"prompt": attack, "id": attack, attack: attack}).encode() for attack in NAMES)
    upload = prompts.create_upload(
        session, bob, f"{NAMES[0].replace('/', '')}.jsonl", lines + b'\n{"<img src=x>": 1}\n'
    )
    for number, name in enumerate(NAMES):
        factories.make_user(session, name=name, email=f"named-{number}@example.org")
        # more than a person may have, so past the rule
        until = datetime.now(UTC) + timedelta(days=1)
        hashed = secrets.token_bytes(32)
        session.add(ApiToken(user_id=bob.id, name=name, token_hash=hashed, scopes=["read"], expires_at=until))
    session.commit()
    return [*paths, f"/uploads/{upload.id}"]


def _talk(site: Site, alice: User, number: int) -> list[str]:
    """A dialogue in which everybody attacks: the seed, the annotator, both models, and a text that is being written."""
    session, text = site.session, part(number)
    batch = talking.make_dialogue_batch(session, Seed(system=text), name=f"talks {NAMES[number]}"[:120])
    dialogue = talking.begin_dialogue(session, alice, batch)
    first = talking.say(session, alice, dialogue, text)
    talking.write_replies(session, first, f"{text}\n\na", f"{text}\n\nb")
    talking.judge_turn(session, alice, first, edited_text=f"{text}\n\nc")
    writing = talking.say(session, alice, dialogue, text, first)
    for reply in live.replies(session, writing.id):
        reply.text = text
        live.stop(session, alice, reply.id)  # texts that wait are counted, for a few at once
    session.commit()
    where = f"/dialogues/{dialogue.id}"
    return [where, f"{where}?turn={first.id}", f"{where}?turn=0", f"/batches/{batch.id}/dialogues"]


def _item(site: Site, alice: User, batch: Batch, number: int) -> Assignment:
    """One comparison that Ann has judged and one that Alice holds, with a draft."""
    session = site.session
    ann = factories.make_user(session, name=NAMES[number], email=f"ann-{number}@example.org")
    source = factories.make_deployment(session, NAMES[number][:80])
    for person in (ann, alice):
        prompt = factories.make_prompt(session, batch, f"{number} {person.id}", state=PromptState.READY)
        fill_prompt(prompt, number)
        prompt.external_id = f"{prompt.external_id[:150]} {person.id}"
        for index, letter in enumerate("ab"):
            factories.make_candidate(
                session, prompt, f"{part(number)}\n\n{letter}", deployment=source, sample_index=index
            )
        comparison = comparing.create_comparison(session, prompt)
        assert comparison is not None
        session.commit()
        if person is ann:
            factories.make_annotation(session, ann, comparison, edited_text=part(number), comment=TOGETHER[:9000])
    held = factories.make_assignment(session, alice, comparison)
    draft = Draft(
        outcome=Outcome.RANKED,
        ranking=[["A"], ["B"]],
        strengths=[3],
        edits={"A": part(number)},
        comment=TOGETHER[:9000],
    )
    annotating.save_draft(session, alice, held.id, draft, 0)
    session.commit()
    return held


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.REVIEWER, Role.ADMIN])
def test_no_attack_does_anything_but_be_read(site: Site, people: dict[Role, User], role: Role) -> None:
    paths = set_stage(site, people)
    page = site.context(people[role]).new_page()
    watch = Watch(page, site)
    shown = 0
    for path in paths:
        answer = page.goto(f"{site.url}{path}")
        assert answer is not None
        if answer.status in {403, 404}:
            continue
        assert answer.status == 200, path
        found = page.evaluate(FOUND)
        assert set(found.pop("schemes")) <= TAME, path
        assert found == {"marked": None, "violations": [], "handlers": [], "foreign": 0}, path
        assert watch.wrong == [], path
        shown += page.locator("main").evaluate("(main) => main.textContent.includes('window.marked=1')")
    assert shown >= {Role.ANNOTATOR: ITEMS, Role.REVIEWER: 4 * ITEMS, Role.ADMIN: 4 * ITEMS}[role], "text was shown"
