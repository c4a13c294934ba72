"""One deployment for all tests of this folder, with a provider to sign in at; it goes away with its data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.client import Client
from app.services.embedded import free_port
from tests.accounts import identity_provider
from tests.certified import Files, certificate
from tests.lab import stack as lab
from tests.lab.stack import Stack

WORKERS, ENGINES = 3, 2
OVERLAYS = ("sign-in", "webhooks", "authorities", "monitoring")


@dataclass(frozen=True)
class Peer:
    """This machine, as containers reach it."""

    address: str
    files: Files
    provider: int


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Peer:
    if not lab.is_there():
        pytest.skip("no Docker engine with Compose answers")
    address = lab.host_address()
    return Peer(address, certificate(tmp_path_factory.mktemp("peer"), address), free_port())


@pytest.fixture(scope="session")
def stack(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything runs, with two engines and three workers that answer prompts."""
    oidc = {
        "issuer": f"https://{peer.address}:{peer.provider}",
        "client_id": identity_provider.CLIENT,
        "client_secret": identity_provider.SECRET,
        "roles": {"staff": "annotator", "ml": "admin"},
        "label": "Example ID",
        "trust_email": True,
    }
    made = lab.started(
        "corral-lab",
        tmp_path_factory.mktemp("lab"),
        ["docker-compose.yml", *(f"docker-compose.{each}.yml" for each in OVERLAYS)],
        "172.30.254",
        CORRAL_OIDC=json.dumps(oidc),
        WEBHOOK_HOSTS=peer.address,
        AUTHORITIES=str(peer.files[0]),
        METRICS_TOKEN="is made once Corral runs",
        PROMETHEUS_PORT=str(free_port()),
    )
    try:
        made.compose("build")
        scales = [f"--scale=worker={WORKERS}", f"--scale=engine={ENGINES}", "--scale=prometheus=0"]
        made.compose("up", "-d", "--wait", *scales)
        yield made
    finally:
        made.compose("down", "-v", "--timeout", "20")


@pytest.fixture(scope="session")
def bob(stack: Stack) -> str:
    """The admin's address."""
    return stack.person("Bob", "admin")


@pytest.fixture(scope="session")
def corral(stack: Stack, bob: str) -> Iterator[Client]:
    """Bob's program."""
    with stack.client(bob, "annotate", "read", "admin") as client:
        for batch in list(client.batches()):  # the sample: nobody here waits for its responses, eight a prompt
            client.set_state(batch.id, "closed")
        yield client


@pytest.fixture(scope="session")
def provider(peer: Peer, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The identity provider that the deployment was told of runs."""
    folder, back = tmp_path_factory.mktemp("provider"), f"{stack.site}/login/provider/back"
    with identity_provider.running(peer.provider, back, folder, peer.address, peer.files):
        yield
