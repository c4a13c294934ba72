"""A real identity provider (Canaille) in a process of its own: ``python -m tests.accounts.identity_provider PORT BACK``.

With ``ADDRESS CERTIFICATE KEY`` behind these it is at https://ADDRESS:PORT, for whoever reaches this machine. Tests start it
by :func:`running`.

Whoever comes with the header ``x-person`` is signed in there as that person and has agreed to be known to Corral.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from app.kernel.settings import ROOT
from tests.certified import Files, serving
from tests.patience import PATIENCE, eventually

CLIENT, SECRET = "corral", "a secret of the client"
MISLED = "misled"
"""A client whose tokens are meant for ``CLIENT``."""
PEOPLE = {
    "dana": {"groups": ["staff"], "email": "dana@example.org"},
    "erin": {"groups": ["ml", "staff"], "email": "erin@example.org"},
    "frank": {"groups": ["visitors"], "email": "frank@example.org"},
}


def _settings(at: str, scheme: str) -> dict[str, Any]:
    from joserfc.jwk import RSAKey

    key = RSAKey.generate_key(2048)
    key.ensure_kid()
    return {
        "SECRET_KEY": str(uuid.uuid4()),
        "WTF_CSRF_ENABLED": False,
        "TESTING": True,
        "ENV_FILE": None,
        "PREFERRED_URL_SCHEME": scheme,
        "SERVER_NAME": at,
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


@contextmanager
def running(
    port: int, back: str, folder: Path, address: str = "localhost", files: Files | None = None
) -> Iterator[str]:
    """Its address once it takes connections; its log is in ``folder``. With ``files`` it speaks TLS at ``address``."""
    more = [address, *map(str, files)] if files else []
    command = [sys.executable, "-m", "tests.accounts.identity_provider", str(port), back, *more]
    own = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    log = folder / "log"
    with log.open("wb") as out, subprocess.Popen(command, cwd=ROOT, env=own, stdout=out, stderr=out) as process:

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            with socket.socket() as asks:
                return asks.connect_ex(("127.0.0.1", port)) == 0

        try:
            eventually(listens, PATIENCE, "the provider's start")
            yield f"{'https' if files else 'http'}://{address}:{port}"
        finally:
            process.kill()


def main() -> None:
    """Serve until the process is ended."""
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    from canaille import create_app
    from canaille.app import models
    from canaille.app.session import UserSession
    from canaille.backends import Backend
    from flask import g, request

    port, back = int(sys.argv[1]), sys.argv[2]
    address, *files = sys.argv[3:] or ["localhost"]
    app = create_app(config=_settings(f"{address}:{port}", "https" if files else "http"), env_file=None)
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

    server = make_server("" if files else address, port, app, handler_class=Quiet)
    if files:
        server.socket = serving((Path(files[0]), Path(files[1]))).wrap_socket(server.socket, server_side=True)
        server.base_environ["HTTPS"] = "on"  # what WSGI takes the scheme from
    server.serve_forever()


if __name__ == "__main__":
    main()
