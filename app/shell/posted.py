"""A form with an unknown field is refused, as in the API: a mistyped field name must not be ignored.

A form that is one model refuses by itself (``extra="forbid"``, or a rule of its own for names that are made from data).
:func:`install` gives the same to every other page that takes a POST, behind its check of who asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.dependencies.utils import get_dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from app.kernel.errors import refused
from app.kernel.locales import gettext as _

if TYPE_CHECKING:
    from fastapi.dependencies.models import Dependant

Reader = TypeVar("Reader", bound=Callable[..., Any])
_readers: set[Callable[..., Any]] = set()
_takers: set[Callable[..., Any]] = set()


def reads_form(reader: Reader) -> Reader:
    """Marks a dependency that reads the form itself; what it gives is checked by whoever asked for it."""
    _readers.add(reader)
    return reader


def takes_file(reader: Reader) -> Reader:
    """Marks a dependency that reads an upload: only the doors that ask for one accept multipart bodies and long ones."""
    _takers.add(reader)
    return reader


def install(web: FastAPI) -> None:
    """Check the fields of every form that no model checks, and say to ``app.shell.bodies`` which doors take files."""
    routes = [route for route in web.routes if isinstance(route, APIRoute)]
    web.state.doors_for_files = tuple(
        (route.methods, route.path_regex) for route in routes if _takers & set(_calls(route.dependant))
    )
    for route in web.routes:
        if isinstance(route, APIRoute) and not route.include_in_schema and "POST" in route.methods:
            check = _check_of(route)
            if check is not None:
                route.dependant.dependencies.append(get_dependant(path=route.path_format, call=check))


def unknown(names: Iterator[str] | set[str]) -> None:
    """Refuse the first of ``names``, if there is one."""
    name = min(names, default=None)
    if name is not None:
        raise refused(name[:60], _("There is no field “{name}” in this form.", name=name[:60]))


def _check_of(route: APIRoute) -> Callable[[Request], Awaitable[None]] | None:
    if _readers & set(_calls(route.dependant)):
        return None
    fields = route.dependant.body_params
    if any(isinstance(kind := each.field_info.annotation, type) and issubclass(kind, BaseModel) for each in fields):
        return None
    known = {each.alias for each in fields}
    return _only(known) if known else _nothing


def _only(known: set[str]) -> Callable[[Request], Awaitable[None]]:
    async def check(request: Request) -> None:
        unknown(set(await request.form()) - known)  # FastAPI has read it

    return check


async def _nothing(request: Request) -> None:
    """A button: whatever comes with it is not read, however long it is."""
    async for chunk in request.stream():
        if chunk:
            name = chunk[:60].decode(errors="replace").partition("=")[0]
            raise refused("", _("This form has no fields, and this begins with “{name}”: send it empty.", name=name))


def _calls(dependant: Dependant) -> Iterator[Any]:
    yield dependant.call
    for each in dependant.dependencies:
        yield from _calls(each)
