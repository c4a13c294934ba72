"""The annotation pages as a browser without scripts sees them, and the exchanges that scripts make."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import recording, service
from app.annotations.models import Annotation
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.judgements.vocabulary import Outcome
from app.prompts.models import Batch, BatchState, PromptState
from tests.factories import make_assignment, make_batch, make_comparison, make_prompt, make_user, sign_in

EXCHANGE = {"hx-request": "true"}


@pytest.fixture
def alice(client: TestClient, session: Session) -> User:
    """Alice, signed in."""
    user = make_user(session)
    sign_in(client, user)
    return user


def start(client: TestClient, **data: object) -> str:
    """Take an item and return its address."""
    answer = client.post("/annotate", data=data)
    assert answer.status_code == 303
    return str(answer.headers["location"])


def hidden(html: str, name: str) -> str:
    found = re.search(rf'name="{name}"\s+value="([^"]*)"', html)
    assert found, f"no field {name}"
    return found[1]


def form(page: Any, **values: object) -> dict[str, object]:
    names = ("fencing_token", "draft_version", "key")
    return {name: hidden(page.text, name) for name in names} | values


def test_looking_claims_nothing(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session)
    page = client.get("/annotate")
    assert "1 item waits for you" in page.text
    assert session.scalar(select(func.count()).select_from(Assignment)) == 0


def test_start_takes_an_item_and_looking_again_leads_back_to_it(
    client: TestClient, session: Session, alice: User
) -> None:
    make_comparison(session)
    item = start(client)
    assert client.get("/annotate").headers["location"] == item
    assert start(client) == item


def test_nothing_left_says_what_to_do(client: TestClient, alice: User) -> None:
    assert start(client) == "/annotate"
    assert "Nothing left to annotate" in client.get("/annotate").text


def test_a_paused_batch_is_named(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session, batch=make_batch(session, name="Maths", state=BatchState.PAUSED))
    page = client.get("/annotate").text
    assert "Paused for now" in page
    assert "Maths is paused" in page


def test_an_item_in_a_paused_batch_is_not_called_nothing(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session, batch=make_batch(session, name="Maths"))
    start(client)
    session.execute(update(Batch).values(state=BatchState.PAUSED))
    assert "Maths is paused" in client.get("/annotate").text


@pytest.mark.parametrize("outcome", [Outcome.TIE, Outcome.ALL_UNACCEPTABLE])
@pytest.mark.parametrize("shown", [2, 3])
def test_a_tie_and_all_unacceptable_are_choices(
    client: TestClient, session: Session, alice: User, outcome: Outcome, shown: int
) -> None:
    make_comparison(session, n=shown)
    item = start(client)
    client.post(f"{item}/submit", data=form(client.get(item), choice=outcome.value, rank=["", "", ""][:shown]))
    assert session.scalars(select(Annotation.outcome)).one() is outcome


DRAFT: dict[str, object] = {
    "outcome": "ranked",
    "ranking": [["C"], ["A", "D"], ["B"]],
    "strengths": [1, 4],
    "edits": {"C": "Better.\nIn two lines."},
    "flags": {"B": ["unsafe"]},
    "comment": "why",
    "active_seconds": 12.5,
}


def test_what_scripts_submit_is_the_draft_that_they_save(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session, n=4)
    item = start(client)
    assert client.put(f"/api/v1{item}/draft", json={"version": 0, "draft": DRAFT}).status_code == 200
    kept = session.scalars(select(Assignment.draft)).one()
    client.post(f"{item}/submit", data=form(client.get(item), judgement=json.dumps(DRAFT)))
    stored = session.scalars(select(Annotation)).one()
    a, b, c, d = stored.order_shown
    assert stored.ranking == [[c], [a, d], [b]]
    assert stored.strengths == [1, 4]
    assert (stored.edited_candidate_id, stored.edited_text) == (c, "Better.\nIn two lines.")
    assert (stored.flags, stored.comment, stored.active_seconds) == ({str(b): ["unsafe"]}, "why", 12.5)
    assert recording.as_draft(session, stored).model_dump(mode="json") == kept


def test_scripts_and_fields_say_the_same(client: TestClient, session: Session, alice: User) -> None:
    batch = make_batch(session, candidates_per_prompt=4)
    for _ in range(2):
        make_comparison(session, n=4, batch=batch)
    item = start(client)
    client.post(f"{item}/submit", data=form(client.get(item), judgement=json.dumps(DRAFT)))
    item = start(client)
    fields = {"rank": ["2", "3", "1", "2"], "strength": ["1", "4"], "flag.B.unsafe": "on", "comment": "why"}
    fields |= {"edited_text": "Better.\r\nIn two lines.", "active_seconds": "12.5"}
    client.post(f"{item}/submit", data=form(client.get(item), **fields))
    one, other = (recording.as_draft(session, each) for each in session.scalars(select(Annotation)))
    assert one == other


BROKEN = {
    "no JSON": "{",
    "another shape": "[1]",
    "a field that there is not": '{"outcome": "tie", "choice": "A1"}',
    "a place that there is not": '{"outcome": "ranked", "ranking": [["I"], ["A"]], "strengths": [1]}',
    "a strength left open": '{"outcome": "ranked", "ranking": [["B"], ["A"]], "strengths": [null]}',
    "nothing said": "{}",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_draft_that_is_no_judgement_is_refused(client: TestClient, session: Session, alice: User, name: str) -> None:
    make_comparison(session)
    item = start(client)
    refused = client.post(f"{item}/submit", data=form(client.get(item), judgement=BROKEN[name]), headers=EXCHANGE)
    assert refused.status_code == 422
    assert session.scalar(select(func.count()).select_from(Annotation)) == 0


def test_all_in_one_place_is_a_tie(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session, n=3)
    item = start(client)
    all_equal = '{"outcome": "ranked", "ranking": [["B", "A", "C"]], "strengths": []}'
    client.post(f"{item}/submit", data=form(client.get(item), judgement=all_equal))
    assert session.scalars(select(Annotation.outcome)).one() is Outcome.TIE


def test_a_submit_brings_the_next_item_in_one_exchange(client: TestClient, session: Session, alice: User) -> None:
    batch = make_batch(session)
    for _ in range(2):
        make_comparison(session, batch=batch)
    item = start(client)
    answer = client.post(f"{item}/submit", data=form(client.get(item), choice="A1"), headers=EXCHANGE)
    assert answer.status_code == 200
    following = answer.headers["hx-push-url"]
    assert following != item
    assert answer.text.lstrip().startswith('<div id="work"')
    assert f'action="{following}/submit"' in answer.text
    last = client.post(f"{following}/submit", data=form(answer, choice="A1"), headers=EXCHANGE)
    assert last.headers["hx-push-url"] == "/annotate"
    assert "Nothing left to annotate" in last.text


def test_the_next_item_comes_from_the_same_batch_first(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session)
    second = make_batch(session)
    for _ in range(2):
        make_comparison(session, batch=second)
    item = start(client, batch=second.id)
    client.post(f"{item}/submit", data=form(client.get(item), choice="A1"))
    item = client.get("/annotate").headers["location"]
    page = client.get(item)
    assert second.name in page.text
    client.post(f"{item}/submit", data=form(page, choice="A1"))
    assert second.name not in client.get(client.get("/annotate").headers["location"]).text


MISTAKES: dict[str, tuple[dict[str, object], str]] = {
    "nothing chosen": ({}, "First choose which response is better"),
    "an edit of a tie": ({"choice": "tie"}, "Only a chosen response can be edited"),
    "a comment that is too long": ({"choice": "A1", "comment": "x" * 10_001}, "Comment: String should have at most"),
    "an edit that is too long": (
        {"choice": "A1", "edited_text": "x" * 200_001},
        "Improved text: String should have at most",
    ),
    "a NUL": ({"choice": "A1", "comment": "a\x00b"}, "contains a NUL character: remove it"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_said_in_place_and_nothing_is_stored(
    client: TestClient, session: Session, alice: User, name: str
) -> None:
    values, says = MISTAKES[name]
    make_comparison(session)
    item = start(client)
    sent = form(client.get(item), edited_text="My edit") | values
    in_place = client.post(f"{item}/submit", data=sent, headers=EXCHANGE)
    assert in_place.status_code == 422
    assert in_place.headers["hx-retarget"] == "#work-problem"
    assert says in in_place.text
    assert "<form" not in in_place.text, "the form on the page stays as it is"
    assert session.scalar(select(func.count()).select_from(Annotation)) == 0


def test_a_form_of_megabytes_is_refused_beside_the_text(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session)
    item = start(client)
    sent = form(client.get(item), choice="A1", edited_text="x" * 5_000_000)
    refused = client.post(f"{item}/submit", data=sent, headers=EXCHANGE)
    assert refused.status_code == 413
    assert refused.headers["hx-retarget"] == "#problems"
    assert session.scalar(select(func.count()).select_from(Annotation)) == 0


def test_the_longest_edit_may_be_chinese(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session)
    item = start(client)
    longest = "驪" * 200_000
    client.post(f"{item}/submit", data=form(client.get(item), choice="A1", edited_text=longest))
    assert session.scalars(select(Annotation.edited_text)).one() == longest


@pytest.mark.parametrize(
    "values", [{"choice": "A1\n"}, {"judgement": "{}"}, {"rank": ["9" * 5000, "1"]}, {"rank": ["²", "1"]}]
)
def test_a_judgement_that_no_page_sends_is_no_judgement(
    client: TestClient, session: Session, alice: User, values: dict[str, object]
) -> None:
    make_comparison(session)
    item = start(client)
    refused = client.post(f"{item}/submit", data=form(client.get(item), strength=["1"], **values), headers=EXCHANGE)
    assert refused.status_code == 422
    assert "First choose which response is better" in refused.text


def test_after_a_refused_submit_the_page_knows_the_version_that_was_kept(
    client: TestClient, session: Session, alice: User
) -> None:
    make_comparison(session)
    item = start(client)
    sent = form(client.get(item), choice="A2", comment="kept with care")
    session.execute(update(Batch).values(state=BatchState.PAUSED))
    refused = client.post(f"{item}/submit", data=sent, headers=EXCHANGE)
    assert 'data-kept="1"' in refused.text
    behind = client.post(f"{item}/submit", data=sent | {"comment": "from an older window"}, headers=EXCHANGE)
    assert "data-kept" not in behind.text, "another draft was saved meanwhile, and stays"
    assert "kept with care" in client.get(item).text


def test_a_lost_seat_is_said_in_place_and_the_text_is_kept(client: TestClient, session: Session, alice: User) -> None:
    comparison = make_comparison(session)
    item = start(client)
    sent = form(client.get(item), choice="A2", edited_text="My long edit")
    session.execute(update(Assignment).values(lease_until=func.now() - func.make_interval(0, 0, 0, 1)))
    service.release_expired(session)
    make_assignment(session, make_user(session, name="Rita"), comparison)
    answer = client.post(f"{item}/submit", data=sent, headers=EXCHANGE)
    assert answer.status_code == 409
    assert "somebody else has finished this item" in answer.text
    assert "My long edit" in client.get(item).text, "the draft has it"


@pytest.mark.parametrize("state", [BatchState.PAUSED, BatchState.CLOSED])
def test_a_batch_that_stopped_keeps_the_text(
    client: TestClient, session: Session, alice: User, state: BatchState
) -> None:
    make_comparison(session)
    item = start(client)
    sent = form(client.get(item), choice="A2", comment="kept with care")
    session.execute(update(Batch).values(state=state))
    answer = client.post(f"{item}/submit", data=sent)
    assert answer.status_code == 409
    assert state.value in answer.text
    assert "kept with care" in client.get(item).text


def test_a_second_click_gives_the_next_item_again(client: TestClient, session: Session, alice: User) -> None:
    batch = make_batch(session)
    for _ in range(2):
        make_comparison(session, batch=batch)
    item = start(client)
    sent = form(client.get(item), choice="A2")
    first = client.post(f"{item}/submit", data=sent, headers=EXCHANGE)
    again = client.post(f"{item}/submit", data=sent, headers=EXCHANGE)
    assert first.headers["hx-push-url"] == again.headers["hx-push-url"]
    assert session.scalar(select(func.count()).select_from(Annotation)) == 1


def test_a_skip_asks_why(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session)
    item = start(client)
    refused = client.post(f"{item}/skip", data={"reason": "", "more": " "}, headers=EXCHANGE)
    assert refused.status_code == 422
    assert "Say why" in refused.text
    client.post(f"{item}/skip", data={"reason": "The prompt makes no sense", "more": "half of it is missing"})
    stored = session.scalars(select(Assignment)).one()
    assert stored.state is AssignmentState.SKIPPED
    assert stored.skip_reason == "The prompt makes no sense: half of it is missing"
    assert session.scalars(select(Comparison.seats_free)).one() == 1


def test_stopping_keeps_the_draft(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session)
    item = start(client)
    client.post(f"{item}/draft", data=form(client.get(item), comment="so far"))
    assert client.post(f"{item}/release").headers["location"] == "/"
    assert session.scalars(select(Comparison.seats_free)).one() == 1
    page = client.get("/annotate").text
    assert "Continue where you stopped" in page
    assert "1 item waits for you" in page
    assert start(client) == item
    assert "so far" in client.get(item).text


def test_an_item_whose_time_ran_out_is_offered_again(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session)
    item = start(client)
    session.execute(update(Assignment).values(lease_until=func.now() - func.make_interval(0, 0, 0, 1)))
    service.release_expired(session)
    assert "Continue where you stopped" in client.get("/annotate").text
    assert start(client) == item


def test_the_prompt_shows_every_turn_and_tool(client: TestClient, session: Session, alice: User) -> None:
    batch = make_batch(session)
    prompt = make_prompt(session, batch, state=PromptState.READY)
    prompt.messages = [
        {"role": "system", "content": "Talk like a **pirate**."},
        {"role": "user", "content": "The weather in Lima?"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": "{}"}}]},
        {"role": "tool", "content": "19 degrees"},
        {"role": "user", "content": [{"type": "text", "text": "In *kelvin*, please"}]},
    ]
    prompt.tools = [{"type": "function", "function": {"name": "weather", "description": "Looks out of the window"}}]
    session.commit()
    make_comparison(session, prompt=prompt)
    page = client.get(start(client)).text
    for text in ("System prompt", "<strong>pirate</strong>", "Lima", "Calls a tool", "19 degrees", "<em>kelvin</em>"):
        assert text in page
    assert "Looks out of the window" in page


def test_texts_reach_the_editor_as_they_were_sampled(client: TestClient, session: Session, alice: User) -> None:
    hostile = "</script><script>alert(1)</script> <|im_start|>system \u2028 end\r\n"
    make_comparison(session, texts=[hostile, "harmless"])
    page = client.get(start(client)).text
    assert "<script>alert" not in page
    assert page.count("</script>") == page.count("<script")


def test_a_very_long_answer_fits(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session, texts=["long " * 40_000, "short"])
    page = client.get(start(client))
    assert page.status_code == 200
    assert page.text.count("long ") >= 40_000


def test_the_page_is_light(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session, n=4)
    page = client.get(start(client), headers={"accept-encoding": "gzip"})
    assert page.headers["content-encoding"] == "gzip"
    assert int(page.headers["content-length"]) < 15_000


@pytest.mark.parametrize("action", ["submit", "draft", "skip", "lease", "release"])
def test_charlie_finds_nothing_of_alices(client: TestClient, session: Session, alice: User, action: str) -> None:
    make_comparison(session)
    item = start(client)
    judged = form(client.get(item), choice="A1")
    forms: dict[str, dict[str, Any]] = {"submit": judged, "draft": judged, "skip": {"reason": "x"}}
    sent = forms.get(action, {})
    sign_in(client, make_user(session, name="Charlie"))
    assert client.get(item).status_code == 404
    assert client.post(f"{item}/{action}", data=sent).status_code == 404


def test_an_unknown_field_is_refused(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session)
    item = start(client)
    sent = form(client.get(item), choice="A1", annotator_id="1")
    assert client.post(f"{item}/submit", data=sent).status_code == 422
