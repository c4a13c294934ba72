"""Passwords are hashed in a process of their own, which may end at any time and never outlives who asks it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts import argon, passwords
from app.accounts.hasher import Hasher
from app.kernel.errors import Unavailable
from app.kernel.settings import ROOT
from tests.factories import PASSWORD, make_user


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hasher]:
    """One whose process nobody else asks."""
    made = Hasher()
    monkeypatch.setattr(passwords, "_hasher", lambda: made)
    yield made
    made.end()


def test_a_password_is_hashed_and_verified_elsewhere_and_after_everything_else(hasher: Hasher) -> None:
    stored = passwords.rehash(PASSWORD)
    assert passwords.verify(stored, PASSWORD)
    assert not passwords.verify(stored, "another\npassword")
    assert not passwords.verify("no hash", PASSWORD)
    assert not hasher.check_needs_rehash(stored)
    [process] = hasher._free
    assert process.pid != os.getpid()
    assert psutil.Process(process.pid).nice() == min(argon.NICE, psutil.Process().nice() + argon.NICE)
    if sys.platform == "linux":
        assert len(os.sched_getaffinity(process.pid)) == (len(os.sched_getaffinity(0)) + 1) // 2


def test_one_that_ended_while_nobody_asked_costs_nobody_a_sign_in(hasher: Hasher) -> None:
    stored = hasher.hash(PASSWORD)
    [before] = hasher._free
    os.kill(before.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(before.pid)] if psutil.pid_exists(before.pid) else [], timeout=60)
    assert hasher.verify(stored, PASSWORD)
    assert [each.pid for each in hasher._free] != [before.pid]


def test_one_that_ends_over_a_password_means_one_clear_answer_and_the_next_try_works(
    hasher: Hasher, client: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = make_user(session)
    form = {"email": alice.email, "password": PASSWORD}
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("app.accounts.hasher.MODULE", "app.no_such_module")
        answer = client.post("/login", data=form)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "The password could not be checked at this moment" in answer.text
    assert hasher._free == []
    assert client.post("/login", data=form, follow_redirects=False).status_code == 303


def test_one_that_never_answers_is_given_up(hasher: Hasher, monkeypatch: pytest.MonkeyPatch) -> None:
    hasher.hash(PASSWORD)
    [process] = hasher._free
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr("app.accounts.hasher.ANSWER_SECONDS", 0)
    with pytest.raises(Unavailable):
        hasher.hash(PASSWORD)
    assert not process.lives()


def test_it_ends_with_its_server_however_that_ends() -> None:
    script = (
        "from app.accounts.hasher import hasher; import sys\n"
        "hasher().hash('correct horse battery'); print(hasher()._free[0].pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        child = psutil.Process(int(server.stdout.readline()))
        server.kill()
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
