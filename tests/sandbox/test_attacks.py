"""What models wrote cannot hurt the machine that runs it: attacks, let loose in every sandbox by every user."""

from __future__ import annotations

import pytest

from tests.sandbox.users import LONG, let_loose
from workers.sandbox.attacks import ATTACKS

KINDS = ["bubblewrap", "landlock", "landlock-1"]
NEWER = [f"landlock-{version}" for version in range(2, 7)]
REACHING = ("kill", "net", "rights", "secrets", "symlink")
THROUGH = ("kill", "others", "secrets", "rights", "symlink", "net", "orphan", "inodes", "bigfile")
"""What comes through where nothing stops it, without harm to the machine that the tests run on."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LONG + 60), pytest.mark.xdist_group("attacks")]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("user", ["root", "user"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_attack_comes_through(kind: str, user: str, attack: str) -> None:
    came = let_loose(kind, user, *ATTACKS)
    if "" in came:
        pytest.skip(f"{kind} does not start here: {came['']['error']}")
    assert came[attack]["open"] is False, came[attack]["got"]


@pytest.mark.parametrize("attack", REACHING)
@pytest.mark.parametrize("kind", NEWER)
def test_what_one_landlock_does_not_hold_the_filter_holds(kind: str, attack: str) -> None:
    came = let_loose(kind, "user", *REACHING)
    if "" in came:
        pytest.skip(f"{kind} does not start here: {came['']['error']}")
    assert came[attack]["open"] is False, came[attack]["got"]


@pytest.mark.parametrize("attack", THROUGH)
def test_an_attack_comes_through_where_there_is_no_sandbox(attack: str) -> None:
    assert let_loose("nothing", "user", *THROUGH)[attack]["open"] is True
