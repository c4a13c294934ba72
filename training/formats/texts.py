"""What a text is, seen by somebody who reads it."""

# Letters and symbols by their category that show nothing: fillers of Hangul, and Braille without a dot.
_INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: spaces of any width, marks without a width, fillers."""
    return not any(letter.isprintable() and not letter.isspace() and letter not in _INVISIBLE for letter in text)
