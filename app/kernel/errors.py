"""The one exception tree. A service raises; the handlers in ``app.site.main`` turn it into a page, a fragment or problem+json.

::

    AppError                    500
    ├── BadInput                422   what was sent cannot be used; names the field or the row, and the remedy
    ├── Unauthenticated         401
    ├── Forbidden               403   only for cross-origin requests and roles on whole pages, never for single rows
    ├── NotFound                404   missing and forbidden rows look the same
    ├── NotAllowed              405   the address takes other methods; ``Allow`` names them
    ├── Conflict                409   the state moved on; nothing was lost
    │   ├── StaleVersion              two tabs: carries the stored copy
    │   └── LeaseLost                 the seat was taken meanwhile
    ├── TooLarge                413
    ├── TooMany                 429   carries ``retry_after``
    ├── Unavailable             503   the database or engine is away; carries ``retry_after``
    │   └── DiskFull                  there is no room left for what was sent, here or at the database
    └── CannotStart                   something that Corral needs to run is missing or in the way
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar

from app.kernel.locales import N_
from app.kernel.locales import gettext as _


class AppError(Exception):
    """An expected failure. ``message`` is shown to people; ``extra`` goes into problem+json beside it."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "error"
    title: ClassVar[str] = N_("Something went wrong")

    def __init__(self, message: str, *, retry_after: int | None = None, **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.extra = extra

    @property
    def by_field(self) -> dict[str, str]:
        """What a form shows beside each of its fields."""
        return {each["loc"]: each["msg"] for each in self.extra.get("errors", [])}


class BadInput(AppError):
    """What was sent cannot be used. ``errors`` may list ``{"loc": …, "msg": …}`` per field."""

    status, slug, title = 422, "bad-input", N_("This input cannot be used")


def refused(field: str, message: str) -> BadInput:
    """A :class:`BadInput` about one field; a form shows ``message`` beside it."""
    return BadInput(message, errors=[{"loc": field, "msg": message}])


class Unauthenticated(AppError):
    """Nobody is signed in, or the token is unknown."""

    status, slug, title = 401, "unauthenticated", N_("Please sign in")


class Forbidden(AppError):
    """Signed in, but this page is for another role; or the request came from another site."""

    status, slug, title = 403, "forbidden", N_("Not allowed")


class NotFound(AppError):
    """There is no such thing, or not for this user."""

    status, slug, title = 404, "not-found", N_("Not found")

    def __init__(self, message: str = "") -> None:
        super().__init__(message or _("Nothing was found here, or you are not allowed to see it."))


class NotAllowed(AppError):
    """The address takes other methods; ``Allow`` names them."""

    status, slug, title = 405, "method-not-allowed", N_("There is no page here")


class Conflict(AppError):
    """The state does not allow it any more."""

    status, slug, title = 409, "conflict", N_("This has changed in the meantime")


class StaleVersion(Conflict):
    """Another tab saved a newer draft; ``extra`` carries the stored one, so that both texts survive."""

    slug = "stale-version"


class LeaseLost(Conflict):
    """The lease ran out and the seat was taken; the annotator's text stays in the draft."""

    slug = "lease-lost"


class TooLarge(AppError):
    """More bytes than the setting allows."""

    status, slug, title = 413, "too-large", N_("Too large")


class TooMany(AppError):
    """Too many tries; try again after ``retry_after`` seconds."""

    status, slug, title = 429, "too-many", N_("Too many requests")


class Unavailable(AppError):
    """The database or the engine is away for the moment."""

    status, slug, title = 503, "unavailable", N_("Temporarily unavailable")


class DiskFull(Unavailable):
    """The disk is full; reported as such, because waiting does not help."""

    slug, title = "disk-full", N_("The disk is full")


class CannotStart(AppError):
    """Something that Corral needs to run is missing or in the way; the message is one sentence with the remedy."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the system, or the database at its end, had no room left for what was to be written."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return getattr(getattr(error, "orig", error), "sqlstate", None) == "53100"


def one_sentence(error: Exception) -> str | None:
    """What a command says instead of a traceback; None for what is our own mistake."""
    if isinstance(error, AppError):
        return error.message
    kind = type(error).__name__  # by name: this page imports neither the driver nor pydantic
    if is_disk_full(error):
        place = getattr(error, "filename", None) or ("at the database" if hasattr(error, "orig") else None)
        return f"The disk is full{f' ({place})' if place else ''}: make room, then run the command again."
    if kind in {"OperationalError", "InterfaceError", "DataError"}:
        return _of_the_database(error)
    if kind == "ValidationError":  # pydantic's, of the settings
        wrong = error.errors()[0]  # type: ignore[attr-defined]
        name = "_".join(str(part) for part in wrong["loc"]).upper()
        return f"The setting CORRAL_{name.removeprefix('CORRAL_')} cannot be used: {wrong['msg']}."
    if "UndefinedTable" in str(error):
        return "The database has no tables yet, or old ones: run `corral db upgrade`."
    return None


def _of_the_database(error: Exception) -> str:
    said = str(error).splitlines()[0]
    if type(error).__name__ == "DataError":
        return f"One of the values given cannot be stored ({said}): correct it, then run the command again."
    # An answer has a code; only some mean that nobody let us in: connection, authorisation, no database, shutdown.
    code = getattr(getattr(error, "orig", error), "sqlstate", None) or "08000"
    if code[:2] in {"08", "28", "3D", "57"} and code != "57014":
        return f"The database cannot be reached ({said}): start it, or correct DATABASE_URL."
    return f"The database refused ({said}): fix the cause, then run the command again."
