"""How the client asks: its connection, lists page by page, downloads, and the bodies of what it sends."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from app.client import outcomes as o
from app.client.bars import Bar
from app.client.errors import NoAnswer
from app.client.wire import Wire

T = TypeVar("T")
Rows = Path | str | Sequence[dict[str, Any]]
"""The path of a file in any format that Corral reads, or rows."""

TRIES = 6
"""Of each request: with the pauses between them, about half a minute."""
PAGE = 100


class Connection:
    """One person's connection to a Corral."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        tries: int = TRIES,
        timeout: float = 120.0,
        progress: bool = True,
        http: httpx.Client | None = None,
    ) -> None:
        """A client of the Corral at ``url``, such as ``https://corral.example.org``.

        ``token`` is made under Profile, API tokens, or by ``corral token``. Each request is sent up to ``tries`` times, with
        ``timeout`` seconds for each; ``progress`` draws a line on standard error for what takes long. ``http`` replaces the
        connection, for proxies, certificates and tests.
        """
        self._http = http or httpx.Client(base_url=url.rstrip("/"), timeout=timeout)
        self._http.headers["authorization"] = f"Bearer {token}"
        self._wire = Wire(self._http, tries)
        self._progress = progress

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """The client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self.close()

    def _pages(
        self, answer: type[Any], path: str, cursor: str, rows: Callable[[Any], Sequence[T]], **only: Any
    ) -> Iterator[T]:
        at: int | None = None
        while True:
            page = self._wire.read(answer, "GET", path, params={cursor: at, "limit": PAGE, **only})
            yield from rows(page)
            at = page.next
            if at is None:
                return

    def _download(self, path: str, file: Path, wish: dict[str, Any]) -> Path:
        draft = file.with_name(f".{file.name}.part")
        try:
            with (
                self._wire.stream("GET", path, params=wish) as response,
                draft.open("wb") as out,
                self._bar(file.name, unit=" bytes") as bar,
            ):
                for part in response.iter_bytes():
                    out.write(part)
                    bar.at(out.tell())
                out.flush()
                os.fsync(out.fileno())
        except httpx.TransportError as error:
            draft.unlink(missing_ok=True)
            raise NoAnswer(
                f"The download of {path} broke off: {str(error) or type(error).__name__}. Ask again."
            ) from error
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        draft.replace(file)
        return file

    def _bar(self, what: str, *, unit: str = "") -> Bar:
        return Bar(what, unit=unit, shown=self._progress)


def sent(file: Rows, settings: dict[str, Any]) -> dict[str, Any]:
    """The body that sends a file with settings: the file as it is, or rows as one of JSON Lines."""
    if isinstance(file, str | Path):
        name, body = Path(file).name, Path(file).read_bytes()
    else:
        name, body = "rows.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in file).encode()
    return {"files": {"file": (name, body)}, "data": {"settings": json.dumps(settings, ensure_ascii=False)}}


def named(rows: Iterable[o.RowOut]) -> list[dict[str, int]]:
    """Rows of the desk, as an act on them names them."""
    return [{"id": row.id, "seen": row.seen} for row in rows]


def until(look: Callable[[], T | None], what: str, seconds: float, every: float) -> T:
    """Look until there is something.

    Raises:
        TimeoutError: not within ``seconds``.
    """
    ends = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() + every > ends:
            raise TimeoutError(f"Waited {seconds:.0f} s in vain for {what}.")
        time.sleep(every)
    return found
