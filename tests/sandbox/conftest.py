from __future__ import annotations

from collections.abc import Callable

import pytest

from workers.sandbox.bubblewrap import BubblewrapSandbox
from workers.sandbox.landlock import LandlockSandbox
from workers.sandbox.process import LocalSandbox
from workers.sandbox.protocol import NoSandbox

KINDS: dict[str, Callable[[], LocalSandbox]] = {"bubblewrap": BubblewrapSandbox, "landlock": LandlockSandbox}


@pytest.fixture(params=KINDS)
def sandbox(request: pytest.FixtureRequest) -> LocalSandbox:
    """Each sandbox that starts here."""
    try:
        found = KINDS[request.param]()
        found.run(["bash", "-c", "true"])
    except NoSandbox as error:
        pytest.skip(f"{request.param} does not start here: {error}")
    return found
