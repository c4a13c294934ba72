"""Pages of signing in that only some installations have."""

from __future__ import annotations

import json

import pytest

from app.kernel.settings import get_settings
from tests import factories
from tests.browser.conftest import Site
from tests.browser.test_accessibility import look


def test_axe_finds_nothing_where_an_identity_provider_is_set(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = {
        "issuer": "https://id.example",
        "client_id": "corral",
        "roles": {"staff": "annotator"},
        "label": "Example",
    }
    monkeypatch.setenv("CORRAL_OIDC", json.dumps(provider))
    monkeypatch.setenv("CORRAL_PUBLIC_URL", site.url)
    get_settings.cache_clear()
    alice = factories.make_user(site.session)
    for path, user in (("/login", None), ("/profile", alice), ("/profile/provider", alice)):
        look(site, user, path)
