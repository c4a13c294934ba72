"""A real identity provider (Canaille) in a process of its own: ``python -m tests.accounts.identity_provider PORT BACK``.

Whoever comes with the header ``x-person`` is signed in there as that person and has agreed to be known to Corral.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import uuid
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

CLIENT, SECRET = "corral", "a secret of the client"
MISLED = "misled"
"""A client whose tokens are meant for ``CLIENT``."""
PEOPLE = {
    "dana": {"groups": ["staff"], "email": "dana@example.org"},
    "erin": {"groups": ["ml", "staff"], "email": "erin@example.org"},
    "frank": {"groups": ["visitors"], "email": "frank@example.org"},
}


def _settings(port: int) -> dict[str, Any]:
    from joserfc.jwk import RSAKey

    key = RSAKey.generate_key(2048)
    key.ensure_kid()
    return {
        "SECRET_KEY": str(uuid.uuid4()),
        "WTF_CSRF_ENABLED": False,
        "TESTING": True,
        "ENV_FILE": None,
        "PREFERRED_URL_SCHEME": "http",
        "SERVER_NAME": f"localhost:{port}",
        "CANAILLE": {"DATABASE": "memory", "JAVASCRIPT": False, "ACL": {"DEFAULT": {"PERMISSIONS": ["use_oidc"]}}},
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [key.as_dict(private=True)]},
    }


def _fill(app: Any, back: str) -> None:
    from canaille.app import models
    from canaille.backends import Backend

    now = dt.datetime.now(dt.UTC)
    keep = Backend.instance.save
    with app.app_context():
        clients = [_client(models, name, back, now) for name in (CLIENT, MISLED)]
        for client in clients:
            keep(client)
            client.audience = clients[:1]
            keep(client)
        members: dict[str, list[Any]] = {}
        for name, said in PEOPLE.items():
            user = models.User(
                user_name=name,
                formatted_name=name.capitalize(),
                family_name=name.capitalize(),
                emails=[said["email"]],
            )
            keep(user)
            for client in clients:
                agreed = {"client": client, "subject": user, "scope": client.scope, "issue_date": now}
                keep(models.Consent(consent_id=str(uuid.uuid4()), **agreed))
            for group in said["groups"]:
                members.setdefault(group, []).append(user)
        for group, people in members.items():
            keep(models.Group(display_name=group, members=people))


def _client(models: Any, name: str, back: str, now: dt.datetime) -> Any:
    return models.Client(
        client_id=name,
        client_secret=SECRET,
        client_name="Corral",
        redirect_uris=[back],
        grant_types=["authorization_code"],
        response_types=["code"],
        scope=["openid", "profile", "email", "groups"],
        token_endpoint_auth_method="client_secret_basic",
        client_id_issued_at=now,
    )


def main() -> None:
    """Serve until the process is ended."""
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    from canaille import create_app
    from canaille.app import models
    from canaille.app.session import UserSession
    from canaille.backends import Backend
    from flask import g, request

    port, back = int(sys.argv[1]), sys.argv[2]
    app = create_app(config=_settings(port), env_file=None)
    _fill(app, back)

    @app.before_request
    def sign_in() -> None:
        name = request.headers.get("x-person")
        if name:
            for code in Backend.instance.query(models.AuthorizationCode):
                Backend.instance.delete(code)  # the store in memory takes one that nobody used for a later one
            user = Backend.instance.get(models.User, user_name=name)
            g.session = UserSession(user=user, last_login_datetime=dt.datetime.now(dt.UTC))

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    make_server("localhost", port, app, handler_class=Quiet).serve_forever()


if __name__ == "__main__":
    main()
