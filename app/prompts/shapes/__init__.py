"""The shapes of records that are known, one module each; :func:`shapes` lists them.

A new shape is a new module here that defines ``SHAPE``: a :class:`Read` that becomes a prompt, an :class:`Answered` that brings
responses of its own, an :class:`Unread` that is refused in a sentence that names it, or a :class:`Wrapper` that only holds a
record of another shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.kernel.locales import N_
from app.kernel.registries import members
from app.prompts.bounded_json import Refused
from app.prompts.fields import Record
from app.prompts.messages import Message

ASKED_FOR = ("prompt", "messages")
"""The keys that a record without any known one is told of."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One shape of records."""

    name: str
    place: int = 100
    """The order in which shapes are tried: the lowest first."""


@dataclass(frozen=True, kw_only=True)
class Wrapper(Shape):
    """Holds a record of another shape."""

    unwrap: Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
    """The record inside; None of a record that is not of this shape."""


@dataclass(frozen=True, kw_only=True)
class Restated:
    """A record with responses, said again in Corral's own form: one record for each prompt in it."""

    records: Sequence[dict[str, Any]]
    """Each a record of a shape that becomes a prompt, with its ``responses`` (:mod:`app.prompts.responses`)."""
    note: str | None = None
    """What was read differently than people may expect."""


@dataclass(frozen=True, kw_only=True)
class Answered(Shape):
    """Brings responses of its own."""

    keys: tuple[str, ...]
    """Those that a header of a table, or the only object of a file, is known by."""
    restate: Callable[[Mapping[str, Any]], Restated | None]
    """The record in Corral's form; None of a record that is not of this shape. :class:`Refused` says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Unread(Shape):
    """Is known, but holds no prompt that could be imported."""

    why_not: Callable[[Mapping[str, Any]], str | None]
    """What the record is and what to do instead; None of a record that is not of this shape."""


@dataclass(frozen=True, kw_only=True)
class Read(Shape):
    """Becomes a prompt."""

    keys: tuple[str, ...]
    """Where the conversation may stand."""
    read: Callable[[Record, str], list[Message]]
    """The messages under one of the ``keys``, taken out of the record; :class:`Refused` says what is wrong with them."""
    is_task: bool = False
    """Whether it is a task that becomes what the user says. Beside a conversation, a task is not looked at."""
    from_cell: Callable[[Any], Any] | None = None
    """In a table: the value of the first key by the text in its cell."""

    def why_not(self, record: Mapping[str, Any]) -> str | None:
        """Why ``record`` is not of this shape; None of one that is."""
        if any(record.get(key) not in (None, "") for key in self.keys):
            return None
        blank = next((key for key in self.keys if key in record), None)
        if blank is None:
            return has_none_of(self.keys, record)
        return N_('has a blank "{key}": write the prompt or remove it').format(key=blank)


@cache
def shapes() -> dict[str, Shape]:
    """All shapes by name, in the order in which they are tried."""
    return members(__name__, __path__, "SHAPE", Shape)


def readable() -> list[Read]:
    """The shapes that become prompts: conversations, then tasks."""
    return [each for each in shapes().values() if isinstance(each, Read)]


def known_keys() -> list[str]:
    """Every key that may hold a conversation, a task, or what a shape with responses is known by."""
    return [key for each in shapes().values() if isinstance(each, Read | Answered) for key in each.keys]


def has_none_of(keys: Sequence[str], record: Mapping[str, Any]) -> str:
    """The sentence about a record without any of ``keys``."""
    wanted = " or ".join(f'"{key}"' for key in keys)
    given = ", ".join(f'"{key[:40]}"' for key in list(record)[:6]) or N_("none")
    return N_("has no {wanted}; its keys are {given}: rename the right one").format(wanted=wanted, given=given)


# ── Reading one record ───────────────────────────────────────────────────────────────────────────────────────────────
def unwrapped(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record``, or what it wraps, without anything that must be refused for its shape."""
    for wrapper in shapes().values():
        if isinstance(wrapper, Wrapper):
            inner = wrapper.unwrap(record)
            record = record if inner is None else inner
    for unread in shapes().values():
        wrong = unread.why_not(record) if isinstance(unread, Unread) else None
        if wrong is not None:
            raise Refused(wrong)
    return dict(record)


def restated(record: Mapping[str, Any]) -> Restated:
    """``record``, or what it says where its shape brings responses in a form that is not Corral's own."""
    if isinstance(record.get("responses"), list):
        return Restated(records=[dict(record)])
    for shape in shapes().values():
        found = shape.restate(record) if isinstance(shape, Answered) else None
        if found is not None:
            return found
    return Restated(records=[dict(record)])


def read_cells(record: Record) -> None:
    """Give each conversation that a table holds as text its form, where its shape knows one."""
    for shape in readable():
        key = shape.keys[0]
        if shape.from_cell is not None and record.has(key):
            record.rest[key] = shape.from_cell(record.rest[key])


def conversation(record: Record) -> list[Message]:
    """The messages of ``record``, taken out of it; :class:`Refused` where no shape fits, or two do."""
    fitting = [(each, key) for each in readable() for key in each.keys if record.has(key)]
    spoken = [key for each, key in fitting if not each.is_task]
    if len(spoken) > 1:
        raise Refused(
            N_('has both "{one}" and "{other}": keep the one that holds the conversation'),
            one=spoken[0],
            other=spoken[1],
        )
    if fitting:
        shape, key = fitting[0]
        return shape.read(record, key)
    blank = next((each for each in readable() if any(key in record.rest for key in each.keys)), None)
    raise Refused((blank and blank.why_not(record.rest)) or has_none_of(ASKED_FOR, record.rest))
