"""Registries of one file a member: a package lists what its modules define, so a new member is a new file and nothing else."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from importlib import import_module
from typing import Protocol, TypeVar


class Member(Protocol):
    """What can be registered."""

    @property
    def name(self) -> str:
        """What people call it; no two members share one."""

    @property
    def place(self) -> int:
        """Its position in the list: lowest first, then by name."""


M = TypeVar("M", bound=Member)


def members(package: str, path: Iterable[str], attribute: str, kind: type[M]) -> dict[str, M]:
    """The ``attribute`` of each module of ``package``, by name and in order.

    A module without one, and a name that two modules use, is a fault of ours: :class:`TypeError` names the module.
    """
    found: list[M] = []
    for info in pkgutil.iter_modules(path):
        member = getattr(import_module(f"{package}.{info.name}"), attribute, None)
        if not isinstance(member, kind):
            raise TypeError(
                f"{package}.{info.name} defines no {attribute}, which every module of {package} must define"
            )
        if any(member.name == other.name for other in found):
            raise TypeError(f"{package}.{info.name} uses the name {member.name!r}, which another module already uses")
        found.append(member)
    return {each.name: each for each in sorted(found, key=lambda each: (each.place, each.name))}
