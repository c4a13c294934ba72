"""What is checked of a token, of the provider's document and of the setting, without a provider."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from app.accounts import oidc
from app.accounts.oidc import Begun, Problem
from app.accounts.oidc_transport import MOST_BYTES
from app.kernel.providing import IdentityProvider
from app.kernel.settings import Settings
from tests.accounts import identity_provider
from tests.accounts.conftest import BACK, ROLES, SITE, Configure
from tests.patience import PATIENCE

KEY = RSAKey.generate_key(2048, parameters={"kid": "one"})
OTHER_KEY = RSAKey.generate_key(2048, parameters={"kid": "one"})
GOOD = {"iss": "http://localhost", "aud": "corral", "sub": "7", "nonce": "nonce", "iat": 0, "exp": 300}
"""The claims of a token; times are seconds from when it is made."""


def signed(claims: dict[str, Any], key: Any = KEY, algorithm: str = "RS256") -> str:
    now = int(time.time())
    given = {
        name: value + now if name in {"iat", "exp"} else value for name, value in claims.items() if value is not None
    }
    return jwt.encode({"alg": algorithm, "kid": "one"}, given, key, algorithms=[algorithm])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"aud": ["corral"], "azp": "corral"}, None),
        ({"exp": -30}, None),  # a minute between the clocks is no harm
        ({"aud": "another"}, "is meant for another application"),
        ({"aud": ["corral", "another"], "azp": "another"}, "is meant for another application"),
        ({"iss": "https://evil.example"}, "of another provider"),
        ({"nonce": "of another try"}, "began elsewhere"),
        ({"nonce": None}, "began elsewhere"),
        ({"exp": -600}, "its clock and this server's differ"),
        ({"iat": 600}, "its clock and this server's differ"),
        ({"exp": None}, "its clock and this server's differ"),
        ({"sub": None}, "names nobody"),
        ({"sub": 7}, "names nobody"),
    ],
    ids=str,
)
def test_every_claim_of_a_token_is_checked(configure: Configure, changed: dict[str, Any], said: str | None) -> None:
    provider = configure("http://localhost", client_secret="")
    found = verdict(provider, signed({**GOOD, **changed}))
    assert found is None if said is None else said in (found or "")


def verdict(provider: IdentityProvider, token: str) -> str | None:
    keys = {"keys": [KEY.as_dict(private=False)]}
    try:
        oidc._checked(provider, Begun("state", "nonce", "v", "/"), {"id_token": token}, keys)
    except Problem as problem:
        return problem.message
    return None


def test_only_the_providers_own_keys_sign(configure: Configure) -> None:
    provider = configure("http://localhost")
    forged = signed(GOOD, OTHER_KEY)
    by_secret = signed(GOOD, OctKey.import_key(identity_provider.SECRET), "HS256")
    header, body, _ = forged.split(".")
    unsigned = f"eyJhbGciOiJub25lIn0.{body}."
    for token in (forged, by_secret, unsigned, f"{header}.{body}.", "no token", ""):
        assert "do not prove" in str(verdict(provider, token)), token


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"issuer": "http://id.example"}, "https"),
        ({"roles": {}}, "roles"),
        ({"roles": {"staff": "owner"}}, "roles"),
        ({"scopes": "email"}, "openid"),
        ({"issuer": "https://user:pw@id.example"}, "issuer"),
    ],
)
def test_a_provider_that_is_not_safe_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], problem: str
) -> None:
    whole = {"issuer": "https://id.example", "client_id": "corral", "roles": ROLES, **said}
    monkeypatch.setenv("CORRAL_OIDC", json.dumps(whole))
    monkeypatch.setenv("CORRAL_PUBLIC_URL", SITE)
    with pytest.raises(ValueError, match=problem):
        Settings()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"issuer": "https://evil.example"}, "names itself otherwise"),
        ({"jwks_uri": "http://169.254.169.254/keys"}, "a host that CORRAL_OIDC does not list"),
        ({"token_endpoint": "http://intranet.example/"}, "a host that CORRAL_OIDC does not list"),
        ({"padding": "x" * MOST_BYTES}, "cannot be reached"),
    ],
    ids=["another issuer", "keys elsewhere", "tokens elsewhere", "too large"],
)
def test_nobody_is_asked_but_the_hosts_that_are_set(
    configure: Configure, serving: Callable[[dict[str, Any]], str], document: dict[str, Any], said: str
) -> None:
    issuer = serving(document)
    provider = configure(issuer)
    with pytest.raises(Problem, match=said):
        oidc.claims_of(provider, Begun("state", "nonce", "v" * 43, "/"), BACK, "code")


@pytest.fixture
def serving() -> Iterator[Callable[[dict[str, Any]], str]]:
    """A provider that answers every GET with its document and gives any token."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    document: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(document)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._answer({"access_token": "x", "token_type": "Bearer", "id_token": "x"})

        def _answer(self, said: dict[str, Any]) -> None:
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    issuer = f"http://127.0.0.1:{server.server_port}"

    def made(changed: dict[str, Any]) -> str:
        paths = {"authorization_endpoint": "/a", "token_endpoint": "/t", "jwks_uri": "/k"}
        document.update({"issuer": issuer, **{name: issuer + path for name, path in paths.items()}, **changed})
        return issuer

    yield made
    server.shutdown()
    thread.join(PATIENCE)
    server.server_close()
