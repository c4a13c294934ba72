"""An engine that is away for a while costs no night: what asks it waits, and goes on behind the lines that are there."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from workers.engines.protocol import EngineAway, ModelMissing
from workers.training import lines


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every pause; none takes time, and the clock goes on by it."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: sum(pauses))
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def work(*ends: Exception | int) -> Callable[[], int]:
    """What ends in one way after the other."""
    left = list(ends)

    def once() -> int:
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return once


def test_an_engine_that_starts_beside_a_training_is_waited_for(
    slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    starting = work(EngineAway("It does not accept connections."), ModelMissing("It has no champion yet."), 0)
    assert lines.patiently(starting, "what there is is kept", 60) == 0
    assert slept == [lines.PAUSE] * 2
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "waiting for the engine: It does not accept connections.",
        "waiting for the engine: It has no champion yet.",
    ]
    assert not said.err


def test_the_wait_ends_and_says_what_to_do(slept: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    away = work(*[EngineAway("Nobody answers.")] * 9)
    assert lines.patiently(away, "the samples so far are kept", 12) == 1
    assert slept == [5.0, 5.0, 2.0]
    assert capsys.readouterr().err == (
        "Nobody answers. Start again when the engine is back: the samples so far are kept.\n"
    )


def test_an_engine_that_answered_in_between_is_waited_for_anew(slept: list[float]) -> None:
    pauses = slept

    starting = work(EngineAway("It died."), EngineAway("It died again."), 4)

    def for_an_hour() -> int:
        pauses.append(3600.0)
        return starting()

    assert lines.patiently(for_an_hour, "kept", 12) == 4
    assert pauses == [3600.0, 5.0, 3600.0, 5.0, 3600.0]


def test_what_is_no_absence_ends_at_once(slept: list[float]) -> None:
    with pytest.raises(ZeroDivisionError):
        lines.patiently(work(ZeroDivisionError()), "kept", 60)
    assert lines.patiently(work(2), "kept", 60) == 2
    assert slept == []
