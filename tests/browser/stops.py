"""Every page that there is, and what to do there first, for whoever looks at all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page

from app.accounts.models import Role
from tests.browser.desk import open_assign, open_holds, open_return, open_row, open_table, preview_retraction
from tests.browser.judging import note_mark, open_marks, rank_and_improve
from tests.browser.signing import enter_password, reset_step, show_secret


@dataclass(frozen=True)
class Stop:
    """A page to look at: who sees it, where it is, which template draws it, what to do there first."""

    template: str
    path: str
    role: Role | None = Role.ADMIN
    act: Callable[[Page], None] | None = None


def choose(page: Page) -> None:
    """Judge, so that the chosen response is open for editing."""
    page.keyboard.press("2")
    page.keyboard.press("e")
    page.locator(".improve__text").wait_for()


def label(page: Page) -> None:
    """Find a step wrong, so that the right one is asked for."""
    page.keyboard.press("3")
    page.keyboard.press("1")
    page.get_by_role("textbox", name="What should stand in place of the wrong step?").wait_for()


def open_keys(page: Page) -> None:
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()


def set_role(page: Page) -> None:
    """Ask for another role, so that the password is asked for."""
    page.locator("form[action$='/role'] button").first.click()
    page.get_by_role("heading", name="Make").wait_for()


def submit_nothing(page: Page) -> None:
    page.keyboard.press("Control+Enter")
    page.locator("#work-problem .notice").wait_for()


def open_skip(page: Page) -> None:
    page.keyboard.press("s")
    page.locator("[data-skip] .menu__panel").wait_for()


def answer_example(page: Page) -> None:
    page.get_by_label("B is better", exact=True).check()
    page.get_by_role("button", name="See what we would say").click()
    page.locator("#told-head").wait_for()


def save_elsewhere(page: Page) -> None:
    """Two drafts that wait for a choice."""
    page.evaluate("""async () => {
        const { assignment, version } = document.querySelector("#work").dataset;
        const body = JSON.stringify({ version: Number(version), draft: { comment: "from another window" } });
        const headers = { "content-type": "application/json" };
        await fetch(`/api/v1/assignments/${assignment}/draft`, { method: "PUT", headers, body });
    }""")
    page.keyboard.press("c")
    page.keyboard.type("from this window")
    page.locator(".both").wait_for()


def open_differences(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.keyboard.press("d")
    page.locator("[data-difference] ins, [data-difference] del").first.wait_for()


def show_raw(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.keyboard.press("w")
    page.locator(".response__raw").first.wait_for()
    page.keyboard.press("w")


def one_at_a_time(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.keyboard.press("]")
    page.locator("#work[data-layout=single]").wait_for()


def write(page: Page) -> None:
    """Write an answer, and look at how it will be read."""
    page.wait_for_load_state("networkidle")
    page.keyboard.press("e")
    page.keyboard.type("It is **42**.")
    page.get_by_role("button", name="Preview").click()
    page.locator("[data-improve-diff] strong").first.wait_for()


def open_revise(page: Page) -> None:
    choose(page)
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    page.locator("[data-revise-feedback]").wait_for()


def open_order(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.keyboard.type("222")
    page.keyboard.press("Control+Enter")
    page.locator("#order[open]").wait_for()


def open_finish(page: Page) -> None:
    page.get_by_text("Finish this dialogue").click()
    page.get_by_role("button", name="Finish").wait_for()


def open_evidence(page: Page) -> None:
    """Open the first finding, by keyboard."""
    page.locator(".finding__chip").first.wait_for()
    page.locator(".finding__chip").first.press("Enter")
    page.locator(".finding[open]").first.wait_for()


def open_trace(page: Page) -> None:
    """Open what tools answered, by keyboard."""
    for result in page.locator(".trace__result summary").all():
        result.press("Enter")
    page.locator(".trace__text").last.wait_for()


def go_to(step: str) -> Callable[[Page], None]:
    """A step of the form of a new batch, once the page beside it is there."""

    def act(page: Page) -> None:
        page.locator(f".steps-index a[href='#step-{step}']").press("Enter")
        page.locator(f"#step-{step}-head:focus").wait_for()
        page.locator(".look__page").wait_for()

    act.__name__ = f"go_to_{step}"
    return act


STOPS = [
    Stop("accounts/login.html", "/login", None),
    Stop("accounts/code.html", "/login", None, act=enter_password),
    Stop("accounts/invite.html", "/invite/{invite}", None),
    Stop("error.html", "/nothing-here"),
    Stop("home.html", "/"),
    Stop("home.html", "/", Role.REVIEWER),
    Stop("home.html", "/", Role.ANNOTATOR),
    Stop("accounts/people.html", "/users"),
    Stop("accounts/role.html", "/users", act=set_role),
    Stop("accounts/step_reset.html", "/users", act=reset_step),
    Stop("accounts/second_step.html", "/profile/second-step"),
    Stop("accounts/second_step.html", "/profile/second-step", act=show_secret),
    Stop("accounts/provider.html", "/profile/provider"),
    Stop("accounts/audit_log.html", "/audit-log"),
    Stop("accounts/audit_log.html", "/audit-log?kind=refusal"),
    Stop("accounts/profile.html", "/profile"),
    Stop("accounts/tokens.html", "/tokens"),
    Stop("accounts/teams.html", "/teams"),
    Stop("accounts/team.html", "/teams/{team}"),
    Stop("dashboard/reference.html", "/api"),
    Stop("webhooks/webhooks.html", "/webhooks"),
    Stop("webhooks/webhook.html", "/webhooks/{webhook}"),
    Stop("prompts/batches.html", "/batches"),
    Stop("prompts/new.html", "/batches/new"),
    Stop("prompts/new.html", "/batches/new", act=go_to("task")),
    Stop("prompts/new.html", "/batches/new", act=go_to("people")),
    Stop("prompts/new.html", "/batches/new", act=go_to("start")),
    Stop("prompts/more.html", "/batches/{batch}/prompts/new"),
    Stop("synthesis/new.html", "/syntheses/new"),
    Stop("synthesis/syntheses.html", "/syntheses"),
    Stop("synthesis/synthesis.html", "/syntheses/{synthesis}"),
    Stop("prompts/new.html", "/uploads/{upload}"),
    Stop("prompts/preview.html", "/uploads/{more}"),
    Stop("prompts/batch.html", "/batches/{batch}"),
    Stop("prompts/guidelines.html", "/batches/{batch}/guidelines", Role.ANNOTATOR),
    Stop("prompts/prompt.html", "/prompts/{prompt}"),
    Stop("annotations/start.html", "/annotate", Role.ANNOTATOR),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, choose),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, open_keys),
    Stop("annotations/work.html", "/assignments/{four}", Role.ANNOTATOR),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, submit_nothing),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, open_skip),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, save_elsewhere),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, open_marks),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, note_mark),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, open_differences),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, show_raw),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, one_at_a_time),
    Stop("annotations/work.html", "/assignments/{pair}", Role.ANNOTATOR, open_revise),
    Stop("annotations/work.html", "/assignments/{four}", Role.ANNOTATOR, open_order),
    Stop("annotations/work.html", "/assignments/{essay}", Role.ANNOTATOR, write),
    Stop("annotations/work.html", "/assignments/{traced}", Role.ANNOTATOR, open_trace),
    Stop("annotations/ended.html", "/assignments/{essay_done}", Role.ANNOTATOR),
    Stop("annotations/work.html", "/assignments/{proof}", Role.ANNOTATOR, label),
    Stop("annotations/ended.html", "/assignments/{proof_done}", Role.ANNOTATOR),
    Stop("annotations/keys.html", "/profile/keys", Role.ANNOTATOR),
    Stop("annotations/work.html", "/assignments/{four}", Role.ANNOTATOR, rank_and_improve),
    Stop("annotations/ended.html", "/assignments/{done}", Role.ANNOTATOR),
    Stop("annotations/ended.html", "/assignments/{checked}", Role.ANNOTATOR, open_evidence),
    Stop("annotations/work.html", "/assignments/{checking}", Role.ANNOTATOR, open_evidence),
    Stop("findings/item.html", "/assignments/{checked}/findings", Role.ANNOTATOR, open_evidence),
    Stop("findings/checks.html", "/checks", Role.REVIEWER),
    Stop("annotations/queues.html", "/queues/pending", Role.ANNOTATOR),
    Stop("annotations/queues.html", "/queues/submitted", Role.ANNOTATOR),
    Stop("annotations/queues.html", "/queues/skipped?q=x", Role.ANNOTATOR),
    Stop("annotations/tour.html", "/tour/3", Role.ANNOTATOR),
    Stop("annotations/tour.html", "/tour/3", Role.ANNOTATOR, answer_example),
    Stop("dialogues/new.html", "/batches/new/dialogues"),
    Stop("dialogues/batch.html", "/batches/{dialogues}/dialogues"),
    Stop("prompts/batch.html", "/batches/{dialogues}"),
    Stop("dialogues/dialogues.html", "/dialogues", Role.ANNOTATOR),
    Stop("dialogues/dialogue.html", "/dialogues/{dialogue}", Role.ANNOTATOR),
    Stop("dialogues/dialogue.html", "/dialogues/{dialogue}?turn={turn}", Role.ANNOTATOR, open_finish),
    Stop("dialogues/dialogue.html", "/dialogues/{writing}", Role.ANNOTATOR),
    Stop("dialogues/dialogue.html", "/dialogues/{writing}?turn=0", Role.ANNOTATOR),
    Stop("dialogues/dialogue.html", "/dialogues/{dialogue}", Role.REVIEWER),
    Stop("playground/playground.html", "/playground"),
    Stop("playground/playground.html", "/playground/{trial}"),
    Stop("playground/playground.html", "/playground/{trying}"),
    Stop("board/board.html", "/board"),
    Stop("board/board.html", "/board", Role.REVIEWER),
    Stop("board/agreement.html", "/board/agreement"),
    Stop("board/votes.html", "/board/votes?one={okapi}&other={zebra}"),
    Stop("registry/checkpoints.html", "/checkpoints"),
    Stop("registry/checkpoint.html", "/checkpoints/{checkpoint}"),
    Stop("registry/checkpoint.html", "/checkpoints/{external}"),
    Stop("registry/external.html", "/externals/new"),
    Stop("preferences/preferences.html", "/preferences"),
    Stop("preferences/private.html", "/preferences/private"),
    Stop("preferences/snapshot.html", "/snapshots/{snapshot}"),
    Stop("lineage/annotation.html", "/lineage/annotations/{said}"),
    Stop("lineage/retractions.html", "/retractions"),
    Stop("lineage/retraction.html", "/retractions/{retraction}"),
    Stop("lineage/retract.html", "/retractions/new?scope=batch&target={batch}"),
    Stop("lineage/retract.html", "/retractions/new?scope=person&target={retracted}"),
    Stop("quality/reviews.html", "/review"),
    Stop("quality/review.html", "/review/annotations/{said}"),
    Stop("desk/desk.html", "/desk", act=open_return),
    Stop("desk/desk.html", "/desk", act=open_assign),
    Stop("desk/desk.html", "/desk?q=x&edited=1", Role.REVIEWER),
    Stop("desk/desk.html", "/desk", act=open_row),
    Stop("desk/item.html", "/desk/annotations/{said}", act=open_holds),
    Stop("desk/retract.html", "/desk", act=preview_retraction),
    Stop("desk/team.html", "/desk/team", act=open_table),
    Stop("desk/team.html", "/desk/team?days=90", Role.REVIEWER),
    Stop("desk/person.html", "/desk/people/{annotator}", act=open_table),
    Stop("quality/gold.html", "/review/gold"),
    Stop("quality/annotators.html", "/review/annotators"),
    Stop("quality/mine.html", "/me/statistics", Role.ANNOTATOR),
    Stop("sources/sources.html", "/sources"),
    Stop("sources/sources.html", "/sources", Role.REVIEWER),
    Stop("sources/source.html", "/sources/{source}"),
    Stop("rounds/rounds.html", "/rounds"),
    Stop("rounds/round.html", "/rounds/1"),
    Stop("rounds/round.html", "/rounds/{challenging}"),
    Stop("rounds/contest.html", "/contests/{contest}"),
    Stop("rounds/contest.html", "/contests/{settled}"),
    Stop("rounds/run.html", "/runs/{run}"),
]


EVERYTHING = "/board" + "".join(stop.path for stop in STOPS)
"""A scene that every stop can show."""


def name_of(stop: Stop) -> str:
    acted = f"-{stop.act.__name__}" if stop.act else ""
    return f"{stop.path}-{stop.role.value if stop.role else 'nobody'}{acted}"


def status_of(stop: Stop) -> int:
    return 404 if stop.template == "error.html" else 200
