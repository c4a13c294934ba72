"""What a body may be before anybody reads it: how long, of how many fields, and of files only where files are taken.

FastAPI reads a form before anybody's rights are known, and a parser that is written in Python takes a second for a
megabyte of ``&``. So the bounds hold for every door, and those of strangers are the closest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from app.errors import BadInput, TooLarge
from app.settings import get_settings
from app.web import SAFE_METHODS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FORM_LIMIT_BYTES = 4 * 2**20
"""The largest body without a file: an annotation with a long edit is a hundredth of it."""
FORM_LIMIT_FIELDS = 1000
"""Eight responses with every rating and every flag are some two hundred."""
STRANGERS_FORMS = ("/login", "/logout", "/theme", "/invite/")
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
        return f"This is larger than the {size} that are accepted here."


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
        if declared.isdecimal() and int(declared) > bounds.size:
            raise TooLarge(bounds.larger())
        if kind.startswith("multipart/") and not takes_file:
            raise BadInput("No file is taken here: send the form as application/x-www-form-urlencoded.")
        received, separators = 0, 0

        async def counted() -> Message:
            nonlocal received, separators
            message = await receive()
            body = message.get("body", b"")
            received += len(body)
            # FastAPI would turn any other exception of a body that it reads into a 400
            if received > bounds.size:
                raise HTTPException(413, bounds.larger())
            if kind == "application/x-www-form-urlencoded":
                separators += body.count(b"&")
                if separators >= bounds.fields:
                    raise HTTPException(422, f"This has more than the {bounds.fields} fields that are accepted here.")
            return message

        await self.app(scope, counted, send)


def _takes_files(scope: Scope) -> bool:
    doors = scope["app"].state.doors_for_files
    return any(scope["method"] in methods and path.match(scope["path"]) for methods, path in doors)
