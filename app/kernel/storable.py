"""What no text may hold: NUL, which PostgreSQL cannot store, and half a character, which has no UTF-8.

A pure rule of the kernel. Who refuses a text by it makes the sentence, and says what to do.
"""

from __future__ import annotations


def flaw(text: str) -> str | None:
    """What ``text`` holds that cannot be stored, in words; None when there is nothing of that kind."""
    if "\0" in text:
        return "a NUL character"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"half a character (the lone surrogate \\u{ord(text[error.start]):04x})"
    return None


def quotable(text: str, limit: int) -> str:
    """The start of ``text`` as a message may quote it: what cannot be stored is written as its escape."""
    return text[:limit].replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()
