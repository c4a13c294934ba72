"""Places where a test may end the process, as kill -9 would. Without ``CORRAL_FAILPOINT`` they do nothing.

``CORRAL_FAILPOINT=generation.recorded`` ends the process there the first time; ``generation.asked:poison-1`` only for
that key. A fault that is written down beside the line it hits can be repeated.
"""

from __future__ import annotations

import os

EXIT_STATUS = 137
"""As the shell reports a process that was killed by signal 9."""


def failpoint(name: str, key: str = "") -> None:
    """End the process at once, without clean-up, when the environment asks for it at this place."""
    wanted = os.environ.get("CORRAL_FAILPOINT")
    if wanted and wanted in {name, f"{name}:{key}"}:
        os._exit(EXIT_STATUS)
