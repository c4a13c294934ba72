"""A laptop and a service run the same workers."""

from __future__ import annotations

import re

from app.kernel.jobs import Queue
from app.kernel.settings import ROOT
from app.laptop.pools import POOLS, Pool

WORKER = re.compile(r'worker, -Q, (\w+), -c, "(\d+)"(?:, -P, (\w+))?')


def test_compose_starts_the_worker_of_each_queue_as_the_laptop_does() -> None:
    found = WORKER.findall((ROOT / "docker-compose.yml").read_text())
    assert {Queue(queue): Pool(int(count), kind or "prefork") for queue, count, kind in found} == POOLS
    assert set(POOLS) == set(Queue)
