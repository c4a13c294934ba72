"""Registries of things that are found by name, each a class in a module of its own.

Modules are imported when their thing is first needed: some bring libraries that take seconds, or that are not installed
everywhere. Formats and shapes, which the application imports all at once, stand in :mod:`app.kernel.registries`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """What is called what, in the order of registration.

    Args:
        kind: What its things are, in the singular: "verifier".
        package: What the places of things are below.
    """

    def __init__(self, kind: str, package: str) -> None:
        self._kind = kind
        self._package = package
        self._places: dict[str, str] = {}
        self._found: dict[str, T] = {}

    def register(self, name: str, place: str) -> None:
        """Call the class at ``place`` (``module:Class`` below the package) ``name``.

        Raises:
            ValueError: something else is called so.
        """
        if name in self._places:
            raise ValueError(f"Two {self._kind}s are called “{name}”: {self._places[name]} and {place}")
        self._places[name] = place

    def names(self) -> list[str]:
        """The names of all, in the order of registration."""
        return list(self._places)

    def find(self, name: str) -> T:
        """The one thing of that name, made when it is first asked for.

        Raises:
            ValueError: there is none; the message names those that there are.
        """
        if name not in self._found:
            module, _, made = self._place(name).partition(":")
            self._found[name] = getattr(import_module(f"{self._package}.{module}"), made)()
        return self._found[name]

    def check(self, name: str) -> None:
        """See that there is something of that name, without importing it.

        Raises:
            ValueError: as :meth:`find`.
        """
        self._place(name)

    def _place(self, name: str) -> str:
        try:
            return self._places[name]
        except KeyError:
            raise ValueError(f"No {self._kind} is called “{name[:60]}”: there are {', '.join(self._places)}") from None
