"""What a body may be before anybody reads it: how long, of how many fields, and of files only where files are taken.

And what all of them may be together: what has come of a body lies in memory, or in a file that may be memory.

FastAPI reads a form before anybody's rights are known, and a parser that is written in Python takes a second for a
megabyte of ``&``. So the bounds hold for every door, and those of strangers are the closest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from app.kernel.errors import BadInput, TooLarge, Unavailable
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.shell.web import SAFE_METHODS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FORM_LIMIT_BYTES = 4 * 2**20
"""The largest body without a file: an annotation with a long edit is a hundredth of it."""
FORM_LIMIT_FIELDS = 1000
"""Eight responses with every rating and every flag are some two hundred."""
LARGE_BODY = 64 * 1024
"""A body that has come so far is somebody's upload, and counts with what arrives at the same time."""
STRANGERS_FORMS = ("/login", "/logout", "/theme", "/locale", "/invite/")
STRANGERS_LIMIT_BYTES = 16 * 2**10
"""The largest body of a form that anybody may send: an address, a name and a password are a tenth of it."""
STRANGERS_LIMIT_FIELDS = 20


@dataclass(frozen=True)
class Bounds:
    """What one body may have: bytes, and fields where it is a form."""

    size: int
    fields: int

    @classmethod
    def of(cls, scope: Scope, *, takes_file: bool) -> Bounds:
        """Those of a request."""
        if scope["path"].startswith(STRANGERS_FORMS):
            return cls(STRANGERS_LIMIT_BYTES, STRANGERS_LIMIT_FIELDS)
        return cls(FORM_LIMIT_BYTES + takes_file * get_settings().upload_limit_bytes, FORM_LIMIT_FIELDS)

    def larger(self) -> str:
        """What is said of a body that is too long."""
        size = f"{self.size // 2**20} MiB" if self.size >= 2**20 else f"{self.size // 2**10} KiB"
        return _("This is larger than the {size} accepted here.", size=size)


class Arriving:
    """The bytes of all large bodies that are read or worked on; of a body, those beyond :data:`LARGE_BODY` count.

    So judgements, which never are as large, find room however many uploads there are.
    """

    BUSY = N_("Too many uploads are in progress. Nothing was stored; try again in a minute.")
    AGAIN = 60

    def __init__(self) -> None:
        self.bytes = 0

    def has_room(self, more: int) -> bool:
        """Whether so many further bytes may come."""
        settings = get_settings()
        return self.bytes + more <= settings.uploads * (settings.upload_limit_bytes + FORM_LIMIT_BYTES)


ARRIVING = Arriving()


class BodyLimit:
    """Refuses bodies that are larger than anything Corral asks for, before they are read into memory or parsed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        takes_file = kind == "multipart/form-data" and _takes_files(scope)
        bounds = Bounds.of(scope, takes_file=takes_file)
        declared = headers.get("content-length", "0")
        if declared.isdecimal():
            if int(declared) > bounds.size:
                raise TooLarge(bounds.larger())
            if int(declared) > LARGE_BODY and not ARRIVING.has_room(int(declared) - LARGE_BODY):
                raise Unavailable(_(Arriving.BUSY), retry_after=Arriving.AGAIN)
        if kind.startswith("multipart/") and not takes_file:
            raise BadInput(_("This form accepts no files: send it as application/x-www-form-urlencoded."))
        body = Body(bounds, receive, is_form=kind == "application/x-www-form-urlencoded")
        try:
            await self.app(scope, body.receive, send)
        finally:
            body.gone()


class Body:
    """One body as it comes, counted.

    What it raises is an ``HTTPException``: FastAPI would turn any other exception of a body that it reads into a 400.
    """

    def __init__(self, bounds: Bounds, receive: Receive, *, is_form: bool) -> None:
        self._bounds, self._receive, self._is_form = bounds, receive, is_form
        self._received = self._separators = self._held = 0

    async def receive(self) -> Message:
        """ASGI."""
        message = await self._receive()
        part = message.get("body", b"")
        self._received += len(part)
        if self._received > self._bounds.size:
            raise HTTPException(413, self._bounds.larger())
        if self._is_form:
            self._separators += part.count(b"&")
            if self._separators >= self._bounds.fields:
                said = _("This has more than the {number} fields that are accepted here.", number=self._bounds.fields)
                raise HTTPException(422, said)
        more = max(0, self._received - LARGE_BODY) - self._held
        if more and not ARRIVING.has_room(more):
            raise HTTPException(503, _(Arriving.BUSY), {"retry-after": str(Arriving.AGAIN)})
        self._held += more
        ARRIVING.bytes += more
        return message

    def gone(self) -> None:
        """It is worked on no longer."""
        ARRIVING.bytes -= self._held
        self._held = 0


def _takes_files(scope: Scope) -> bool:
    doors = scope["app"].state.doors_for_files
    return any(scope["method"] in methods and path.match(scope["path"]) for methods, path in doors)
