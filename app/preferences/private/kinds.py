"""What is looked for, what a passage of it is, and what is not found: in the words that pages, cards and documentation share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.metadata import version

from app.kernel.locales import N_
from app.kernel.locales import gettext as _

LIBRARIES = ("google-re2", "phonenumberslite")
"""What finds and checks: another version of one may find another thing."""


class Kind(StrEnum):
    """What a passage is. Where two overlap, the one that stands first here gives both its name."""

    SECRET = "secret"  # noqa: S105 - a kind of passage
    CARD = "card"
    IBAN = "iban"
    ID = "id"
    EMAIL = "email"
    IP = "ip"
    PHONE = "phone"

    @property
    def one(self) -> str:
        """What people call it."""
        return _(WORDS[self][0])

    @property
    def label(self) -> str:
        """The same of several."""
        return _(WORDS[self][1])

    @property
    def placeholder(self) -> str:
        """What stands in its place: the same for every passage of the kind, so that equal texts stay equal."""
        return f"[{self.value.upper()}]"


WORDS = {
    Kind.SECRET: (N_("key or secret"), N_("keys and secrets")),
    Kind.CARD: (N_("payment card number"), N_("payment card numbers")),
    Kind.IBAN: (N_("IBAN"), N_("IBANs")),
    Kind.ID: (N_("national id"), N_("national ids")),
    Kind.EMAIL: (N_("e-mail address"), N_("e-mail addresses")),
    Kind.IP: (N_("public IP address"), N_("public IP addresses")),
    Kind.PHONE: (N_("phone number"), N_("phone numbers")),
}
RANK = {kind: place for place, kind in enumerate(Kind)}

MISSES = N_(
    "Patterns miss names, postal addresses, dates of birth, user names, and whatever identifies somebody by its meaning; "
    "phone numbers that are written neither with a country code nor as the language of the prompt writes them; ids of other "
    "countries than Brazil, China, France, India, Korea, Spain, the United Kingdom and the United States; passwords, and "
    "keys of a form that they do not know; what is spelled out, split or disguised; and texts inside images or files. "
    "They also find some numbers that only look private."
)
"""What a reader must know before trusting that nothing is left."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a text: from ``start`` to ``end``, in characters, the end not included."""

    start: int
    end: int
    kind: Kind


@cache
def libraries() -> tuple[str, str]:
    """What finds and checks, each with its version."""
    first, second = (f"{name} {version(name)}" for name in LIBRARIES)
    return first, second


def found_by() -> str:
    """The libraries and their versions, such as ``google-re2 1.1 and phonenumberslite 9.0``."""
    return " and ".join(libraries())
