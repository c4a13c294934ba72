from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workers.sandbox.bubblewrap import BubblewrapSandbox
from workers.sandbox.landlock import LandlockSandbox
from workers.sandbox.process import LocalSandbox
from workers.sandbox.protocol import NoSandbox
from workers.sandbox.serve import Service
from workers.sandbox.service import ServiceSandbox

KINDS: dict[str, Callable[[], LocalSandbox]] = {"bubblewrap": BubblewrapSandbox, "landlock": LandlockSandbox}


@pytest.fixture(scope="session")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a service answers, which runs in a thread of this process."""
    path = tmp_path_factory.mktemp("service", numbered=True) / "socket"
    with Service(path) as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield path
        service.stop()
        thread.join()


@pytest.fixture(params=[*KINDS, "service"])
def sandbox(request: pytest.FixtureRequest) -> LocalSandbox | ServiceSandbox:
    """Each sandbox that starts here."""
    found: LocalSandbox | ServiceSandbox
    try:
        elsewhere = request.param == "service"
        found = ServiceSandbox(request.getfixturevalue("socket")) if elsewhere else KINDS[request.param]()
        found.run(["bash", "-c", "true"])
    except NoSandbox as error:
        pytest.skip(f"{request.param} does not start here: {error}")
    return found
