"""Responses that called tools, as people read them: each call, each result, errors marked, and nothing of who wrote it."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.candidates.traces import blind, steps_of
from tests.annotations.test_pages import start
from tests.factories import make_annotation, make_steps, make_traced, make_user, sign_in

ARABIC, CHINESE = "ما هو ضعف ٢١؟", "二十一的两倍是多少？"


def test_each_call_has_its_arguments_and_its_result_and_errors_are_marked() -> None:
    steps = make_steps("x" * 500, said="I *calculate*.", expression="21*2", more={"a": [1]})
    [step] = steps_of([*steps[:1], steps[1] | {"failed": True}])
    [call] = step.calls
    assert "<em>calculate</em>" in step.html
    assert [(each.name, each.value) for each in call.arguments] == [
        ("expression", "21*2"),
        ("more", '{\n  "a": [\n    1\n  ]\n}'),
    ]
    assert (call.name, call.failed, len(call.result), len(call.excerpt)) == ("calculator", True, 500, 80)


def test_a_call_without_an_answer_and_arguments_that_are_no_json_are_shown_all_the_same() -> None:
    steps = make_steps("")
    steps[0]["tool_calls"][0]["function"]["arguments"] = "{broken"
    [step] = steps_of(steps[:1])
    assert [(each.name, each.value) for each in step.calls[0].arguments] == [("", "{broken")]
    assert steps_of(None) == []


def test_the_way_in_which_a_model_writes_calls_is_told_to_nobody() -> None:
    assert all("said" not in message for message in blind(make_steps("42", expression="21*2")))
    assert blind(None) == []


def test_the_judging_page_shows_the_trace_above_the_answer_without_scripts(
    client: TestClient, session: Session
) -> None:
    sign_in(client, make_user(session))
    make_traced(session, make_steps("42", said=CHINESE, expression=ARABIC), make_steps("no", failed=True), None)
    page = client.get(start(client)).text
    assert page.count('<section class="trace"') == 2
    assert page.count('<details class="trace__result">') == 1
    assert page.count("trace__result--failed") == 1
    assert CHINESE in page
    assert f'<dd dir="auto">{ARABIC}</dd>' in page
    assert "function=" not in page, "the calls as the model wrote them"
    assert "call_1" not in page
    assert page.index(CHINESE) < page.index("It is 42.</p>")


def test_the_interface_tells_the_steps_with_each_response(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session))
    make_traced(session, make_steps("42", expression="21*2"), None)
    item = client.post("/api/v1/annotate/next").json()
    steps = sorted((response["text"], len(response["steps"])) for response in item["responses"])
    assert steps == [("It is 42.", 2), ("It is 43.", 0)]
    assert "said" not in str([response["steps"] for response in item["responses"]])


def test_reviewers_and_the_annotator_see_it_afterwards(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    comparison = make_traced(session, make_steps("42", expression="21*2"), None)
    annotation = make_annotation(session, alice, comparison)
    sign_in(client, alice)
    assert '<section class="trace"' in client.get(f"/assignments/{annotation.assignment_id}").text
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    assert '<section class="trace"' in client.get(f"/review/annotations/{annotation.id}").text
    page = client.get(f"/prompts/{comparison.prompt_id}").text
    assert len(re.findall('<section class="trace"', page)) == 1
    assert "function=" not in page
