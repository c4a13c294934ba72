"""Passwords: argon2id through argon2-cffi, a rule about length, and a bound on how many are hashed at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import TooMany, refused

MIN_LENGTH = 12
MAX_LENGTH = 256
RULES = f"At least {MIN_LENGTH} characters, any kind; a few words are easier than symbols. Pasting is fine."

# A hash takes 64 MiB on purpose. Without a bound, forty sign-ins at once would take 2.5 GiB and every core.
_seats = BoundedSemaphore(4)
_WAIT_SECONDS = 3.0  # a request that waits here holds a database connection


@lru_cache(maxsize=1)
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@lru_cache(maxsize=1)
def _nobody() -> str:
    """A hash that no password matches: verified for unknown accounts, so that both answers take the same time."""
    return _hasher().hash("the account that does not exist")


@contextmanager
def _seat() -> Iterator[None]:
    if not _seats.acquire(timeout=_WAIT_SECONDS):
        raise TooMany("Many people are signing in at this moment. Try again in a few seconds.", retry_after=5)
    try:
        yield
    finally:
        _seats.release()


def check_rules(password: str) -> None:
    """Raise :class:`app.errors.BadInput` when ``password`` may not be chosen."""
    if len(password) < MIN_LENGTH:
        raise refused("password", f"The password needs at least {MIN_LENGTH} characters; this one has {len(password)}.")
    if len(password) > MAX_LENGTH:
        raise refused("password", f"The password may have at most {MAX_LENGTH} characters.")
    if len(set(password)) < 4:
        raise refused(
            "password", "This repeats the same few characters. A few words are easy to remember, hard to guess."
        )


def hash_password(password: str) -> str:
    """The argon2id hash of ``password``, parameters included; the rules are checked first."""
    check_rules(password)
    with _seat():
        return _hasher().hash(password)


def verify(stored: str | None, password: str) -> bool:
    """Whether ``password`` is the one behind ``stored``; None stands for an unknown account and takes as long."""
    if len(password) > MAX_LENGTH:
        password = ""  # never chosen by anyone, and as slow to refuse as every other wrong one
    with _seat():
        try:
            _hasher().verify(stored or _nobody(), password)
        except (VerificationError, InvalidHashError):
            return False
    return stored is not None


def needs_rehash(stored: str) -> bool:
    """Whether ``stored`` was made with weaker parameters than today's."""
    return _hasher().check_needs_rehash(stored)
