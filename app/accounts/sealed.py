"""Seals what is stored and has to be read again, and what a browser carries for us: AES and HMAC (Fernet), a key a purpose.

The key is the setting ``secrets_key``, or else a file beside the data: a copy of the database alone opens nothing. Whoever
loses the key loses what is sealed with it, and no more: second steps are set up anew.
"""

from __future__ import annotations

import base64
import os
import secrets
from functools import lru_cache
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.kernel.settings import get_settings

KEY_FILE = "secrets.key"


def seal(purpose: str, content: str) -> str:
    """``content``, which only :func:`unseal` with the same ``purpose`` reads."""
    return _sealer(purpose).encrypt(content.encode()).decode()


def unseal(purpose: str, token: str, *, seconds: int | None = None) -> str | None:
    """What was sealed; None where it was not sealed here for this purpose, or longer ago than ``seconds``."""
    try:
        return _sealer(purpose).decrypt(token.encode(), ttl=seconds).decode()
    except (InvalidToken, UnicodeError):
        return None


def _sealer(purpose: str) -> Fernet:
    settings = get_settings()
    return _derived(settings.secrets_key.get_secret_value() or _of_file(settings.data_dir / KEY_FILE), purpose)


@lru_cache(maxsize=16)
def _derived(key: str, purpose: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))


@lru_cache(maxsize=4)
def _of_file(path: Path) -> str:
    """The key in the file, which is made at its first use: whole or not at all, and for its owner alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{KEY_FILE}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)  # of two processes that start at once, the second keeps the first one's
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
