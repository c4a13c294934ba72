"""A broker whose log a power cut broke starts without it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from app.kernel.settings import Settings
from app.services.broker_log import LOG, set_broken_aside
from app.services.embedded import Valkey
from tests.patience import PATIENCE, eventually


def run(broker: Valkey, meanwhile: Callable[[redis.Redis], object]) -> None:
    process = subprocess.Popen(broker.command(), stdout=subprocess.DEVNULL)
    try:
        eventually(broker.ready, PATIENCE, "the broker")
        meanwhile(redis.Redis.from_url(broker.url))
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def broker(place: Path) -> Valkey:
    """A broker that ran, was given something, and ended."""
    broker = Valkey(place / "broker")
    broker.prepare()
    assert set_broken_aside(broker) is None, "there is nothing to set aside before the first start"
    run(broker, lambda client: client.lpush("generation", *range(50)))
    return broker


def nul_bytes(log: Path) -> None:
    for file in log.glob("*.incr.aof"):
        with file.open("ab") as end:
            end.write(bytes(4096))


def noise_in_the_middle(log: Path) -> None:
    for file in log.glob("*.incr.aof"):
        content = file.read_bytes()
        file.write_bytes(content[:20] + b"\xff" * 20 + content[40:])


def a_broken_base(log: Path) -> None:
    for file in log.glob("*.base.*"):
        file.write_bytes(bytes(64))


def a_broken_manifest(log: Path) -> None:
    for file in log.glob("*.manifest"):
        file.write_bytes(bytes(64))


def a_lost_file(log: Path) -> None:
    for file in log.glob("*.base.*"):
        file.unlink()


@pytest.mark.parametrize("damage", [nul_bytes, noise_in_the_middle, a_broken_base, a_broken_manifest, a_lost_file])
def test_a_broken_log_is_set_aside_and_the_broker_starts(broker: Valkey, damage: Callable[[Path], None]) -> None:
    damage(broker.folder / LOG)
    aside = set_broken_aside(broker)
    assert aside is not None
    assert list(aside.iterdir()), "what was there is kept for whoever wants to look"
    run(broker, lambda client: client.ping())
    assert set_broken_aside(broker) is None


def test_a_whole_log_stays(broker: Valkey) -> None:
    assert set_broken_aside(broker) is None
    kept: list[object] = []
    run(broker, lambda client: kept.append(client.llen("generation")))
    assert kept == [50]


def test_a_log_is_not_blamed_for_what_else_is_wrong(broker: Valkey) -> None:
    with (broker.folder / "valkey.conf").open("a") as config:
        config.write("no-such-setting yes\n")
    before = sorted(file.name for file in (broker.folder / LOG).iterdir())
    assert set_broken_aside(broker) is None
    assert sorted(file.name for file in (broker.folder / LOG).iterdir()) == before


def test_what_a_killed_worker_held_is_taken_up_again_within_two_minutes() -> None:
    """Whatever its host is called and however it ended: one sweep gives it back, at the latest the next one rings for it."""
    defaults = Settings.model_fields
    assert defaults["generation_lease"].default + 2 * defaults["sweep_interval"].default < 100
