"""The OpenAPI document: FastAPI's own, with who may call what, the errors as they are really answered, and examples.

``GET /api/v1/openapi.json`` serves it and ``/api`` shows it to people (``app.dashboard``).
"""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.accounts.access import api_admin, api_signed_in, api_staff
from app.shell.web import SAFE_METHODS

Json = dict[str, Any]
VERSION = "1"
DESCRIPTION = """
Everything the pages do with batches, annotations, preferences and training, for programs.

**Signing in.** Send `Authorization: Bearer <token>`; make tokens under Profile, API tokens, or with `corral token`.

**Errors** are `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, and `errors` by field or line.
Responses to requests that can be retried say when, in `Retry-After`.

**Retries.** Send an `Idempotency-Key`, a UUID for example, with each write that lists it. For a
week, repeating a request with the same key returns the first answer instead of running it again; another request with
that key is refused. A write that lists no such header needs none: repeating it changes nothing.
"""
PROBLEMS = {
    "401": ("Unauthenticated", "No token, or an unknown or revoked one."),
    "403": ("Forbidden", "The role or the token's scopes do not allow it."),
    "404": ("NotFound", "It does not exist, or this caller may not see it."),
    "409": ("Conflict", "The state no longer allows it; `detail` says what changed."),
    "413": ("TooLarge", "The body is larger than accepted."),
    "422": ("BadInput", "The input is invalid; `errors` names each field or line, and why."),
    "429": (
        "TooMany",
        "Too many requests at once, or the daily quota is used up; try again after `Retry-After` seconds.",
    ),
    "503": (
        "Unavailable",
        "The database or the engine is unavailable, or the disk is full; try again after `Retry-After` seconds.",
    ),
}
PROBLEM: Json = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "A stable identifier of the kind of problem."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For people: what happened and what to do."},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"loc": {"type": "string"}, "msg": {"type": "string"}}},
        },
    },
    "examples": [
        {
            "type": "/api/v1/problems/bad-input",
            "title": "This input cannot be used",
            "status": 422,
            "detail": "Please correct: body.name: Field required.",
            "errors": [{"loc": "body.name", "msg": "Field required"}],
        }
    ],
}


def install(web: FastAPI) -> None:
    """Make ``web.openapi()`` build our document, once."""

    def build() -> Json:
        if web.openapi_schema is None:
            web.openapi_schema = document(web)
        return web.openapi_schema

    web.openapi = build  # type: ignore[method-assign]


def document(web: FastAPI) -> Json:
    """The whole document, from the routes of ``web``."""
    made = get_openapi(title="Corral", version=VERSION, description=DESCRIPTION.strip(), routes=web.routes)
    components = made.setdefault("components", {})
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A token, within its scopes."},
        "session": {"type": "apiKey", "in": "cookie", "name": "corral", "description": "A signed-in browser."},
    }
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["responses"] = {name: _problem(said) for name, said in PROBLEMS.values()}
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    made["security"] = [{"bearer": []}, {"session": []}]
    routes = _routes(web)
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            _complete(routes[path, method.upper()], method.upper(), operation)
    return made


def _problem(description: str) -> Json:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


def _routes(web: FastAPI) -> dict[tuple[str, str], APIRoute]:
    found = [route for route in web.routes if isinstance(route, APIRoute) and route.include_in_schema]
    return {(_without_converters(route.path_format), method): route for route in found for method in route.methods}


def _without_converters(path: str) -> str:
    return re.sub(r":\w+}", "}", path)


def _complete(route: APIRoute, method: str, operation: Json) -> None:
    """Add what FastAPI does not know: a summary in words, who may call it, and how it really fails."""
    first, _, rest = " ".join(route.description.split()).partition(". ")
    operation["summary"] = route.summary or first.rstrip(".")
    operation["description"] = route.description if route.summary else rest
    operation["x-access"] = _who(_calls(route.dependant), reads=method in SAFE_METHODS)
    statuses = {"401", "403", "422", "503"}
    statuses |= {"404"} if _asks(route.dependant) else set()  # an id that names nothing may stand anywhere
    statuses |= set() if method in SAFE_METHODS else {"404", "409", "413", "429"}
    answers = operation["responses"]
    for status in sorted(statuses):
        if status not in answers or "HTTPValidationError" in str(answers[status]):  # a route may say it more precisely
            answers[status] = {"$ref": f"#/components/responses/{PROBLEMS[status][0]}"}


def _who(calls: set[Any], *, reads: bool) -> str:
    if api_staff in calls:
        people = "admins" if api_admin in calls else "reviewers and admins"
        return f"{people}; token scope {'read or admin' if reads else 'admin'}"
    if api_signed_in in calls:
        return f"everyone with an account; token scope {'annotate, read or admin' if reads else 'annotate or admin'}"
    return "anyone"


def _asks(dependant: Dependant) -> bool:
    own = dependant.path_params or dependant.query_params or dependant.body_params
    return bool(own) or any(map(_asks, dependant.dependencies))


def _calls(dependant: Dependant) -> set[Any]:
    return {dependant.call}.union(*(_calls(each) for each in dependant.dependencies))
