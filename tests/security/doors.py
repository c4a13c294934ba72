"""Every way into the application, read off its routes, with who may use it. A new route is in the tests by existing.

``door.url(batch_id=7)`` fills a path; ids that are not named become one that no row has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount

from app.accounts import access
from app.accounts.models import Role

NO_SUCH_ID = 2**40
SAFE = {"GET", "HEAD"}
ANYONE = "anyone"
SIGNED_IN = "everyone with an account"

# Each lets strangers in on purpose.
OPEN_DOORS = {
    ("GET", "/login"): "to sign in",
    ("POST", "/login"): "to sign in",
    ("GET", "/login/code"): "to sign in, once the password was right",
    ("POST", "/login/code"): "to sign in, once the password was right",
    ("GET", "/login/provider"): "to sign in",
    ("GET", "/login/provider/back"): "to sign in, with what the identity provider says",
    ("POST", "/logout"): "signing out of a session that is over is no error",
    ("GET", "/invite/{secret}"): "the secret is the permission",
    ("POST", "/invite/{secret}"): "the secret is the permission",
    ("POST", "/theme"): "the colours of the sign-in page",
    ("POST", "/locale"): "the language of the sign-in page",
    ("GET", "/static/modules/{version}/{name}"): "scripts, as under /static",
    ("GET", "/static/bundles/{name}"): "style sheets, as under /static",
    ("GET", "/static/texts/{code}.js"): "what scripts say in another language, as under /static",
    ("GET", "/healthz"): "says only that the process answers",
    ("GET", "/readyz"): "says only that the database answers",
}
OPEN_MOUNTS = {"/static"}
# A GET that writes, each with its reason.
_ITS_EVENT = "the audit log has each export, before its first byte and at its end, in a transaction of its own"
WRITING_GETS = {
    "/invite/{secret}": "the audit log has each try of a link that does not work",
    "/preferences/export": _ITS_EVENT,
    "/api/v1/preferences/export": _ITS_EVENT,
    "/login/provider/back": "signs in, where state, code and token are right; the audit log has each try",
    "/audit-log/events.jsonl": _ITS_EVENT,
    "/audit-log/events.csv": _ITS_EVENT,
    "/api/v1/audit-log/events.csv": _ITS_EVENT,
    "/api/v1/audit-log/events.jsonl": _ITS_EVENT,
    "/snapshots/{snapshot_id}/preferences.jsonl": "the audit log has each download of a snapshot that there is",
    "/api/v1/snapshots/{snapshot_id}/preferences.jsonl": "the audit log has each download of a snapshot that there is",
}


@dataclass(frozen=True)
class Door:
    """One method on one path."""

    method: str
    template: str
    roles: frozenset[Role]
    """Who may come in; empty for strangers too."""

    @property
    def is_api(self) -> bool:
        return self.template.startswith(("/api/", "/metrics"))

    @property
    def has_id(self) -> bool:
        return "{" in self.template

    def url(self, **ids: object) -> str:
        return re.sub(r"{(\w+)(:\w+)?}", lambda match: str(ids.get(match[1], NO_SUCH_ID)), self.template)

    def knock(self, client: TestClient, **options: Any) -> Any:
        return client.request(self.method, self.url(), **options)

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def doors(web: FastAPI) -> list[Door]:
    """All routes of ``web``."""
    return list(_doors(web))


def _doors(web: FastAPI) -> Iterator[Door]:
    for route in web.routes:
        if isinstance(route, Mount):
            assert route.path in OPEN_MOUNTS, f"{route.path} is mounted and nobody asks who comes in"
            continue
        assert isinstance(route, APIRoute), f"{route} is of a kind that no test knows"
        roles = _roles(_calls(route.dependant))
        for method in sorted(route.methods):
            yield Door(method, route.path, roles)


def _roles(calls: set[Callable[..., Any] | None]) -> frozenset[Role]:
    if calls & {access.admin, access.api_admin}:
        return frozenset({Role.ADMIN})
    if calls & {access.reviewer, access.staff_alone, access.api_staff}:
        return frozenset({Role.ADMIN, Role.REVIEWER})
    return frozenset(Role) if calls & {access.signed_in, access.api_signed_in} else frozenset()


def _calls(dependant: Dependant) -> set[Callable[..., Any] | None]:
    return {dependant.call}.union(*(_calls(each) for each in dependant.dependencies))
