"""Weak secrets: empty, short, or copied from an example. A deployment does not start with them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

SHORTEST = 16
KNOWN = (
    "admin",
    "changeit",
    "changeme",
    "corral",
    "default",
    "example",
    "letmein",
    "password",
    "postgres",
    "redis",
    "secret",
    "test",
)


def password_of(url: str) -> str:
    """The password inside a database's or a broker's address; empty where it has none."""
    return unquote(urlsplit(url).password or "")


def weakness(secret: str) -> str | None:
    """What is wrong with a secret, as the end of a sentence; None for a good one."""
    if not secret:
        return "is empty"
    if len(secret) < SHORTEST:
        return f"is shorter than {SHORTEST} characters"
    rest = secret.lower()
    for word in KNOWN:
        rest = rest.replace(word, "")
    letters = {character for character in rest if character.isalnum()}
    return "can be guessed" if len(letters) < SHORTEST / 2 else None


def refuse(secrets: Mapping[str, str]) -> None:
    """Raise ValueError, naming every weak secret and the remedy but never a value."""
    found = [f"{name} {why}" for name, secret in secrets.items() if (why := weakness(secret))]
    if found:
        raise ValueError(f"{'; '.join(found)}. Run `make secrets`, which writes good ones to .env.")
