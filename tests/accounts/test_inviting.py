"""Many people are invited in one act, by links or by mail; a list that cannot be read invites nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import unescape

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope
from aiosmtpd.smtp import Session as Visit
from fastapi.testclient import TestClient
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.accounts import inviting, queries, service
from app.accounts.inviting import Guest
from app.accounts.models import AuditEvent, Invite, Role, User
from app.kernel.db import session_scope
from app.kernel.errors import BadInput, Conflict
from app.kernel.jobs import Job
from app.kernel.settings import Settings, get_settings
from app.services.embedded import free_port
from tests.factories import PASSWORD, make_user, sign_in
from workers.tasks.mails import mail

A, B = "alice@example.org", "carol@example.org"


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


# ── Who is meant ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "pasted",
    [
        f"{A}\n{B}",
        f"{A}, {B}",
        f"\n  {A};{B} ;\n\n",
        f"Alice Liddell <{A}>, “Carol” <{B}>",
        f'"Liddell, Alice" <{A.upper()}>; {B}\n{A}',
        f"\ufeffemail\n{A}\n{B}\n",
        f"Liddell, Alice <{A}>; Carol <{B}>",
        f"Name,E-Mail,team\nAlice,{A},one\n\nCarol,{B},two",
        f'name;mail\n"Liddell; Alice";{A}\nCarol;{B}',
        f"name\temail\r\nAlice\t{A}\r\nCarol\t{B}\r\n",
    ],
)
def test_addresses_are_read_as_people_paste_them(pasted: str) -> None:
    assert inviting.guests(pasted, Role.REVIEWER) == [Guest(A, Role.REVIEWER), Guest(B, Role.REVIEWER)]


def test_a_table_can_say_who_is_what() -> None:
    pasted = f"role,email\nReviewer,{A}\n,{B}"

    assert inviting.guests(pasted, Role.ANNOTATOR) == [Guest(A, Role.REVIEWER), Guest(B, Role.ANNOTATOR)]


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        (f"{A}\nnobody\n{B}", "line 2: “nobody” is not an e-mail address"),
        (f"email,role\n{A},boss", "line 2: “boss” is not a role; roles are admin, reviewer, annotator"),
        (f"email,role\n{A},admin\n{A},annotator", f"line 3: {A} stands there with two roles"),
        ("a\nb\nc\nd\ne\nf\ng", "and 2 more"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_line(pasted: str, said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        inviting.guests(pasted, Role.ANNOTATOR)


def test_a_crowd_is_refused_whole() -> None:
    with pytest.raises(BadInput, match="These are 501 people"):
        inviting.guests(",".join(f"p{number}@example.org" for number in range(501)), Role.ANNOTATOR)


# ── Links ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_twenty_people_are_invited_by_one_form_and_each_link_is_one_persons(
    client: TestClient, session: Session, bob: User
) -> None:
    pasted = "\n".join(f"person{number}@example.org" for number in range(20))
    page = sign_in(client, bob).post(
        "/users/invites", data={"role": "annotator", "addresses": pasted, "password": PASSWORD}
    )
    links = re.findall(r"(person\d+@example.org)\tannotator\thttp://testserver/invite/([\w-]+)", unescape(page.text))
    assert len({secret for _, secret in links}) == 20
    for email, secret in links:
        assert queries.find_invite(session, secret).email == email
    assert session.scalar(select(func.count()).where(AuditEvent.action == "invite.created")) == 20
    assert links[0][1] not in client.get("/users").text


def test_a_list_that_is_half_wrong_invites_nobody_and_is_not_typed_again(
    client: TestClient, session: Session, bob: User
) -> None:
    form = {"role": "reviewer", "addresses": f"{A}\n<nobody", "password": PASSWORD}
    page = sign_in(client, bob).post("/users/invites", data=form)
    assert page.status_code == 422
    assert "line 2" in page.text
    assert f"{A}\n&lt;nobody</textarea>" in page.text
    assert queries.open_invites(session) == []


def test_who_is_here_is_left_and_who_is_invited_gets_a_new_link(session: Session, bob: User) -> None:
    alice = make_user(session)
    earlier = service.create_invite(session, role=Role.ANNOTATOR, created_by=bob, email=B)
    people = [Guest(alice.email, Role.ADMIN), Guest(B, Role.REVIEWER)]
    outcome = inviting.invite_all(session, bob, people, mail=False)
    assert outcome.present == [alice.email]
    assert alice.role is Role.ANNOTATOR
    [made] = outcome.invited
    assert made.secret != earlier
    assert [invite.id for invite in queries.open_invites(session)] == [made.id]


def test_a_program_invites_a_list_and_reads_the_links_once(client: TestClient, session: Session, bob: User) -> None:
    wish = {"role": "annotator", "people": [{"email": A}, {"email": B, "role": "reviewer"}], "password": PASSWORD}
    made = sign_in(client, bob).post("/api/v1/users/invites/many", json=wish, headers={"idempotency-key": "one"})
    assert made.status_code == 201
    assert [(each["email"], each["role"]) for each in made.json()["invites"]] == [(A, "annotator"), (B, "reviewer")]
    again = client.post("/api/v1/users/invites/many", json=wish, headers={"idempotency-key": "one"})
    assert again.status_code == 409
    assert made.json()["invites"][0]["link"] not in again.text
    assert len(queries.open_invites(session)) == 2
    wrong = client.post("/api/v1/users/invites/many", json=wish | {"people": [{"email": A}, {"email": "b"}]})
    assert wrong.status_code == 422
    assert "entry 2" in wrong.text
    mailed = client.post("/api/v1/users/invites/many", json=wish | {"mail": True})
    assert mailed.status_code == 422
    assert "CORRAL_SMTP_URL" in mailed.text


# ── Mails ────────────────────────────────────────────────────────────────────────────────────────────────────────────
class Box:
    """What a mail server took; ``refuses`` are answered with 550."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refuses: set[str] = set()

    async def handle_RCPT(  # noqa: N802 - the server's name
        self, server: SMTP, visit: Visit, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuses:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, visit: Visit, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        parsed = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        self.mails.append(parsed)
        return "250 OK"


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    """A real mail server, and an installation that uses it."""
    box, port = Box(), free_port()
    server = Controller(box, hostname="127.0.0.1", port=port)
    monkeypatch.setenv("CORRAL_SMTP_URL", f"smtp+plain://127.0.0.1:{port}")
    monkeypatch.setenv("CORRAL_MAIL_FROM", "corral@example.org")
    monkeypatch.setenv("CORRAL_PUBLIC_URL", "http://testserver")
    get_settings.cache_clear()
    server.start()
    try:
        yield box
    finally:
        server.stop()
        get_settings.cache_clear()


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What was rung, in order; nothing is sent."""
    rung: list[Job] = []

    def note(job: Job, *_: int) -> bool:
        rung.append(job)
        return True

    monkeypatch.setattr("app.kernel.jobs.ring", note)
    return rung


def states() -> list[tuple[str | None, bool, bool, str | None]]:
    with session_scope() as session:
        return [
            (each.email, each.mailed_at is not None, each.mail_due_at is not None, each.mail_error)
            for each in session.scalars(select(Invite).order_by(Invite.id))
        ]


@pytest.mark.usefixtures("committed")
def test_mails_carry_links_that_stand_nowhere_else(box: Box, jobs: list[Job]) -> None:
    with session_scope() as session:
        bob = make_user(session, Role.ADMIN, "Bob")
        outcome = inviting.invite_all(session, bob, [Guest(A, Role.ANNOTATOR), Guest(B, Role.REVIEWER)], mail=True)
        assert [each.secret for each in outcome.invited] == [None, None]
    assert Job.MAIL in jobs
    box.refuses = {B}
    assert mail() == 1
    [sent] = box.mails
    said = sent.get_content()
    assert (sent["To"], sent["From"]) == (A, "corral@example.org")
    assert "Bob invites you to Corral as annotator" in said
    link = re.search(r"http://testserver/invite/([\w-]+)", said)
    assert link
    with session_scope() as session:
        assert queries.find_invite(session, link[1]).email == A
    why = "The mail server did not take it: 550 no such mailbox."
    assert states() == [(A, True, False, None), (B, False, True, why)]
    assert mail() == 0, "what was refused waits"
    box.refuses = set()
    with session_scope() as session:
        session.execute(text("UPDATE invites SET mail_due_at = now() WHERE mail_due_at IS NOT NULL"))
        inviting.ring_if_due(session)
    assert jobs[-1] is Job.MAIL
    assert mail() == 1
    assert states()[1] == (B, True, False, None)


@pytest.mark.usefixtures("committed")
def test_a_server_that_is_away_is_tried_again_and_then_the_admin_decides(
    monkeypatch: pytest.MonkeyPatch, box: Box, jobs: list[Job]
) -> None:
    with session_scope() as session:
        bob = make_user(session, Role.ADMIN, "Bob")
        inviting.invite_all(session, bob, [Guest(A, Role.ANNOTATOR)], mail=True)
    monkeypatch.setenv("CORRAL_SMTP_URL", f"smtp+plain://127.0.0.1:{free_port()}")
    get_settings.cache_clear()
    for _ in range(len(inviting.PAUSES) + 1):
        assert mail() == 0
        with session_scope() as session:
            session.execute(text("UPDATE invites SET mail_due_at = now() WHERE mail_due_at IS NOT NULL"))
    [(_, sent, due, why)] = states()
    assert (sent, due) == (False, False)
    assert why is not None
    assert why.startswith("The mail server cannot be used: ")
    assert not box.mails
    jobs.clear()
    with session_scope() as session:
        [invite] = queries.open_invites(session)
        inviting.mail_again(session, bob, invite.id)
    assert states() == [(A, False, True, None)]
    assert jobs == [Job.MAIL]


def test_the_page_says_what_became_of_each_mail(box: Box, client: TestClient, session: Session, bob: User) -> None:
    form = {"role": "annotator", "addresses": f"{A}\n{B}", "mail": "true", "password": PASSWORD}
    page = sign_in(client, bob).post("/users/invites", data=form).text
    assert "2 invites are on the way by e-mail" in page
    assert "/invite/" not in page.replace("/users/invites", "")
    carol, alice = queries.open_invites(session)
    alice.mailed_at, alice.mail_due_at, carol.mail_error = func.now(), None, "The mail server said no."
    session.flush()
    page = client.get("/users").text
    assert "The mail server said no. Tried again soon." in re.sub(r"<[^>]+>", "", page)
    assert client.post(f"/users/invites/{carol.id}/mail").status_code == 303
    assert "no." not in client.get("/users").text.partition("Accounts")[0].partition("Open invites")[2]
    made = client.post(f"/api/v1/users/invites/{alice.id}/mail").json()
    assert (made["mail_error"], made["mail_due_at"] is None) == (None, False)


@pytest.mark.usefixtures("committed")
def test_an_invite_that_was_used_meanwhile_is_not_mailed(box: Box) -> None:
    with session_scope() as session:
        bob = make_user(session, Role.ADMIN, "Bob")
        [made] = inviting.invite_all(session, bob, [Guest(A, Role.ANNOTATOR)], mail=True).invited
        service.withdraw_invite(session, bob, made.id)
    assert mail() == 0
    assert not box.mails
    assert states() == [(A, False, False, None)]


def test_without_a_mail_server_an_invite_cannot_be_mailed(session: Session, bob: User) -> None:
    service.create_invite(session, role=Role.ANNOTATOR, created_by=bob, email=A)
    with pytest.raises(Conflict, match="No mail can be sent"):
        inviting.mail_again(session, bob, queries.open_invites(session)[0].id)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"smtp_url": "mail.example"}, "smtp://NAME:PASSWORD@HOST:587"),
        ({"smtp_url": "smtp://mail.example"}, "CORRAL_MAIL_FROM"),
    ],
)
def test_half_of_the_settings_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        Settings(**given)  # type: ignore[arg-type]
