"""What a client does with answers that are late, broken, refused or another's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.client import BadInput, Client, Conflict, CorralError, NoAnswer, NotFound, SignedOut, TooMany, Unavailable
from app.client import wire as wires

ME = {"id": 1, "name": "A", "email": "a@b.c", "role": "admin", "pseudonym": "p", "languages": [], "new": "field"}
Answering = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every pause; none takes time."""
    found: list[float] = []
    monkeypatch.setattr(wires.time, "sleep", found.append)  # type: ignore[attr-defined]
    return found


def talking(answering: Answering, tries: int = 4) -> Client:
    transport = httpx.MockTransport(answering)
    return Client(
        "http://corral",
        "secret",
        tries=tries,
        progress=False,
        http=httpx.Client(base_url="http://corral", transport=transport),
    )


def problem(status: int, detail: str = "No.", **more: Any) -> httpx.Response:
    return httpx.Response(status, json={"detail": detail, **more}, headers={"content-type": "application/problem+json"})


def in_turn(*answers: httpx.Response | Exception) -> tuple[Answering, list[httpx.Request]]:
    left, asked = list(answers), []

    def answering(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return answering, asked


def test_a_write_is_sent_again_under_the_same_key_until_it_is_answered(pauses: list[float]) -> None:
    made: dict[str, Any] = {"training_runs": []}
    answering, asked = in_turn(
        httpx.ConnectError("refused"),
        problem(503),
        httpx.ReadTimeout("late"),
        httpx.Response(202, json=made),
    )
    assert talking(answering).train() == []
    keys = {request.headers["idempotency-key"] for request in asked}
    assert (len(asked), len(keys)) == (4, 1)
    assert all(request.headers["authorization"] == "Bearer secret" for request in asked)
    assert len(pauses) == 3
    assert pauses == sorted(pauses), "each pause is longer than the one before"


def test_a_file_is_sent_again_whole(pauses: list[float], tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Why?"}\n' * 500)
    bodies: list[bytes] = []

    def answering(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return problem(503 if len(bodies) < 3 else 409)

    with pytest.raises(Conflict):
        talking(answering).create_batch(tmp_path / "prompts.jsonl", name="Whys")
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
    assert bodies[0].count(b"Why?") == 500


def test_another_write_has_another_key(pauses: list[float]) -> None:
    answering, asked = in_turn(*[httpx.Response(202, json={"training_runs": []}) for _ in range(2)])
    corral = talking(answering)
    corral.train()
    corral.train()
    assert len({request.headers["idempotency-key"] for request in asked}) == 2


def test_the_server_says_how_long_to_wait_up_to_a_minute(pauses: list[float]) -> None:
    answers = [problem(429) for _ in range(2)]
    answers[0].headers["retry-after"], answers[1].headers["retry-after"] = "7", "86400"
    answering, _ = in_turn(*answers, httpx.Response(200, json=ME))
    assert talking(answering).me().name == "A"
    assert pauses == [7.0, wires.LONGEST]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, SignedOut), (404, NotFound), (409, Conflict), (422, BadInput), (429, TooMany), (503, Unavailable)],
)
def test_a_refusal_is_an_error_of_its_kind_with_what_was_said(
    pauses: list[float], status: int, kind: type[CorralError]
) -> None:
    errors = [{"line": 12, "reason": "is empty"}, {"loc": "settings.name", "msg": "is taken"}]
    answering, asked = in_turn(*[problem(status, "This cannot be used.", errors=errors) for _ in range(4)])
    with pytest.raises(kind) as caught:
        talking(answering).me()
    assert str(caught.value) == "This cannot be used.\n  line 12: is empty\n  settings.name: is taken"
    assert len(asked) == (4 if status in {429, 503} else 1), "what will not change is asked once"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, text="<html>Bad gateway</html>"),
        httpx.Response(404, text="nginx"),
        httpx.Response(500, json=["no problem"]),
        httpx.Response(200, text="<html>Sign in to the hotel's network</html>"),
        httpx.Response(200, json={"id": "not Corral"}),
        httpx.Response(301, headers={"location": "https://corral/api/v1/me"}),
    ],
)
def test_what_is_not_corral_is_said_to_be_that(pauses: list[float], answer: httpx.Response) -> None:
    answering, _ = in_turn(*[answer] * 4)
    with pytest.raises(NoAnswer):
        talking(answering).me()


def test_where_nobody_answers_the_address_is_named(pauses: list[float]) -> None:
    answering, asked = in_turn(*[httpx.ConnectError("Connection refused")] * 3)
    with pytest.raises(NoAnswer, match="http://corral/api/v1/me does not answer: Connection refused"):
        talking(answering, tries=3).me()
    assert len(asked) == 3


def test_pages_follow_one_another_and_none_is_asked_twice(pauses: list[float]) -> None:
    page = {"annotators": [], "next": 9}
    answering, asked = in_turn(httpx.Response(200, json=page), httpx.Response(200, json=page | {"next": None}))
    assert list(talking(answering).annotators()) == []
    assert [dict(request.url.params) for request in asked] == [{"limit": "100"}, {"after": "9", "limit": "100"}]


class Breaking(httpx.SyncByteStream):
    """A body that ends in the midst of a row."""

    def __iter__(self) -> Any:
        yield json.dumps({"row": 1}).encode() + b"\n" + b'{"row'
        raise httpx.ReadError("gone")


def test_an_export_that_breaks_off_leaves_no_file_and_is_no_end(pauses: list[float], tmp_path: Path) -> None:
    answering, _ = in_turn(*[httpx.Response(200, stream=Breaking()) for _ in range(2)])
    corral = talking(answering)
    with pytest.raises(NoAnswer, match="broke off"):
        corral.export(tmp_path / "rows.jsonl")
    assert list(tmp_path.iterdir()) == []
    rows = corral.rows()
    assert next(rows) == {"row": 1}
    with pytest.raises(NoAnswer, match="broke off"):
        next(rows)


def test_a_run_that_failed_ends_the_wait_with_what_to_do(pauses: list[float]) -> None:
    run = {
        "id": 7, "round": 1, "kind": "dpo", "trainer": "corral", "state": "running", "snapshot_id": 1, "after_run_id": None,
        "checkpoint": None, "step": 3, "total_steps": 9, "baseline": {}, "metrics": {},
        "learns_from": "all rounds", "sources": [],
        "error": None, "remedy": None, "created_at": "2026-01-01T00:00:00Z", "started_at": None, "finished_at": None,
    }  # fmt: skip
    failed = run | {"state": "failed", "error": "The disk is full.", "remedy": "Free some space, then retry."}
    answering, _ = in_turn(*[httpx.Response(200, json=each) for each in (run, failed)])
    with pytest.raises(CorralError, match=r"Run 7 failed\. The disk is full\. Free some space, then retry\."):
        talking(answering).wait_for_run(7)
    answering, _ = in_turn(*[httpx.Response(200, json=run)] * 2)
    with pytest.raises(TimeoutError, match="in vain for run 7"):
        talking(answering).wait_for_run(7, seconds=0.0)
