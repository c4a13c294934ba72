"""Things that are found by name: made when they are first needed, and a wrong name says which there are."""

from __future__ import annotations

import pytest

from workers.registries import Registry


def test_a_thing_is_imported_when_it_is_first_needed_and_made_once() -> None:
    registry: Registry[object] = Registry("reader", "json")
    registry.register("fast", "decoder:JSONDecoder")
    registry.register("lost", "nowhere:Missing")
    assert registry.names() == ["fast", "lost"]
    assert registry.find("fast") is registry.find("fast")
    registry.check("lost")
    with pytest.raises(ModuleNotFoundError):
        registry.find("lost")


def test_a_name_that_nothing_has_and_one_that_two_have_are_said() -> None:
    registry: Registry[object] = Registry("reader", "json")
    registry.register("fast", "decoder:JSONDecoder")
    registry.register("slow", "scanner:Slow")
    for asks in (registry.find, registry.check):
        with pytest.raises(ValueError, match="No reader is called “odd”: there are fast, slow"):
            asks("odd")
    with pytest.raises(ValueError, match="Two readers are called “fast”: decoder:JSONDecoder and scanner:Fast"):
        registry.register("fast", "scanner:Fast")
