"""What people say of answers that a judge has judged, and whether that admits the judge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, User
from app.comparisons.models import JudgementRead
from app.findings import judging, service
from app.findings.models import FactLabel, Finding, Verdict
from app.findings.queries import chip_of
from app.kernel.errors import NotFound
from tests.factories import make_assignment, sign_in
from tests.findings import judges
from tests.findings.checking import checkable, found, submit
from tests.findings.judges import JUDGE, SOURCE, judged, labelled
from tests.findings.test_api import token
from workers.verifiers import judging as rule


@pytest.fixture(autouse=True)
def _a_judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with judges.judging(monkeypatch):
        yield


def test_the_rule_of_the_application_is_that_of_the_verifiers() -> None:
    assert (judging.ENOUGH, judging.FEWEST_LABELS) == (rule.ENOUGH, rule.FEWEST_LABELS)
    assert [each.value for each in Verdict] == [each.value for each in rule.Verdict]
    for labels in range(201):
        for agreed in range(labels + 1):
            here, there = judging.Standing(JUDGE, agreed, labels), rule.Agreement(agreed, labels)
            assert here.admitted is there.decides_alone, (agreed, labels)
            assert here.interval == pytest.approx(there.interval, abs=1e-4)


@pytest.mark.parametrize(
    ("agreed", "labels", "words"),
    [
        (0, 0, "Nobody has labelled an answer that it judged; 50 are the least."),
        (9, 10, "9 of 10 answers (60% to 98%). It is not yet admitted: 50 labels are the least."),
        (60, 60, "60 of 60 answers (94% to 100%). It is admitted: its verdicts count."),
        (50, 60, "50 of 60 answers (72% to 91%). It is not admitted: the whole interval must lie above 80%."),
    ],
)
def test_a_standing_in_words(agreed: int, labels: int, words: str) -> None:
    assert judging.Standing(JUDGE, agreed, labels).words.endswith(words)


def test_agreement_is_counted_by_answer_and_the_latest_label_counts(session: Session, rita: User, bob: User) -> None:
    labelled(session, rita, 7, 10)
    assert judging.agreement(session, JUDGE) == (7, 10)
    assert judging.agreement(session, "rival/another") == (0, 0)
    first = session.scalars(select(FactLabel).order_by(FactLabel.id).limit(1)).one().finding_id
    session.add(FactLabel(finding_id=first, verdict=Verdict.INCORRECT, labelled_by_id=bob.id))
    session.flush()
    assert judging.agreement(session, JUDGE) == (6, 10)


def test_a_judge_without_a_verdict_does_not_agree(session: Session, rita: User) -> None:
    judged(session, verdict="correct")
    key = session.scalars(select(Finding.id).order_by(Finding.id).limit(1)).one()
    judging.label(session, rita, key, Verdict.CORRECT)
    assert judging.agreement(session, JUDGE) == (1, 1)
    one = session.get_one(Finding, key)
    later = {name: getattr(one, name) for name in ("check_id", "candidate_id", "verifier", "version", "case_hash")}
    session.add(Finding(**later, fencing_token=99, message="", evidence={"judge": JUDGE, "said": "It is correct."}))
    session.flush()
    assert judging.agreement(session, JUDGE) == (0, 1)


def test_rita_labels_without_seeing_what_the_judge_says(client: TestClient, session: Session, rita: User) -> None:
    comparison = judged(session, "At <b>nine</b>.", "<think>Hm.</think>At ten.", verdict="incorrect")
    sign_in(client, rita)
    for number, answer in enumerate(["At &lt;b&gt;nine&lt;/b&gt;.", "At ten."]):
        page = client.get("/checks").text
        assert "Judge of facts" in page
        assert SOURCE in page
        assert answer in page
        assert "Hm." not in page
        assert "incorrect" not in page.replace('value="incorrect"', "")
        action = page.partition('action="/findings/')[2].partition('"')[0]
        answered = client.post(f"/findings/{action}", data={"verdict": "correct"})
        assert (answered.status_code, answered.headers["location"]) == (303, "/checks#facts")
        assert session.scalar(select(func.count()).select_from(FactLabel)) == number + 1
    page = client.get("/checks").text
    assert "It agrees with people on 0 of 2 answers" in page
    assert "No answer waits for a label." in page
    read = select(JudgementRead.prompt_id).where(JudgementRead.user_id == rita.id)
    assert session.scalars(read).all() == [comparison.prompt_id], "who has seen the source does not judge the prompt"
    events = session.scalars(select(AuditEvent).where(AuditEvent.action == "finding.label")).all()
    assert [(event.actor_id, event.details["verdict"]) for event in events] == [(rita.id, "correct")] * 2


def test_the_same_in_json(client: TestClient, session: Session, rita: User, alice: User) -> None:
    judged(session)
    headers = token(session, rita)
    assert client.get("/api/v1/checks/judge", headers=headers).json() == {
        "judge": JUDGE,
        "agreed": 0,
        "labels": 0,
        "low": 0.0,
        "high": 1.0,
        "admitted": False,
    }
    answer = client.get("/api/v1/checks/facts", headers=headers).json()["answer"]
    assert (answer["source"], answer["answer"]) == (SOURCE, "At nine.")
    url = f"/api/v1/findings/{answer['finding_id']}/label"
    assert client.post(url, json={"verdict": "wrong"}, headers=headers).status_code == 422
    key = {"idempotency-key": "once"}
    for _ in range(2):
        said = client.post(url, json={"verdict": "correct"}, headers=headers | key)
        assert (said.status_code, said.json()["agreed"], said.json()["labels"]) == (200, 1, 1)
    assert session.scalar(select(func.count()).select_from(FactLabel)) == 1
    for path in ("/checks/judge", "/checks/facts"):
        assert client.get(f"/api/v1{path}", headers=token(session, alice)).status_code == 403
    assert client.post(url, json={"verdict": "correct"}, headers=token(session, alice)).status_code == 403
    assert client.post("/api/v1/findings/0/label", json={"verdict": "correct"}, headers=headers).status_code == 404


def test_alice_labels_nothing(client: TestClient, session: Session, alice: User) -> None:
    judged(session)
    sign_in(client, alice)
    key = session.scalars(select(Finding.id).limit(1)).one()
    assert client.post(f"/findings/{key}/label", data={"verdict": "correct"}).status_code in {403, 404}


def test_an_item_that_the_reviewer_is_judging_is_not_shown_with_its_source(session: Session, rita: User) -> None:
    comparison = judged(session)
    make_assignment(session, rita, comparison)
    assert judging.next_unlabelled(session, rita) is None
    key = session.scalars(select(Finding.id).limit(1)).one()
    with pytest.raises(NotFound):
        judging.label(session, rita, key, Verdict.CORRECT)


def test_what_is_no_finding_of_facts_is_not_labelled(session: Session, rita: User) -> None:
    checkable(session)
    held = service.claim(session)
    assert held is not None
    service.record(session, held, "0" * 64, [found(), found(None, "No judge of facts is set up", "facts")])
    for key in session.scalars(select(Finding.id)):
        with pytest.raises(NotFound):
            judging.label(session, rita, key, Verdict.CORRECT)
    assert judging.next_unlabelled(session, rita) is None


def test_labels_are_append_only(session: Session, rita: User) -> None:
    labelled(session, rita, 1, 1)
    for statement in ("UPDATE fact_labels SET verdict = 'incorrect'", "DELETE FROM fact_labels"):
        with pytest.raises(DBAPIError, match="append-only"), session.begin_nested():
            session.execute(text(statement))


def test_what_a_judge_says_that_is_not_admitted_is_shown_to_nobody() -> None:
    said = {"verifier": "facts", "version": "1", "message": "m"}
    evidence = {"judge": JUDGE, "verdict": "incorrect", "informative": True, "said": "It is wrong."}
    assert "incorrect" in chip_of(said | {"passed": False, "evidence": evidence}).evidence
    hidden = chip_of(said | {"passed": None, "evidence": evidence}).evidence
    assert JUDGE in hidden
    assert "incorrect" not in hidden
    assert "wrong" not in hidden


def test_an_installation_without_a_judge_shows_none(
    client: TestClient, session: Session, rita: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = make_assignment(session, alice, judged(session))
    submit(session, alice, item)
    with judges.judging(monkeypatch, CORRAL_JUDGE=""):
        sign_in(client, rita)
        assert "Judge of facts" not in client.get("/checks").text
        assert client.get("/api/v1/checks/judge", headers=token(session, rita)).json()["judge"] is None
        assert client.get("/api/v1/checks/facts", headers=token(session, rita)).json() == {"answer": None}
