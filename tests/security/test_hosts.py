"""By which names requests may call the server, at every door; links and origin checks follow the name that was let in."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.types import Message

from app.accounts.models import Role
from app.kernel.settings import Settings, get_settings
from app.shell.hosts import HostCheck, refusal
from tests.factories import PASSWORD, make_user, sign_in
from tests.security.doors import Door
from tests.security.test_sockets import asked, serving

MINE = {"hosts": "web, Corral.Lan:8443, https://münchen.example, 2001:db8::7", "public_url": "https://corral.example/x"}


def why(named: str | None, server: str = "192.0.2.7", version: str = "1.1", **settings: str) -> str | None:
    """What is said to a request with this ``Host``."""
    headers = [] if named is None else [(b"host", named.encode("latin1"))]
    scope = {"type": "http", "http_version": version, "headers": headers, "server": (server, 8000)}
    return refusal(scope, get_settings().model_copy(update={"hosts": "", "host": "127.0.0.1"} | settings))


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST:8000", "localhost.", "corral.localhost:80", "127.0.0.1:9", "127.8.8.8", "[::1]:8000",
        "[::ffff:127.0.0.1]", "192.0.2.7", "192.0.2.7:8000", "web:8000", "corral.lan", "CORRAL.EXAMPLE.:443",
        "xn--mnchen-3ya.example", "[2001:DB8:0::7]:8000",
    ],
)  # fmt: skip
def test_the_server_answers_to_its_own_names(host: str) -> None:
    assert why(host, **MINE) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "corral.example.evil.example", "evilcorral.example", "sub.corral.example",
        "192.0.2.8", "10.0.0.1", "[2001:db8::8]", "0.0.0.0", "notlocalhost", "localhost.evil.example", "2130706433", "127.1",
        "", " ", ".", "..", "localhost..", ":8000", "localhost:8000@evil.example", "localhost:x", "localhost, evil.example",
        "localhost/evil", "localhost#", "localhost?", "user@localhost", "[::1", "::1", "[::1]evil", "[fe80::1%25eth0]",
        "löcalhost", "localhost\\evil", "web\t",
    ],
)  # fmt: skip
def test_no_other_name_is_answered_and_the_setting_is_named(host: str) -> None:
    said = why(host, **MINE)
    assert said
    assert ("CORRAL_HOSTS" in said) != ("one host" in said)


def test_an_address_of_the_connection_is_ours_in_either_form_and_a_name_is_not() -> None:
    assert why("10.0.0.5", server="::ffff:10.0.0.5") is None
    assert why("[fe80::1]", server="fe80::1%eth0") is None
    assert why("evil.example", server="evil.example")
    assert why("0.0.0.0:8000", host="0.0.0.0") is None


def test_only_an_old_client_may_name_no_host() -> None:
    assert why(None, version="1.0") is None
    assert "one host" in str(why(None))


@pytest.mark.parametrize("hosts", ["*", "*.example", ".example", "a, *", "https://", ":443", "a b"])
def test_a_setting_that_names_no_host_is_refused(hosts: str) -> None:
    with pytest.raises(ValidationError, match="names no host"):
        Settings(hosts=hosts)


@pytest.mark.parametrize(
    "url", ["corral.example", "corral.example:80", "https://", "https://:443", "ftp://corral.example"]
)
def test_a_public_address_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="full address"):
        Settings(public_url=url)


def test_a_name_of_somebody_else_is_refused_at_every_door(stranger: TestClient, all_doors: list[Door]) -> None:
    for door in all_doors:
        answer = stranger.request(door.method, door.url(), headers={"host": "evil.example"})
        assert answer.status_code == 400, door
        if door.method != "HEAD":
            assert "CORRAL_HOSTS" in answer.text, door
        if door.template.startswith("/api/"):
            assert answer.headers["content-type"] == "application/problem+json", door
        assert {"x-request-id", "content-security-policy"} <= answer.headers.keys(), door
        assert "evil" not in str(answer.headers), door


@pytest.mark.parametrize("path", ["/static/css/app.css", "/no/such/page", "/login", "/healthz"])
def test_what_is_no_door_is_refused_as_well(stranger: TestClient, path: str) -> None:
    assert stranger.get(path, headers={"host": "evil.example"}).status_code == 400


def test_two_names_are_refused_whichever_is_ours(stranger: TestClient) -> None:
    for names in (["testserver", "evil.example"], ["evil.example", "testserver"], ["testserver", "testserver"]):
        answer = stranger.get("/login", headers=[("host", each) for each in names])
        assert answer.status_code == 400
        assert "one host" in answer.text


@pytest.mark.parametrize(
    ("forged", "status"),
    [
        ({"host": "evil.example"}, 400),
        ({"host": "testserver:80@evil.example"}, 400),
        ({"x-forwarded-host": "evil.example"}, 200),
        ({"forwarded": "host=evil.example;proto=https"}, 200),
        ({"x-forwarded-server": "evil.example", "x-original-host": "evil.example", "x-host": "evil.example"}, 200),
        ({"x-forwarded-proto": "https", "x-forwarded-port": "1", "x-forwarded-prefix": "//evil.example"}, 200),
    ],
)
def test_a_forged_name_never_ends_up_in_an_invitation(
    client: TestClient, session: Session, forged: dict[str, str], status: int
) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    page = client.post("/users/invites", data={"role": "annotator", "password": PASSWORD}, headers=forged)
    assert page.status_code == status
    assert re.findall(r"https?://[\w.:@/-]*/invite/", page.text) == (
        ["http://testserver/invite/"] if status == 200 else []
    )


def test_a_page_that_is_led_to_our_address_may_send_nothing(web: FastAPI, session: Session) -> None:
    with TestClient(web, base_url="http://evil.example:8000", follow_redirects=False) as browser:
        answer = browser.post("/login", data={}, headers={"origin": "http://evil.example:8000"})
    assert answer.status_code == 400


def test_a_socket_that_is_kept_open_is_closed() -> None:
    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def connecting() -> Message:
        return {"type": "websocket.connect"}

    async def application(*_: Any) -> None:
        raise AssertionError("nobody asks it")

    scope = {"type": "websocket", "path": "/", "headers": [(b"host", b"evil.example")], "server": ("127.0.0.1", 1)}
    asyncio.run(HostCheck(application)(scope, connecting, send))
    assert [each["type"] for each in sent] == ["websocket.close"]


TARGETS = {
    b"/login": True,
    b"//evil.example/login": True,  # a path
    b"/login?next=http://evil.example": True,
    b"http://localhost/login": True,
    b"http://evil.example/login": False,
    b"HTTP://evil.example:80/login": False,
    b"http://localhost@evil.example/login": False,
    b"http://evil.example?x=/login": False,
    b"https://evil.example/": False,
}


@pytest.mark.parametrize(("target", "answered"), TARGETS.items(), ids=[each.decode() for each in TARGETS])
def test_a_target_that_names_a_host_counts_as_that_name(target: bytes, *, answered: bool, web: FastAPI) -> None:
    with serving(web) as port:
        said = asked(port, b"GET %s HTTP/1.1\r\nhost: localhost\r\n\r\n" % target)
    status = int(said.split(b" ")[1])
    assert (status != 400) == answered, said
