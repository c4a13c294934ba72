"""OpenID Connect with the operator's provider: the code flow with PKCE, through Authlib and joserfc.

It is asked at the issuer's own host and those that the setting lists, never where an answer sends us; each exchange is bounded
in time and size. Its document and keys are fetched for each sign-in: there are few, and a rotated key is never an old one.
No transaction is open meanwhile. Every failure is a :class:`Problem` with one sentence for the person.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

import structlog

from app.accounts.oidc_transport import Refused, transport
from app.kernel.errors import AppError
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.providing import IdentityProvider

log = structlog.get_logger()

LEEWAY = 60
"""Seconds by which the clocks of provider and server may differ."""
SIGNED_BY = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
"""Algorithms that need the provider's own key. Not HS256, which anybody with the client's secret could use, and not none."""


class Problem(AppError):
    """The provider is away (503), or what it says lets nobody in (422)."""

    status: ClassVar[int] = 422

    def __init__(self, message: str, *, reason: str, away: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = 503 if away else 422


@dataclass(frozen=True)
class Begun:
    """A sign-in that has begun in a browser, whose sealed cookie carries this until the provider sends it back."""

    state: str
    nonce: str
    verifier: str
    next: str
    connect: int | None = None
    """Who is connecting their account, where it is no sign-in."""
    again: bool = False
    """Whether the provider was told to ask for the password again."""


@dataclass(frozen=True)
class Claims:
    """What the provider says of somebody."""

    subject: str
    said: Mapping[str, Any]
    asked_at: float | None
    """When it last asked them who they are, in seconds of Unix time; None where it does not say."""

    def text(self, name: str) -> str:
        """A claim that is a text; empty where there is none."""
        value = self.said.get(name)
        return value if isinstance(value, str) else ""

    def groups(self, name: str) -> frozenset[str]:
        """A claim that lists groups."""
        value = self.said.get(name)
        listed = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        return frozenset(each for each in listed if isinstance(each, str))


def address(provider: IdentityProvider, begun: Begun, back: str) -> str:
    """Where the browser goes on: the provider's page, which sends it back to ``back``."""
    with _client(provider, back) as client:
        where = _document(provider, client)["authorization_endpoint"]
        more = {"prompt": "login"} if begun.again else {}
        url, _ = client.create_authorization_url(
            where, state=begun.state, code_verifier=begun.verifier, nonce=begun.nonce, **more
        )
    return str(url)


def claims_of(provider: IdentityProvider, begun: Begun, back: str, code: str) -> Claims:
    """Who came back with ``code``, once everything about it is checked."""
    with _client(provider, back) as client:
        document = _document(provider, client)
        methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if provider.client_secret.get_secret_value() and "client_secret_basic" not in methods:
            client.token_endpoint_auth_method = "client_secret_post"  # noqa: S105 - the name of a method
        token = _asked(
            provider,
            lambda: client.fetch_token(
                document["token_endpoint"],
                grant_type="authorization_code",
                code=code,
                code_verifier=begun.verifier,
                redirect_uri=back,
            ),
        )
        keys = _json(provider, client, document["jwks_uri"])
        said = _checked(provider, begun, token, keys)
        if provider.groups_claim not in said and document.get("userinfo_endpoint"):
            more = _json(provider, client, document["userinfo_endpoint"], token=token)
            if more.get("sub") != said["sub"]:
                raise _untrue(
                    provider,
                    N_("{provider} spoke of two people at once, so nobody is signed in."),
                    "userinfo of another subject",
                )
            said = {**more, **said}
    asked_at = said.get("auth_time")
    return Claims(said["sub"], said, float(asked_at) if isinstance(asked_at, int | float) else None)


def _client(provider: IdentityProvider, back: str) -> Any:
    from authlib.integrations.httpx_client import OAuth2Client

    return OAuth2Client(
        client_id=provider.client_id,
        client_secret=provider.client_secret.get_secret_value() or None,
        scope=provider.scopes,
        redirect_uri=back,
        code_challenge_method="S256",
        transport=transport(provider),
        trust_env=False,
    )


def _document(provider: IdentityProvider, client: Any) -> dict[str, Any]:
    found = _json(provider, client, f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration")
    wanted = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    if found.get("issuer") != provider.issuer or not all(isinstance(found.get(each), str) for each in wanted):
        raise _untrue(
            provider,
            N_("{provider} names itself otherwise than CORRAL_OIDC does, so nobody is signed in."),
            "document of another issuer",
        )
    if urlsplit(found["authorization_endpoint"]).scheme != urlsplit(provider.issuer).scheme:
        raise _untrue(
            provider,
            N_("{provider} wants to be asked without https, so nobody is signed in."),
            "authorization endpoint without https",
        )
    return found


def _json(
    provider: IdentityProvider, client: Any, url: str, *, token: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    headers = {"accept": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token.get('access_token', '')}"
    answer = _asked(provider, lambda: client.request("GET", url, withhold_token=True, headers=headers))
    if answer.status_code != 200:
        raise _away(provider, f"status {answer.status_code} of {urlsplit(url).path}")
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _away(provider, f"no JSON at {urlsplit(url).path}")
    return found


def _asked(provider: IdentityProvider, ask: Any) -> Any:
    import httpx2
    from authlib.integrations.base_client import OAuthError

    try:
        return ask()
    except Refused as error:
        raise _untrue(
            provider,
            N_("{provider} sends Corral to a host that CORRAL_OIDC does not list, so nobody is signed in."),
            str(error),
        ) from None
    except OAuthError as error:
        raise _untrue(
            provider, N_("{provider} did not accept this sign-in; start again."), f"refused: {error.error}"
        ) from None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TypeError, KeyError) as error:
        raise _away(provider, type(error).__name__) from None


def _checked(
    provider: IdentityProvider, begun: Begun, token: Mapping[str, Any], keys: dict[str, Any]
) -> dict[str, Any]:
    from authlib.oidc.core import CodeIDToken
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    try:
        signed = jwt.decode(str(token["id_token"]), KeySet.import_key_set(keys), algorithms=SIGNED_BY)  # type: ignore[arg-type]
        claims = CodeIDToken(
            signed.claims,
            signed.header,
            {
                "iss": {"essential": True, "value": provider.issuer},
                "aud": {"essential": True, "value": provider.client_id},
                "nonce": {"essential": True, "value": begun.nonce},
            },
            {"nonce": begun.nonce, "client_id": provider.client_id, "access_token": token.get("access_token")},
        )
        claims.validate(now=int(time.time()), leeway=LEEWAY)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unproven(provider, error) from None
    if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255 or "\0" in claims["sub"]:
        raise _untrue(provider, N_("{provider} names nobody in its answer, so nobody is signed in."), "no subject")
    return dict(claims)


def _unproven(provider: IdentityProvider, error: Exception) -> Problem:
    kind, claim = getattr(error, "error", type(error).__name__), getattr(error, "claim", "")
    what = {
        "aud": N_("{provider} sent a sign-in that is meant for another application, so nobody is signed in."),
        "azp": N_("{provider} sent a sign-in that is meant for another application, so nobody is signed in."),
        "iss": N_("{provider} sent a sign-in of another provider, so nobody is signed in."),
        "nonce": N_("{provider} sent a sign-in that began elsewhere; start again."),
        "sub": N_("{provider} names nobody in its answer, so nobody is signed in."),
    }.get(claim, N_("{provider} sent a sign-in that its own keys do not prove, so nobody is signed in."))
    if kind in {"expired_token", "invalid_token"} or claim in {"exp", "iat", "nbf"}:
        what = N_(
            "{provider} sent a sign-in that is over, or of a time to come: its clock and this server's differ, so nobody is "
            "signed in."
        )
    return _untrue(provider, what, f"{kind} {claim}".strip())


def _untrue(provider: IdentityProvider, what: str, reason: str) -> Problem:
    log.warning("provider_refused", reason=reason)
    said = _(what, provider=_named(provider))
    if "start again" not in what:
        said += " " + _("An operator can see the reason in the log.")
    return Problem(said, reason=f"provider: {reason}")


def _away(provider: IdentityProvider, reason: str) -> Problem:
    log.warning("provider_away", reason=reason)
    sentence = _(
        "{provider} cannot be reached at the moment. Try again in a minute, or sign in with your password.",
        provider=_named(provider),
    )
    return Problem(sentence, reason=f"provider away: {reason}", away=True)


def _named(provider: IdentityProvider) -> str:
    return provider.label[0].upper() + provider.label[1:]
