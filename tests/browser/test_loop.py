"""The whole loop in a real browser with nothing faked: upload, vLLM, annotate by keyboard, train, serve, sample again.

It stands for what a person does on a laptop: ``corral up``, the first admin's link, a file of prompts, an annotator with
a keyboard, the Train button, and a second batch that comes from the model that the annotator's judgement made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect
from sqlalchemy import Engine, text

from app.kernel.settings import ROOT
from tests.browser.uploading import upload_batch
from tests.flows.installation import Installation, running
from tests.patience import PATIENCE, eventually
from tests.places import temporary_place

pytestmark = [pytest.mark.browser, pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1800)]

PROMPTS = 20
PASSWORD = "correct horse battery staple"
BETTER = "Corrected: "
ROUNDING = 1e-3
"""Nats of an answer that an engine may say differently when it is asked again."""
QUESTIONS = ("Why is the sky blue?", "Name three uses of a brick.", "What is 17 + 25?", "Write a sentence about rain.")
TELLING = re.compile(
    r"checkpoint|SmolLM|policy-r|deployment|candidate_?id|sampling|log_?prob|\"score|finish_reason", re.IGNORECASE
)


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """Corral as a user starts it, but with few and short samples, and without the sample batch.

    Four of the twenty prompts are held out at this share, so that the rest is enough to learn from, and a challenger stands on
    every prompt of a batch.
    """
    settings = {
        "CORRAL_SAMPLE_BATCH": "false",
        "CORRAL_HELD_OUT_PERCENT": "10",
        "CORRAL_TRAINING_SAMPLES": "2",
        "CORRAL_TRAINING_SAMPLE_PROMPTS": "8",
        "CORRAL_TRAINING_SAMPLE_TOKENS": "48",
        "CORRAL_CHECK_TOKENS": "32",
        "CORRAL_CHALLENGER_PERCENT": "100",
    }
    with temporary_place() as place, running(place / "var", **settings) as running_installation:
        yield running_installation


def sample_prompts(skip: int, count: int) -> list[dict[str, object]]:
    """``count`` short prompts of the bundled sample, leaving out the first ``skip`` of them."""
    lines = (ROOT / "app" / "prompts" / "sample.jsonl").read_text().splitlines()
    short = [prompt for prompt in map(json.loads, lines) if len(json.dumps(prompt)) < 900 and not prompt.get("tools")]
    assert len(short) >= skip + count
    return short[skip : skip + count]


def write_prompts(folder: Path, name: str, prompts: list[dict[str, object]]) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in prompts), encoding="utf-8")
    return path


def create_account(page: Page, link: str, name: str) -> None:
    page.goto(link)
    page.get_by_label("Your name").fill(name)
    page.get_by_label("E-mail").fill(f"{name.lower()}@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", name=f"Hello, {name}")).to_be_visible()


def annotate_by_keyboard(page: Page, count: int) -> None:
    """Prefer the shorter response of each pair, at the two strongest levels in turn, and edit every second one."""
    for number in range(count):
        work = page.locator("#work[data-assignment]")
        expect(work).to_be_visible()
        assignment = work.get_attribute("data-assignment")
        lengths = [len(page.locator(f'[data-response="{name}"]').inner_text()) for name in ("A", "B")]
        strongest, strong = ("1", "2") if lengths[0] <= lengths[1] else ("8", "7")
        page.keyboard.press(strongest if number % 2 else strong)
        if number % 2 == 0:
            page.keyboard.press("e")
            expect(page.get_by_label("Improved text")).to_be_focused()
            page.keyboard.press("Control+Home")
            page.keyboard.type(BETTER)
            expect(page.locator("[data-improve-size]")).to_contain_text("added")
        page.keyboard.press("Control+Enter")
        expect(page.locator(f'#work[data-assignment="{assignment}"]')).to_have_count(0)


def keep_what_arrives(context: BrowserContext, url: str) -> list[tuple[str, str]]:
    """A list that fills with (address, headers and body) of everything but static files that the browser receives."""
    received: list[tuple[str, str]] = []

    def keep(response: Response) -> None:
        if response.url.startswith(url) and response.status < 300 and "/static/" not in response.url:
            received.append((response.url, f"{response.all_headers()}\n{response.text()}"))

    context.on("response", keep)
    return received


def telling_words(text: str) -> set[str]:
    """The words of ``text`` that could tell which model wrote a response, in lower case."""
    return {word.lower() for word in TELLING.findall(text)}


def train(page: Page, url: str, database: Engine) -> None:
    """Press the button and wait until the policy is there and checked; a failed run shows its last lines."""
    page.goto(f"{url}/rounds")
    page.get_by_role("button", name=re.compile("Train")).first.click()

    def finished() -> bool:
        with database.connect() as connection:
            rows = connection.execute(text("SELECT kind, state, log_tail FROM training_runs ORDER BY id")).all()
        assert not [row for row in rows if row.state in {"failed", "cancelled"}], rows
        return [row.kind for row in rows if row.state == "succeeded"] == ["reward", "sft", "dpo", "check"]

    eventually(finished, 4 * PATIENCE, "reward model, imitation and policy are trained and checked")


def check_run_pages(page: Page, url: str, database: Engine) -> None:
    """Held-out accuracy stands there, and the untrained baseline beside it."""
    with database.connect() as connection:
        query = "SELECT id, baseline, metrics FROM training_runs WHERE kind IN ('reward', 'dpo') ORDER BY id"
        runs = connection.execute(text(query)).all()
    for run in runs:
        page.goto(f"{url}/runs/{run.id}")
        pairs = round(run.metrics["held_out/pairs"])
        assert pairs > 0
        row = page.locator(
            ".results tr", has=page.get_by_role("rowheader", name=re.compile(r"^Accuracy\b(?! by)"))
        ).first
        for cell, measured in ((0, run.baseline), (1, run.metrics)):
            right = measured["held_out/accuracy"] * pairs
            expect(row.locator("td").nth(cell)).to_have_text(
                re.compile(rf"^\s*{right:g} of {pairs}\s+{right / pairs:.0%}\s*$")
            )
        strengths = [name for name in run.metrics if name.startswith("held_out/accuracy/strength_")]
        assert strengths
        expect(
            page.get_by_role(
                "rowheader", name=re.compile(r"^(Significantly|Slightly|Marginally)? ?better$", re.IGNORECASE)
            )
        ).to_have_count(len(strengths))


def policy_in_rotation(database: Engine) -> str:
    """The name of the new policy once the engine has loaded it."""
    query = text(
        "SELECT c.name FROM deployments d JOIN checkpoints c ON c.id = d.checkpoint_id "
        "WHERE c.kind = 'policy' AND d.load_state = 'loaded' AND d.ended_at IS NULL"
    )

    def look() -> str | None:
        with database.connect() as connection:
            return connection.execute(query).scalar()

    return eventually(look, PATIENCE, "the engine has loaded the new policy")


def candidates_of(database: Engine, batch: str) -> list[tuple[list[str], int]]:
    """For each prompt of a batch: the checkpoints that answered it, and its round."""
    query = text(
        "SELECT array_agg(c.name ORDER BY c.name), min(r.number) "
        "FROM prompts p JOIN batches b ON b.id = p.batch_id JOIN rounds r ON r.id = b.round_id "
        "JOIN candidates s ON s.prompt_id = p.id JOIN checkpoints c ON c.id = s.checkpoint_id "
        "WHERE b.name = :batch GROUP BY p.id"
    )
    with database.connect() as connection:
        return [tuple(row) for row in connection.execute(query, {"batch": batch})]


def test_judgement_becomes_the_model_that_answers_next(
    installation: Installation, browser: Browser, tmp_path: Path
) -> None:
    url = installation.url

    # Bob takes the one-time link, uploads real prompts and watches them being answered.
    bob = browser.new_context(locale="en-US").new_page()
    create_account(bob, installation.admin_link(), "Bob")
    upload_batch(bob, url, write_prompts(tmp_path, "first.jsonl", sample_prompts(0, PROMPTS)), "First batch")

    # He invites Alice, who judges and improves by keyboard alone.
    invited = installation.corral("invite", "--role", "annotator")
    link = re.search(r"/invite/\S+", invited.stdout)
    assert link, invited.stdout + invited.stderr
    alice_context = browser.new_context(locale="en-US")
    received = keep_what_arrives(alice_context, url)
    alice = alice_context.new_page()
    create_account(alice, url + link.group(0), "Alice")
    alice.goto(f"{url}/annotate")
    expect(alice.get_by_role("button", name="Start on First batch")).to_be_focused()
    alice.keyboard.press("Enter")
    annotate_by_keyboard(alice, PROMPTS)
    expect(alice.get_by_role("heading", name="Nothing left to annotate")).to_be_visible()
    database = installation.database
    with database.connect() as connection:
        stored = connection.execute(text("SELECT count(*), count(edited_text) FROM annotations")).one()
    assert tuple(stored) == (PROMPTS, PROMPTS // 2)

    # Nothing that her browser was sent told her which model wrote what.
    assert sum("data-response" in body for _, body in received) >= PROMPTS
    # A model may name itself ("I am SmolLM"): what stands in a response is said by the response.
    with database.connect() as connection:
        said = telling_words("\n".join(connection.scalars(text("SELECT text FROM candidates WHERE text IS NOT NULL"))))
    told = [(where, telling_words(body) - said) for where, body in received]
    assert [(where, words) for where, words in told if words] == []

    # Bob presses Train; the new policy challenges the base under its own name and answers differently.
    train(bob, url, database)
    check_run_pages(bob, url, database)
    policy = policy_in_rotation(database)
    bob.goto(f"{url}/checkpoints")
    expect(bob.get_by_text(policy).first).to_be_visible()
    before, after, again = (
        [installation.greedy(model, question)[1] for question in QUESTIONS] for model in ("base", policy, "base")
    )
    assert again == pytest.approx(before, abs=ROUNDING)
    assert after != pytest.approx(before, abs=ROUNDING)

    # The second batch is sampled from it, and every prompt's candidates say so.
    upload_batch(bob, url, write_prompts(tmp_path, "second.jsonl", sample_prompts(PROMPTS, 6)), "Second batch")
    answered = candidates_of(database, "Second batch")
    assert len(answered) == 6
    assert all(policy in checkpoints and number == 2 for checkpoints, number in answered), answered

    audited = installation.corral("audit")
    assert audited.returncode == 0, audited.stdout
    assert installation.stop() == 0
