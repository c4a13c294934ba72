"""An identity provider that is set for one test."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.kernel.providing import IdentityProvider
from app.kernel.settings import get_settings
from tests.accounts import identity_provider

SITE = "http://testserver"
BACK = f"{SITE}/login/provider/back"
ROLES = {"staff": "annotator", "ml": "admin"}
Configure = Callable[..., IdentityProvider]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Set the provider."""

    def set_it(issuer: str, **more: Any) -> IdentityProvider:
        said = {
            "issuer": issuer,
            "client_id": identity_provider.CLIENT,
            "client_secret": identity_provider.SECRET,
            "roles": ROLES,
            "label": "Example ID",
            "trust_email": True,
            **more,
        }
        monkeypatch.setenv("CORRAL_OIDC", json.dumps(said))
        monkeypatch.setenv("CORRAL_PUBLIC_URL", SITE)
        get_settings.cache_clear()
        found = get_settings().oidc
        assert found
        return found

    return set_it
