"""A table of TOML as the dataclass that it is meant to be: read by pydantic, refused in our words.

Nothing is converted: a number is no text and the word "true" no boolean. What is wrong is said of one setting, by its
name, with what it may be; a key that no setting has is refused with the nearest name that exists.
"""

import difflib
import json
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from training.formats.errors import ConfigError

Settings = TypeVar("Settings")
ITEMS = {"string_type": "str", "float_type": "float", "int_type": "int", "path_type": "Path"}
UNKNOWN, MISSING = "unexpected_keyword_argument", "missing"


def of(settings: type[Settings], table: dict[str, Any], path: Path) -> Settings:
    """The settings that `table`, of the file `path`, says.

    Raises:
        ConfigError: naming the setting and what it may be.
    """
    try:
        # As JSON, because strict reading of anything else takes no table for a dataclass and no text for a path.
        return TypeAdapter(settings).validate_json(json.dumps(table, default=str), strict=True, extra="forbid")
    except ValidationError as refused:
        errors = refused.errors(include_url=False, include_context=False)
        raise ConfigError(f"{path}: {_sentence(settings, errors)}") from None
    except ConfigError as error:  # of the rules that the dataclasses have
        raise ConfigError(f"{path}: {error}") from None


def _sentence(settings: type, errors: Sequence[Any]) -> str:
    """The first of what is wrong; of what no setting has, and of what is missing, before what is of another type."""
    order = (UNKNOWN, MISSING)
    first = min(errors, key=lambda error: order.index(error["type"]) if error["type"] in order else len(order))
    *owners, name = names = _names(settings, first["loc"])
    known = get_type_hints(_within(settings, owners))
    if first["type"] == UNKNOWN:
        [near] = difflib.get_close_matches(name, known, n=1, cutoff=0)
        return f'there is no setting "{".".join(names)}", did you mean "{".".join([*owners, near])}"?'
    where, hint = ".".join(names), known[name]
    if first["type"] == MISSING:
        return f'the setting "{where}" is missing: add it'
    if first["type"] == "dataclass_type":
        return f"{where} must be a table"
    if first["type"] == "literal_error":
        return f'"{where}" is {first["input"]!r}, but must be one of {", ".join(map(repr, get_args(hint)))}'
    same = [error for error in errors if _names(settings, error["loc"]) == names]
    deepest = max(same, key=lambda error: len(error["loc"]))
    of_item = ITEMS.get(deepest["type"]) if isinstance(deepest["loc"][-1], int) else None
    return f'"{where}" is {deepest["input"]!r}, which is not of type {of_item or getattr(hint, "__name__", hint)}'


def _names(settings: type, where: Sequence[Any]) -> list[str]:
    """The names of the tables and of the setting in a place that pydantic names, which goes on into unions and lists."""
    names: list[str] = []
    inner: type | None = settings
    for part in where:
        if isinstance(part, int):  # of a list of tables
            continue
        names.append(str(part))
        inner = _table(get_type_hints(inner).get(part))
        if inner is None:
            break
    return names


def _within(settings: type, owners: Sequence[str]) -> type:
    """The dataclass of a table in a table."""
    for owner in owners:
        settings = _table(get_type_hints(settings)[owner]) or settings
    return settings


def _table(hint: Any) -> type | None:
    """The dataclass of a table, or of the tables in a list; None of a setting that is no table."""
    found = next((each for each in (hint, *get_args(hint)) if is_dataclass(each)), None)
    return found if isinstance(found, type) else None
