"""The deployment of the compose files, as an operator meets it: it is built, used, hurt, backed up and restored.

It takes a Docker engine, 16 GB of memory and about fifteen minutes, so ``make test`` leaves it out: ``make test-lab``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest

from app.client import Client
from app.kernel.settings import ROOT
from tests.lab import stack as lab
from tests.lab.conftest import ENGINES, WORKERS, Peer
from tests.lab.stack import PASSWORD, Stack
from tests.patience import PATIENCE, eventually
from tests.test_monitoring import queries
from tests.webhooks.receiving import Receiver, receiving

pytestmark = [pytest.mark.compose, pytest.mark.timeout(2400)]
PROMPTS = 60
LONG = 1200.0
"""Seconds for the responses to PROMPTS prompts on two busy cores."""
HOLDS = "Every promise holds."


def numbers(count: int, of: str) -> list[dict[str, str]]:
    return [
        {"prompt": f"Name {of} number {each} and say in two sentences why somebody likes it."} for each in range(count)
    ]


def asked(stack: Stack) -> dict[str, int]:
    """By engine: the requests of the workers that answer prompts that it answered. Probes and health checks come from others."""
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    workers = {
        each for name in stack.containers("worker") for each in lab.docker("inspect", "-f", template, name).split()
    }
    line = re.compile(r"INFO:\s+([\d.]+):\d+ - \"POST /v1/completions HTTP/1.1\" 200")
    names = stack.compose("ps", "-a", "--format", "{{.Name}}", "engine").split()
    return {name: sum(each in workers for each in line.findall(lab.docker("logs", name))) for name in sorted(names)}


def test_an_engine_that_is_killed_in_the_middle_costs_no_prompt_and_none_is_answered_twice(
    stack: Stack, corral: Client, record_property: Callable[[str, object], None]
) -> None:
    assert len(stack.containers("worker")) == WORKERS
    engines = stack.containers("engine")
    assert len(engines) == ENGINES
    before = asked(stack)
    batch = corral.create_batch(
        numbers(PROMPTS, "a river"), name="Rivers by number", candidates_per_prompt=2, selection="random", max_tokens=96
    )
    eventually(lambda: corral.batch(batch.id).progress.pending < PROMPTS * 2 // 3, LONG, "a third of the responses")
    lab.docker("kill", engines[-1])
    try:
        corral.wait_for_responses(batch.id, seconds=LONG)
    finally:
        lab.docker("start", engines[-1])
    took = {engine: count - before[engine] for engine, count in asked(stack).items()}
    record_property("requests", took)
    assert all(took.values()), took
    made = stack.query(
        "select p.id, p.state, count(c.id) texts from prompts p left join candidates c on c.prompt_id = p.id "
        f"where p.batch_id = {batch.id} group by p.id"
    )
    assert [(each["state"], each["texts"]) for each in made] == [("ready", 2)] * PROMPTS
    assert HOLDS in stack.corral("audit")


def test_dana_signs_in_through_the_provider(stack: Stack, provider: None) -> None:
    with stack.browser() as browser:
        assert "Sign in with Example ID" in browser.get("/login").text
        begun = browser.get("/login/provider", params={"next": "/annotate"})
        assert parse_qs(urlsplit(begun.headers["location"]).query)["code_challenge_method"] == ["S256"]
        back = lab.here(begun.headers["location"], {"x-person": "dana"})
        assert back.status_code == 302, back.text
        arrived = browser.get(back.headers["location"])
        assert (arrived.status_code, arrived.headers["location"]) == (303, "/annotate"), arrived.text
        assert "Dana" in browser.get("/profile").text
    with stack.browser() as browser:
        begun = browser.get("/login/provider")
        refused = browser.get(lab.here(begun.headers["location"], {"x-person": "frank"}).headers["location"])
        assert refused.status_code == 422
        assert browser.get("/profile").status_code == 303


def test_alice_signs_in_with_a_code_of_her_app(stack: Stack) -> None:
    alice = {"email": stack.person("Alice", "annotator"), "password": PASSWORD}
    with stack.browser() as browser:
        assert browser.post("/login", data=alice).status_code == 303
        page = browser.post("/profile/second-step/begin", data={"password": PASSWORD}).text
        secret = re.search(r'id="secret" value="([A-Z2-7]{32})"', page)
        assert secret, page
        app = pyotp.TOTP(secret[1])
        now = time.time()
        assert "<li><code>" in browser.post("/profile/second-step/confirm", data={"code": app.at(now)}).text
    with stack.browser() as browser:
        assert browser.post("/login", data=alice).headers["location"] == "/login/code"
        assert browser.get("/profile").status_code == 303, "a password alone lets nobody in"
        assert browser.post("/login/code", data={"code": app.at(now)}).status_code == 422, "a code counts once"
        assert browser.post("/login/code", data={"code": app.at(time.time() + 30)}).headers["location"] == "/"
        assert "Alice" in browser.get("/profile").text


def test_a_webhook_is_told_once_that_a_batch_is_done_and_leads_nowhere_inside(
    stack: Stack, corral: Client, bob: str, peer: Peer
) -> None:
    api = httpx.Client(
        base_url=f"{stack.site}/api/v1/",
        verify=stack.trusted,
        headers={"authorization": f"Bearer {stack.token(bob, 'admin', 'read')}"},
    )

    def listens(url: str) -> tuple[int, str]:
        made = api.post("webhooks", json={"url": url, "occasions": ["batch.done"]}).raise_for_status().json()
        return made["id"], made["secret"]

    def said(webhook: int) -> str:
        """What came of the first message to it."""

        def tried() -> str:
            found = api.get(f"webhooks/{webhook}/deliveries").raise_for_status().json()["deliveries"]
            return next((each["last_error"] for each in found if each["last_error"]), "")

        return eventually(tried, PATIENCE, "a try")

    with receiving(peer.files) as receiver, receiving(peer.files) as elsewhere, api:

        def outside(told: Receiver) -> str:
            return told.url.replace("127.0.0.1", peer.address)

        _, secret = listens(outside(receiver))
        elsewhere.status, elsewhere.headers = 307, {"location": outside(receiver)}
        points_on, _ = listens(outside(elsewhere))
        inside = {
            name: listens(url)[0] for name, url in {"loop": "https://localhost:8000/", "db": "https://db/"}.items()
        }
        batch = corral.create_batch(
            numbers(2, "a bird"), name="Birds", candidates_per_prompt=2, selection="random", max_tokens=32
        )
        corral.wait_for_responses(batch.id, seconds=LONG)
        corral.set_state(batch.id, "open")
        while (item := corral.next_item(batch.id)) is not None:
            corral.submit(item, outcome="tie")
        eventually(lambda: receiver.arrived, PATIENCE, "batch.done")
        assert "a redirect, which is not followed" in said(points_on)
        for webhook in inside.values():
            assert "leads to an address that is not the internet's" in said(webhook)
        ((headers, body),) = receiver.arrived
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"
    told = json.loads(body)
    assert (told["type"], told["data"]["batch_id"]) == ("batch.done", batch.id)


def test_attacks_stay_inside_the_sandboxs_container(stack: Stack) -> None:
    lines = stack.compose("exec", "-T", "sandbox", "python", "-m", "workers.sandbox", "prove", "--all").splitlines()
    service, *attacks = map(json.loads, lines)
    assert service["service"] == {"network": [], "secrets": []}
    assert {each["attack"] for each in attacks if each["open"] is not False} == set()
    assert len(attacks) > 20


def test_a_backup_of_what_runs_is_restored_into_a_fresh_deployment(
    stack: Stack, corral: Client, tmp_path: Path
) -> None:
    corral.create_batch(numbers(2, "a tree"), name="Trees", candidates_per_prompt=2)
    backup = tmp_path / "corral.backup"
    with backup.open("wb") as file:
        stack.compose("exec", "-T", "web", "corral", "backup", "-", into=file)
    copy = lab.started("corral-lab-restored", tmp_path, ["docker-compose.yml"], "172.30.252")
    try:
        copy.compose("up", "-d", "--wait", "db")
        copy.compose("run", "--rm", "-T", "--no-deps", "web", "corral", "restore", "-", given=backup.read_bytes())
        copy.compose("up", "-d", "--wait", "proxy")
        assert HOLDS in copy.corral("audit")
        counts = "select (select count(*) from candidates) texts, (select count(*) from annotations) judged"
        assert copy.query(f"{counts}, (select count(*) from batches where name = 'Trees') trees")[0]["trees"] == 1
        with copy.browser() as browser:
            assert browser.post("/login", data={"email": "bob@example.org", "password": PASSWORD}).status_code == 303
            assert "Bob" in browser.get("/profile").text
    finally:
        copy.compose("down", "-v", "--timeout", "20")


def test_prometheus_scrapes_it_and_reads_every_rule_and_every_query_of_the_board(stack: Stack, bob: str) -> None:
    if not lab.docker("image", "ls", "-q", lab.PROMETHEUS).strip():
        lab.docker("build", "-t", lab.PROMETHEUS, "-", given=(ROOT / "tests/lab/prometheus.Dockerfile").read_bytes())
    stack.set({"METRICS_TOKEN": stack.token(bob, "read")})
    stack.compose("up", "-d", "--wait", "--no-deps", "--scale", "prometheus=1", "prometheus")
    checked = stack.compose("exec", "-T", "prometheus", "promtool", "check", "rules", "/etc/prometheus/alerts.yml")
    assert "SUCCESS" in checked

    def ask(path: str, **wish: str) -> list[Any]:
        answer = httpx.get(f"http://127.0.0.1:{stack.setting('PROMETHEUS_PORT')}/api/v1/{path}", params=wish).json()
        assert answer["status"] == "success", (wish, answer)
        found = answer["data"]
        return (
            found if isinstance(found, list) else next(iter(found[key] for key in ("result", "groups") if key in found))
        )

    eventually(lambda: ask("query", query='up{job="corral"} == 1'), PATIENCE, "a scrape")
    known = set(ask("label/__name__/values"))
    documented = re.findall(r"^\| `(corral_\w+)` \|", (ROOT / "docs/monitoring.md").read_text(), re.MULTILINE)
    assert {name for name in documented if not any(each.startswith(name) for each in known)} == set()
    for query in queries():
        plain = query.replace("$__rate_interval", "5m").replace("$__range", "1h")
        ask("query", query=plain)
        assert set(re.findall(r"\bcorral_\w+", plain)) <= known
    (rules,) = [group["rules"] for group in ask("rules")]
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
