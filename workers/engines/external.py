"""The engines of external models: one client for each model of an endpoint, made when it is first asked."""

from __future__ import annotations

from app.kernel.settings import EngineKind, Settings
from app.registry.models import External
from workers.engines.openai import OpenAIEngine
from workers.engines.protocol import EngineAway


class ExternalEngines:
    """Clients of external models, kept for as long as whoever asks; used inside one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[tuple[str, str], OpenAIEngine] = {}

    def of(self, external: External) -> OpenAIEngine:
        """The client that asks for this model.

        Raises:
            EngineAway: the operator has taken its endpoint out of ``CORRAL_ENDPOINTS``.
        """
        key = external.endpoint, external.model
        if key not in self._known:
            self._known[key] = external_engine(self._settings, *key)
        return self._known[key]

    async def aclose(self) -> None:
        """Close the connections of all."""
        for engine in self._known.values():
            await engine.aclose()


def external_engine(settings: Settings, endpoint: str, model: str) -> OpenAIEngine:
    """A client of one model of one endpoint. Raises EngineAway: no such endpoint is set up."""
    there = settings.endpoints.get(endpoint)
    if there is None:
        raise EngineAway(f"No endpoint called {endpoint} is set up: add it to CORRAL_ENDPOINTS.")
    of_it = {
        "engine_url": there.url,
        "engine_kind": EngineKind.OPENAI,
        "engine_api_key": there.key,
        "engine_concurrency": there.concurrency,
        "engine_accepts_seed": True,
    }
    key = f"the key of {endpoint} in CORRAL_ENDPOINTS"
    return OpenAIEngine(settings.model_copy(update=of_it), model=model, key=key)
