"""MBPP, the full set and the sanitized one: a task in words, a program in Python, and assertions that call it.

The words seldom name the function, so the first assertion stands in the prompt, as an example. The others stay unseen.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping
from typing import Any

from app.kernel.locales import N_
from app.prompts.benchmarks import Benchmark, without
from app.prompts.bounded_json import Refused
from app.prompts.fields import json_cell

TESTS, CHALLENGES = "test_list", "challenge_test_list"
IMPORTS, SETUP = "test_imports", "test_setup_code"
EXAMPLE = "{0}\n\nYour code must satisfy, among others:\n\n```python\n{1}\n```"
_CALLED = re.compile(r"(?<![.\w])([^\W\d]\w*)\s*\(")
_DEFINED = re.compile(r"^(?:async\s+)?(?:def|class)\s+(\w+)", re.MULTILINE)


def _read(record: Mapping[str, Any]) -> dict[str, Any] | None:
    key = "text" if isinstance(record.get("text"), str) else "prompt"
    words, code = record.get(key), record.get("code")
    if record.get(TESTS) in (None, "", []) or not isinstance(words, str) or not isinstance(code, str):
        return None
    tests, more, setup = _texts(record, TESTS), _texts(record, CHALLENGES), _texts(record, IMPORTS)
    setup += [record[SETUP]] if isinstance(record.get(SETUP), str) else []
    read = without(record, key, "code", TESTS, CHALLENGES, IMPORTS, SETUP)
    whole = "\n".join([*filter(None, setup), *tests, *more])
    told = {"kind": "calls", "language": "python", "names": _names(whole, code), "code": whole + "\n"}
    return {"reference": code} | read | {"prompt": EXAMPLE.format(words.rstrip(), tests[0].strip()), "tests": [told]}


def _texts(record: Mapping[str, Any], key: str) -> list[str]:
    given = json_cell(record.get(key), key)
    if given in (None, ""):
        return []
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise Refused(N_('has a "{key}" that is not a list of texts: write each assertion as one'), key=key)
    return list(given)


def _names(tests: str, code: str) -> list[str]:
    """What the tests call of the program."""
    called = dict.fromkeys(_CALLED.findall(tests))
    defined = set(_DEFINED.findall(code))
    names = [name for name in called if name in defined]
    names = names or [name for name in called if not hasattr(builtins, name) and name != "assert"]
    if not names:
        raise Refused(
            N_('has a "{tests}" that calls no function of its "code": write assertions that call it'), tests=TESTS
        )
    return names


BENCHMARK = Benchmark(name="MBPP", capability="code", read=_read)
