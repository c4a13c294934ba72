"""What an operator says of the identity provider by which people sign in (OpenID Connect)."""

from __future__ import annotations

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from app.kernel.addresses import host_of

RoleName = Literal["annotator", "reviewer", "admin"]
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class IdentityProvider(BaseModel):
    """One provider. It is asked at its own address, and nowhere else but at ``hosts``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    issuer: str = Field(pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$")
    """As its own tokens name it, to the letter."""
    client_id: str = Field(min_length=1, max_length=200)
    client_secret: SecretStr = SecretStr("")
    """Empty: a public client, which PKCE alone protects."""
    roles: dict[str, RoleName] = Field(min_length=1)
    """Which group of the provider has which role; the strongest counts, and who is in none is refused."""
    groups_claim: str = Field(default="groups", min_length=1)
    """The claim that lists somebody's groups."""
    scopes: str = "openid email profile groups"
    """What is asked for. Providers that know no scope ``groups`` either ignore it or want it left out."""
    label: str = Field(default="your organisation", min_length=1, max_length=40)
    """What the provider is called on pages: "Sign in with …"."""
    hosts: tuple[str, ...] = ()
    """Further hosts that its document may name for tokens, keys and claims."""
    trust_email: bool = False
    """Whether its addresses count as verified where it does not say so (``email_verified``)."""
    only: bool = False
    """Whether people who are connected to it no longer sign in by a password."""

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.issuer.startswith("http://") and urlsplit(self.issuer).hostname not in LOOPBACK:
            raise ValueError("write the issuer with https: over http anybody on the way could sign in as anybody")
        if "openid" not in self.scopes.split():
            raise ValueError("the scopes have to include openid")
        for each in self.hosts:
            host_of(each)
        return self
