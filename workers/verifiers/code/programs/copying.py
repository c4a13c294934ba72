"""How values pass between the two sandboxes: data is copied, everything else stays where it is and is named by number.

JSON says itself what it can; every other kind is an object ``{"~": kind, "v": content}``, so that a tuple arrives as a tuple.
"""

from __future__ import annotations

import collections
import itertools
import types

TYPE_CHECKING = False  # typing takes as long to load as half an interpreter
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    class Asking(Protocol):
        """What a remote object asks through."""

        def call(self, on: int | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            """Call it."""

        def ask(self, operation: str, on: int, *details: Any) -> Any:
            """Do something else with it."""


MOST_ITEMS = 10_000
"""Of a generator, which may never end."""
MOST_TEXT = 300
"""Characters of a value or message that a person is shown."""
BY_TEXT = {
    "Decimal": "decimal",
    "Fraction": "fractions",
    "date": "datetime",
    "datetime": "datetime",
    "time": "datetime",
}
"""Kinds that are copied by the text that makes them again, and the modules that know them."""
ITERATORS = (map, filter, zip, enumerate, reversed, types.GeneratorType)
CONTAINERS = (tuple, list, set, frozenset, collections.deque)
VIEWS = (type({1: 1}.keys()), type({1: 1}.values()), type({1: 1}.items()))
ROUTINES = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)


class NotData(BaseException):
    """A value that cannot be copied, or an operation that has no meaning from afar: the check cannot be made."""


def short(value: Any) -> str:
    """How a person sees a value."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # whatever its own words raise
        text = type(value).__name__
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 20] + " … " + text[-16:]


class Remote:
    """An object that the other end holds: it is asked, and never trusted to compare itself with data."""

    def __init__(self, peer: Asking, number: int, kind: str, *, compares: bool) -> None:
        vars(self).update(_peer=peer, _number=number, _kind=kind, _compares=compares)

    def __repr__(self) -> str:
        return f"<{self._kind} object>"

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not self._compares:
            return False
        if isinstance(other, Remote):
            return bool(self._peer.ask("eq", self._number, other))
        raise NotData(f"the answer gives its own kind of object, {self._kind}, where the tests compare data")

    def __hash__(self) -> int:
        return hash(self._number)

    def __getattr__(self, name: str) -> Any:
        return self._peer.ask("get", self._number, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask("set", self._number, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it where it is."""
        return self._peer.call(self._number, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        return self._peer.ask("item", self._number, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._peer.ask("put", self._number, key, value)

    def __len__(self) -> int:
        return int(self._peer.ask("len", self._number))

    def __bool__(self) -> bool:
        return bool(self._peer.ask("bool", self._number))

    def __str__(self) -> str:
        return str(self._peer.ask("str", self._number))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._peer.ask("iter", self._number))


class Copier:
    """Packs values for the wire and unpacks what came over it."""

    def __init__(self, peer: Asking, *, objects: bool) -> None:
        self._peer, self._objects = peer, objects
        self.given: dict[str, type] = {}
        """Classes that both ends were given: their objects are copied with what they hold."""
        self.held: dict[int, Any] = {}
        """What stayed here, by the number that the other end knows it by."""
        self._own: dict[str, Callable[[Any], Any]] = {
            "yours": self.held.__getitem__,
            "object": self._remote,
            "given": self._given,
            "namedtuple": self._named,
            "iterator": self._items,
            "coroutine": lambda content: finished(self.unpack(content)),
        }

    def pack(self, value: Any) -> Any:
        """A value as JSON: what JSON has itself as it stands, everything else with its kind."""
        try:
            return self._pack(value)
        except RecursionError:
            raise NotData("a value holds itself, or is nested too deep to be sent") from None

    def _pack(self, value: Any) -> Any:
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str | float):
            return str(value) if isinstance(value, str) else float(value)
        if isinstance(value, int):
            number = int(value)
            return number if -(1 << 63) < number < 1 << 63 else {"~": "int", "v": hex(number)}
        if type(value) is list:
            return [self._pack(each) for each in value]
        return {"~": "yours", "v": vars(value)["_number"]} if isinstance(value, Remote) else self._pack_kind(value)

    def _pack_kind(self, value: Any) -> dict[str, Any]:
        own = type(value).__name__
        content: Any = None
        if isinstance(value, dict):
            kind = own if own in {"Counter", "OrderedDict"} else "dict"
            content = [[self._pack(key), self._pack(each)] for key, each in value.items()]
        elif isinstance(value, tuple) and hasattr(value, "_fields"):
            kind, content = "namedtuple", [own, list(value._fields), [self._pack(each) for each in value]]
        elif isinstance(value, CONTAINERS):
            kind = next(each.__name__ for each in CONTAINERS if isinstance(value, each))
            content = [self._pack(each) for each in value]
        elif isinstance(value, VIEWS):
            kind, content = own, [self._pack(each) for each in value]
        elif isinstance(value, ITERATORS) or own.endswith("_iterator"):
            items = list(itertools.islice(value, MOST_ITEMS + 1))
            kind, content = "iterator", [[self._pack(each) for each in items[:MOST_ITEMS]], len(items) > MOST_ITEMS]
        elif own in self.given and not isinstance(value, type):
            kind, content = "given", [own, self._pack(vars(value))]
        else:
            kind, content = _simple(value) or ("object", self._hold(value))
        return {"~": kind, "v": content}

    def _hold(self, value: Any) -> list[Any]:
        routine = isinstance(value, ROUTINES)
        if not (routine or self._objects):
            raise NotData(f"the tests pass a {type(value).__name__}, which cannot be sent to the solution")
        self.held[len(self.held)] = value
        compares = vars(object)["__eq__"] is not type(value).__eq__
        return [len(self.held) - 1, "function" if routine else type(value).__name__, compares]

    def unpack(self, packed: Any) -> Any:
        """The value that the other end packed; anything that it made up raises."""
        if isinstance(packed, list):
            return [self.unpack(each) for each in packed]
        if not isinstance(packed, dict):
            return packed
        kind, content = packed["~"], packed["v"]
        if kind in self._own:
            return self._own[kind](content)
        if kind in BY_TEXT:
            known = getattr(__import__(BY_TEXT[kind]), kind)
            return known.fromisoformat(content) if hasattr(known, "fromisoformat") else known(content)
        return MADE[kind](self.unpack(content))

    def _remote(self, content: Any) -> Remote:
        number, own, compares = content
        return Remote(self._peer, int(number), str(own)[:60], compares=bool(compares))

    def _given(self, content: Any) -> Any:
        made: Any = object.__new__(self.given[content[0]])
        vars(made).update(self.unpack(content[1]))
        return made

    def _named(self, content: Any) -> Any:
        own, fields, values = content
        return collections.namedtuple(own, fields)(*self.unpack(values))  # noqa: PYI024  # made at run time

    def _items(self, content: Any) -> Iterator[Any]:
        yield from self.unpack(content[0])
        if content[1]:
            raise NotData(f"a generator gave more than {MOST_ITEMS:,} values")


def _simple(value: Any) -> tuple[str, Any] | None:
    """Kind and content of what holds nothing else."""
    own, module = type(value).__name__, type(value).__module__
    if isinstance(value, bytes | bytearray):
        return ("bytes" if isinstance(value, bytes) else "bytearray"), value.hex()
    if isinstance(value, complex):
        return "complex", [value.real, value.imag]
    if isinstance(value, range):
        return "range", [value.start, value.stop, value.step]
    if BY_TEXT.get(own) == module:
        return own, value.isoformat() if hasattr(value, "isoformat") else str(value)
    if own == "timedelta" and module == "datetime":
        return own, [value.days, value.seconds, value.microseconds]
    return None


async def finished(value: Any) -> Any:
    """What a coroutine of the other end came to."""
    return value


MADE: dict[str, Callable[[Any], Any]] = {
    "dict": lambda pairs: {key: value for key, value in pairs},  # noqa: C416  # keys that repeat would be an error of dict()
    "Counter": lambda pairs: collections.Counter(dict(pairs)),
    "OrderedDict": collections.OrderedDict,
    "tuple": tuple,
    "list": list,
    "set": set,
    "frozenset": frozenset,
    "deque": collections.deque,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": lambda parts: complex(*parts),
    "int": lambda digits: int(digits, 16),
    "range": lambda parts: range(*parts),
    "timedelta": lambda parts: __import__("datetime").timedelta(*parts),
    "dict_keys": lambda keys: dict.fromkeys(keys).keys(),
    "dict_values": lambda values: dict(enumerate(values)).values(),
    "dict_items": lambda pairs: dict(pairs).items(),
}


def update(mine: Any, now: Any) -> None:
    """Give a container what the other end left in its copy, and keep the containers inside that are still the same."""
    if isinstance(mine, list) and isinstance(now, list):
        for place, (old, new) in enumerate(zip(mine, now, strict=False)):
            if type(old) is type(new) and isinstance(old, list | dict):
                update(old, new)
                now[place] = old
        mine[:] = now
    elif isinstance(mine, dict) and isinstance(now, dict):
        mine.clear()
        mine.update(now)
    elif isinstance(mine, set) and isinstance(now, set):
        mine.clear()
        mine |= now
    elif isinstance(mine, bytearray):
        mine[:] = now
    elif type(mine) is type(now) and hasattr(mine, "__dict__"):
        vars(mine).update(vars(now))
