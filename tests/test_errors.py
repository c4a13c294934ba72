"""What a command says in one sentence, and what it leaves to a traceback."""

from __future__ import annotations

import errno

import psycopg
import pytest
import sqlalchemy.exc

from app.kernel.errors import NotFound, one_sentence
from app.services.embedded import reason


def failed(error: psycopg.Error) -> Exception:
    return sqlalchemy.exc.OperationalError("SELECT 1", {}, error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotFound("No such batch."), "No such batch."),
        (failed(psycopg.OperationalError("connection refused")), "cannot be reached"),
        (failed(psycopg.errors.InvalidPassword("no")), "correct DATABASE_URL"),
        (failed(psycopg.errors.AdminShutdown("going down")), "cannot be reached"),
        (failed(psycopg.errors.DiskFull("no space left")), "The disk is full (at the database)"),
        (failed(psycopg.errors.LockNotAvailable("locked")), "The database refused"),
        (failed(psycopg.errors.QueryCanceled("took too long")), "The database refused"),
        (OSError(errno.ENOSPC, "No space left on device", "var/corral.lock"), "The disk is full (var/corral.lock)"),
    ],
)
def test_what_was_to_be_expected_is_one_sentence(error: Exception, words: str) -> None:
    sentence = one_sentence(error)
    assert sentence is not None
    assert words in sentence
    assert "\n" not in sentence


def test_our_own_mistakes_keep_their_traceback() -> None:
    assert one_sentence(KeyError("x")) is None
    assert one_sentence(OSError(errno.EBADF, "Bad file descriptor")) is None


def test_the_reason_in_a_log_is_the_error_and_not_a_link_to_its_manual(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    log = tmp_path_factory.mktemp("log") / "prepare.log"
    log.write_text("going\nDataError: too long\n(Background on this error at: https://sqlalche.me/e/20/9h9h)\n")
    assert reason(log) == "DataError: too long"
