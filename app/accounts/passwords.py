"""Passwords: argon2id, and rules about what may be chosen. ``app.accounts.hasher`` does the work, in turns of ``hashing``."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import Path

from app.accounts import hashing
from app.accounts.hasher import Hasher, hasher
from app.kernel.errors import refused
from app.kernel.locales import gettext as _

MIN_LENGTH = 12
MAX_LENGTH = 256
COMMON = Path(__file__).with_name("common_passwords.txt")
GUESSED_MOST = 8
"""Characters beside what everybody guesses (a common word, one's own address) that still make no password."""

_AS_LETTERS = str.maketrans("014357@$!|", "oiaestasil")
_RUNS = (
    "0123456789" * 3,
    "9876543210" * 3,
    "1234567890" * 3,
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "qazwsxedcrfvtgbyhnujm",
    "!@#$%^&*()",
)


def rules() -> str:
    """What a form says of them."""
    return _(
        "At least {least} characters, any kind; a few words are easier than symbols. Pasting is fine.", least=MIN_LENGTH
    )


def _hasher() -> Hasher:
    return hasher()


@lru_cache(maxsize=1)
def _nobody() -> str:
    """A hash that no password matches: verified for unknown accounts, so that both answers take the same time."""
    return _hasher().hash("the account that does not exist")


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    lines = COMMON.read_text(encoding="utf-8").splitlines()
    return frozenset(_folded(line) for line in lines if line and not line.startswith("#"))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _words(text: str) -> str:
    """The letters of ``text``, with the digits and signs that stand for letters read as those."""
    return "".join(each for each in text.translate(_AS_LETTERS) if each.isalpha())


def _unit(text: str) -> str:
    """What ``text`` repeats, or itself."""
    return re.sub(r"\A(.+?)\1+\Z", r"\1", text, flags=re.DOTALL)


def _is_run(text: str) -> bool:
    """Whether ``text`` is keys or characters in a row, forwards or backwards, as one piece or as two."""
    if len(text) < 4:
        return text.isdigit()
    return any(_in_row(text[:cut]) and (len(text) - cut < 4 or _in_row(text[cut:])) for cut in range(4, len(text) + 1))


def _in_row(text: str) -> bool:
    return any(text in run or text[::-1] in run for run in _RUNS)


def is_common(password: str) -> bool:
    """Whether ``password`` is among what is tried first: a common word with digits and signs, keys in a row, a repetition."""
    plain = "".join(_folded(password).split())
    without = "".join(each for each in plain if each.isalpha())  # digits as what was added, not as letters
    stripped = re.sub(r"\A[\W\d_]+|[\W\d_]+\Z", "", plain)
    once = re.sub(r"(.)\1+", r"\1", plain)
    return (
        _is_run(_unit(plain))
        or _is_run(once)
        or any(_unit(each) in _common() for each in (plain, without, _words(plain), _words(stripped)))
    )


def is_of_address(password: str, email: str) -> bool:
    """Whether ``password`` is the address ``email`` or its parts, but for a few characters more."""
    plain, address = _folded(password), _folded(email)
    local, _, domain = address.partition("@")
    parts = {address, local, domain, *re.split(r"[\W_]+", local), *re.split(r"[\W_]+", domain)}
    found = False
    for part in sorted((each for each in parts if len(each) > 2), key=len, reverse=True):
        for each in (part, part[::-1]):
            found = found or each in plain
            plain = plain.replace(each, "")
    return found and (len(plain) <= GUESSED_MOST or is_common(plain))


def check_rules(password: str, email: str = "") -> None:
    """Raise :class:`app.kernel.errors.BadInput` when ``password`` may not be chosen by the person with this address."""
    if len(password) < MIN_LENGTH:
        said = _("The password needs at least {least} characters; this one has {n}.", least=MIN_LENGTH, n=len(password))
        raise refused("password", said)
    if len(password) > MAX_LENGTH:
        raise refused("password", _("The password may have at most {most} characters.", most=MAX_LENGTH))
    if len(set(password)) < 4:
        raise refused(
            "password", _("This repeats the same few characters. A few words are easy to remember, hard to guess.")
        )
    if is_common(password):
        raise refused(
            "password", _("This is one of the passwords that attackers try first. A few words together are better.")
        )
    if email and is_of_address(password, email):
        raise refused("password", _("This is little more than your e-mail address. A few words together are better."))


def hash_password(password: str, email: str = "") -> str:
    """The argon2id hash of ``password``, parameters included; the rules are checked first."""
    check_rules(password, email)
    return rehash(password)


def rehash(password: str) -> str:
    """The hash of an existing password: rules introduced later lock nobody out."""
    return hashing.run(lambda: _hasher().hash(password))


def verify(stored: str | None, password: str) -> bool:
    """Whether ``password`` is the one behind ``stored``; None stands for an unknown account and takes as long."""
    if len(password) > MAX_LENGTH:
        password = ""  # never chosen by anyone, and as slow to refuse as every other wrong one
    return hashing.run(lambda: _hasher().verify(stored or _nobody(), password)) and stored is not None


def needs_rehash(stored: str) -> bool:
    """Whether ``stored`` was made with weaker parameters than today's."""
    return _hasher().check_needs_rehash(stored)
