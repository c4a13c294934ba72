"""How long requests took, by route template: counted here by each web process, reported by ``/metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram
from starlette.types import Scope

registry = CollectorRegistry()
REQUESTS = Histogram(
    "corral_request_seconds",
    "Time from a request's arrival to the end of its response.",
    ["method", "route", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=registry,
)
UNMATCHED = "unmatched"


def route_of(scope: Scope) -> str:
    """The template of the route that answered: few values, and no secret or id in them."""
    route = scope.get("route")
    template = getattr(route, "path_format", None) or getattr(route, "path", None)
    if isinstance(template, str):
        return template
    return UNMATCHED


def observe(scope: Scope, status: int, seconds: float) -> None:
    """Count one request."""
    REQUESTS.labels(scope["method"], route_of(scope), str(status)).observe(seconds)
