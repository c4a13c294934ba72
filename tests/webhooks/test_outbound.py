"""What is sent arrives, and what hangs, points elsewhere or lies inside is said to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certified import certificate
from tests.webhooks.receiving import Receiver, receiving
from workers import outbound

INSIDE = ["127.0.0.1"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def post(url: str, inside: list[str] = INSIDE) -> str | None:
    """Why it was not taken."""
    try:
        asyncio.run(outbound.post(url, b'{"type":"test"}', {"webhook-id": "msg_1"}, inside))
    except outbound.NotTaken as error:
        return str(error)
    return None


def test_what_is_sent_arrives_as_it_is(receiver: Receiver) -> None:
    assert post(receiver.url) is None
    ((headers, body),) = receiver.arrived
    assert (headers["webhook-id"], headers["content-type"], body) == ("msg_1", "application/json", b'{"type":"test"}')
    assert headers["host"] == receiver.url.split("/")[2]


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_an_answer_that_is_no_yes_is_named(receiver: Receiver, status: int) -> None:
    receiver.status = status
    assert post(receiver.url) == f"It answers {status}."


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    with receiving() as other:
        receiver.status, receiver.headers = 307, {"location": other.url}
        assert "a redirect, which is not followed" in (post(receiver.url) or "")
        assert other.arrived == []


def test_a_certificate_of_our_own_authority_is_believed_where_the_environment_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificate(tmp_path)
    with receiving(files) as receiver:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        assert "CERTIFICATE_VERIFY_FAILED" in (post(receiver.url) or "")
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
        assert post(receiver.url) is None
        assert len(receiver.arrived) == 1


def test_what_hangs_is_given_up(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "SECONDS", 0.3)
    receiver.hangs = True
    assert (post(receiver.url) or "").startswith("It did not answer within")


def test_nobody_there_is_said(receiver: Receiver) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert "The connection failed" in (post(f"http://127.0.0.1:{free.getsockname()[1]}/") or "")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]"]
)
def test_inside_is_not_reached_by_any_of_its_names(receiver: Receiver, host: str) -> None:
    port = receiver.url.split(":")[2].split("/")[0]
    said = post(f"http://{host}:{port}/hook", [])
    assert said is not None
    assert "not the internet's" in said or "leads nowhere" in said
    assert receiver.arrived == []


def test_a_name_that_leads_elsewhere_the_second_time_is_asked_once(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding: what was looked at is what is connected to."""
    asked: list[str] = []

    async def resolving(_: Any, host: str, port: int, **__: Any) -> list[Any]:
        asked.append(host)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14" if len(asked) == 1 else "127.0.0.1", port))
        ]

    connected: list[str] = []

    async def connect(*_: Any, remote_host: str, **__: Any) -> Any:
        connected.append(remote_host)
        raise OSError("no way out of a test")

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", resolving)
    monkeypatch.setattr("anyio.connect_tcp", connect)
    assert "The connection failed" in (post("http://rebinding.example:80/", []) or "")
    assert asked == ["rebinding.example"]
    assert connected == ["93.184.215.14"]
