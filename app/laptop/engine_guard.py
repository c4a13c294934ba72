"""Runs inside the engine: whoever can have it sleep has its key.

vLLM has the paths for that in its development mode, with others that run what they are told, and asks for its key under ``/v1``
only. So all paths ask for it here, but for the two that only say that it is there.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

OPEN = frozenset({"/health", "/version"})


async def keyed(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer a request that has the key of the environment, or needs none."""
    key = os.environ.get("VLLM_API_KEY", "")
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if request.url.path in OPEN or (key and secrets.compare_digest(given.encode(), key.encode())):
        return await answer(request)
    return JSONResponse({"error": {"message": "Unauthorized"}}, status_code=401)
