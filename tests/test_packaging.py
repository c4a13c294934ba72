"""What a newcomer and an operator install: locks, secrets, the compose file, and what a machine is told that it lacks."""

from __future__ import annotations

import ipaddress
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.kernel.jobs import Queue
from app.kernel.settings import ROOT, Settings
from app.kernel.weak_secrets import weakness
from app.laptop.engine_command import environment
from scripts import bootstrap, lock, write_secrets
from workers.sandbox.serve import secrets_in

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
ADDRESS = re.compile(r"https?://[^\s\"']*(simple|pypi|npm|registry)", re.IGNORECASE)


class Loader(yaml.SafeLoader):
    """Reads Compose's own tags as the values that they stand before."""


def _value(loader: yaml.Loader, _tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None


Loader.add_multi_constructor("!", _value)


def services(name: str = "docker-compose.yml") -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.load((ROOT / name).read_text(), Loader)["services"]
    return found


def test_only_the_proxy_publishes_a_port() -> None:
    assert [name for name, service in services().items() if "ports" in service] == ["proxy"]
    assert not any("ports" in service for service in services("docker-compose.gpu.yml").values())


def test_no_service_asks_for_more_than_an_engine_without_all_rights_may_give() -> None:
    """A container that raises a hard limit does not start where the engine may not (rootless, or itself in a container)."""
    assert [name for name, service in services().items() if "ulimits" in service or service.get("privileged")] == []


def test_the_proxy_has_an_address_that_no_service_before_it_is_given() -> None:
    networks = yaml.load((ROOT / "docker-compose.yml").read_text(), Loader)["networks"]

    def default(value: str) -> str:
        return str(re.fullmatch(r"\$\{\w+:-(.+)\}", value)[1])  # type: ignore[index]  # a mismatch fails here

    proxy = services()["proxy"]["networks"]["front"]["ipv4_address"]
    assert services()["web"]["environment"]["CORRAL_PROXIES"] == proxy, "the one that is believed"
    free = list(ipaddress.ip_network(default(networks["front"]["ipam"]["config"][0]["subnet"])).hosts())[1:]
    others = [
        name for name, service in services().items() if "front" in service.get("networks", []) and name != "proxy"
    ]
    assert free.index(ipaddress.ip_address(default(proxy))) >= len(others), "Docker counts up from the first"


def test_nothing_starts_without_secrets_and_none_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in write_secrets.SECRETS:
        uses = re.findall(rf"\$\{{{name}([^}}]*)\}}", text)
        assert uses, name
        assert all(use.startswith(":?") for use in uses), name


def test_code_that_models_wrote_runs_without_network_secrets_and_data_and_only_who_needs_it_asks_for_it() -> None:
    found = services()
    sandbox = found["sandbox"]
    assert sandbox["network_mode"] == "none"
    assert "networks" not in sandbox
    assert secrets_in(sandbox["environment"]) == []
    assert sandbox["cap_drop"] == ["ALL"]
    assert sandbox["security_opt"] == ["no-new-privileges:true"]
    assert sandbox["read_only"]
    assert sandbox["init"]
    assert sandbox["pids_limit"]
    users = {service.get("user") for service in (found | services("docker-compose.gpu.yml")).values()}
    assert users == {None, "10001:10001", "10002:10001"}, "the system counts the processes of a user"
    assert sandbox["volumes"] == ["sandbox:/run/corral"]
    asking = {name for name, service in found.items() if "sandbox:/run/corral:ro" in service.get("volumes", [])}
    assert asking == {"checks", "trainer", "worker", "control"}, "who checks, trains, runs tools and makes prompts"
    told = {
        name
        for name, service in found.items()
        if "DATABASE_URL" in service.get("environment", {}) and name != "sandbox"
    }
    assert all(found[name]["environment"]["CORRAL_SANDBOX_SOCKET"] == "/run/corral/sandbox.sock" for name in told)
    assert asking <= told


def test_every_queue_has_a_worker() -> None:
    served = [word for service in services().values() for word in service.get("command") or [] if word in list(Queue)]
    assert sorted(served) == sorted(Queue)


def test_every_service_that_stays_says_whether_it_is_well() -> None:
    silent = {name for name, service in services().items() if "healthcheck" not in service}
    assert silent == {
        "migrate",  # ends
        "proxy",  # its image has no client to ask it with; the web server behind it is asked
    }


def test_a_worker_answers_for_itself_only() -> None:
    for name, service in services().items():
        if "worker" in (service.get("command") or []):
            node = service["command"][service["command"].index("--hostname") + 1]
            asked = service["healthcheck"]["test"][-2:]
            assert (asked[0], f"{asked[1]}@%h") == ("worker", node), name


def test_a_model_from_the_hub_reaches_all_who_read_its_files() -> None:
    made = services("docker-compose.gpu.yml").items()
    assert {name for name, service in made if "hub" in service.get("networks", [])} == {
        "engine",
        "live",
        "trainer",
        "worker",
    }


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.gpu.yml"])
def test_engines_look_for_adapters_where_the_control_worker_puts_them(name: str) -> None:
    engine = services(name)["engine"]
    data = next(volume for volume in engine["volumes"] if volume.startswith("data:")).split(":")[1]
    set_here = {key: str(value) for key, value in engine["environment"].items()}
    if name == "docker-compose.yml":
        image = (ROOT / "Dockerfile").read_text()
        set_here |= dict(re.findall(r"(VLLM_\w+)=(\S+)", image))
    settings = Settings(data_dir=Path(data))
    wanted = environment(settings, "key")
    for key in ("VLLM_PLUGINS", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_LORA_RESOLVER_CACHE_DIR"):
        assert set_here[key] == wanted[key], key


def test_those_who_ask_other_endpoints_have_a_way_out_and_the_keys_and_nobody_else_has() -> None:
    made = services("docker-compose.endpoints.yml")
    asks = {"worker", "live", "control", "checks", "trainer"}
    assert {name for name, service in made.items() if "outside" in service.get("networks", [])} == asks
    assert {name for name, service in made.items() if "CORRAL_ENDPOINTS" in service["environment"]} == asks | {"web"}
    assert "front" in services()["web"]["networks"], "the way out of the web server"
    workers = {name for name, service in services().items() if "worker" in (service.get("command") or [])}
    assert asks == workers, "every worker may be told to ask a model"


def test_those_who_answer_prompts_reach_servers_of_tools_and_nobody_else_has_their_keys() -> None:
    made = services("docker-compose.tools.yml")
    assert {name for name, service in made.items() if "outside" in service.get("networks", [])} == {"worker", "trainer"}
    keys = {name for name, service in made.items() if "CORRAL_TOOL_SERVERS" in service["environment"]}
    assert keys == {"worker", "trainer"}


def test_the_worker_that_tells_webhooks_has_a_way_out_and_no_other() -> None:
    made = services("docker-compose.webhooks.yml")
    assert {name for name, service in made.items() if "outside" in service.get("networks", [])} == {"control"}
    assert {name for name, service in made.items() if "CORRAL_WEBHOOK_HOSTS" in service["environment"]} == {
        "control",
        "web",
    }


def test_the_worker_that_mails_invites_has_a_way_out_and_no_other() -> None:
    made = services("docker-compose.mail.yml")
    assert {name for name, service in made.items() if "outside" in service.get("networks", [])} == {"control"}
    assert {name for name, service in made.items() if "CORRAL_SMTP_URL" in service["environment"]} == {"control", "web"}
    assert {"CORRAL_PUBLIC_URL"} <= made["control"]["environment"].keys() | services()["control"]["environment"].keys()


def test_those_who_push_or_pull_have_a_way_out_and_the_keys_and_no_other() -> None:
    made = services("docker-compose.store.yml")
    exchange = {"migrate", "control", "trainer"}
    assert {name for name, service in made.items() if "outside" in service.get("networks", [])} == exchange
    assert {name for name, service in made.items() if "AWS_SECRET_ACCESS_KEY" in service["environment"]} == {
        "web",
        *exchange,
    }


def test_the_web_server_alone_reaches_the_identity_provider() -> None:
    made = services("docker-compose.sign-in.yml")
    assert {name for name, service in made.items() if "outside" in service.get("networks", [])} == {"web"}
    assert {name for name, service in made.items() if "CORRAL_OIDC" in service["environment"]} == {"web"}


def test_whoever_reaches_other_servers_believes_their_authorities() -> None:
    believes = services("docker-compose.authorities.yml")
    reaches = {
        name
        for file in ROOT.glob("docker-compose.*.yml")
        for name, service in services(file.name).items()
        if "outside" in service.get("networks", []) and file.stem != "docker-compose.traces"
    }
    ours = {"web", *reaches & services().keys()}
    assert believes.keys() >= ours - {"migrate"}, "a store is asked by a client that reads no such file"


def test_those_who_make_spans_have_a_way_to_the_collector_and_no_other() -> None:
    made = services("docker-compose.traces.yml")
    assert {name for name, service in made.items() if "OTEL_EXPORTER_OTLP_ENDPOINT" in service["environment"]} == set(
        made
    )
    traced = {name for name, service in services().items() if service.get("environment", {}).get("BROKER_URL")}
    assert set(made) == traced - {"migrate"}
    assert all("outside" in service.get("networks", []) for name, service in made.items() if name != "web")


def test_prometheus_is_reached_from_this_machine_alone_and_evaluates_our_rules() -> None:
    prometheus = services("docker-compose.monitoring.yml")["prometheus"]
    assert [port.split(":")[0] for port in prometheus["ports"]] == ["127.0.0.1"]
    assert {"scraping", "alerts"} == {config["source"] for config in prometheus["configs"]}


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.gpu.yml"])
def test_the_engine_is_started_for_the_adapters_that_the_application_counts_on(name: str) -> None:
    told = services() | services(name)
    engine, web = told["engine"]["command"], services()["web"]["environment"] | told["web"]["environment"]
    assert f"--max-cpu-loras={web['CORRAL_ENGINE_ADAPTERS']}" in engine
    assert f"--max-lora-rank={web['CORRAL_MAX_LORA_RANK']}" in engine


def test_secrets_are_strong_private_and_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert set(write_secrets.write(file)) == set(write_secrets.SECRETS)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    values = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line and line[0] != "#")
    assert all(weakness(values[name]) is None for name in write_secrets.SECRETS)
    assert values["ENGINE_DTYPE"] in {"bfloat16", "float32"}
    before = file.read_text()
    assert write_secrets.write(file) == []
    assert file.read_text() == before


def test_a_missing_secret_is_added_and_the_rest_kept(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("DOMAIN=corral.example\nPOSTGRES_PASSWORD=mine-and-long-enough")
    assert set(write_secrets.write(file)) == {"BROKER_PASSWORD", "ENGINE_API_KEY"}
    assert file.read_text().startswith("DOMAIN=corral.example\nPOSTGRES_PASSWORD=mine-and-long-enough\n")


@pytest.mark.parametrize("file", [file for file in LOCKS if "overrides" not in file.name], ids=lambda file: file.stem)
def test_a_lock_pins_by_hash_and_names_no_registry(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links)\b", text, re.MULTILINE)
    assert not ADDRESS.search(text)
    requirements = re.split(r"^(?=[a-z0-9])", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
    pinned = [requirement for requirement in requirements if requirement.strip()]
    assert pinned
    assert [r.split()[0] for r in pinned if "==" not in r or "--hash=sha256:" not in r] == []


def test_the_layer_that_builds_the_front_end_is_whole_though_checks_need_node_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked_for = {"web": {"jinja2"}, "checks": {"ruff", "node"}, "assets": {"node"}, "dev": {"ruff", "pytest"}}

    def compiled(extras: tuple[str, ...], **_: Any) -> lock.Lock:
        names = {"jinja2"}.union(*(asked_for.get(extra, set()) for extra in extras))
        return {name: [f"{name}==1\n"] for name in names}

    written: dict[str, set[str]] = {}
    monkeypatch.setattr(lock, "compile_extras", compiled)
    monkeypatch.setattr(lock, "write", lambda layer, found: written.update({layer: set(found)}))
    lock.lock_cpu()
    wanted = {"web": {"jinja2"}, "checks": {"ruff", "node"}, "assets": {"node"}, "dev": {"pytest"}}
    assert {layer: names for layer, names in written.items() if names} == wanted


def test_the_front_end_lock_names_no_registry() -> None:
    text = (ROOT / "package-lock.json").read_text()
    assert '"resolved"' not in text
    assert '"integrity"' in text


@pytest.mark.parametrize(
    ("found", "loaded", "sentence"),
    [
        (None, True, "this machine lacks python3-venv; get it with"),
        (object(), False, "this machine lacks libnuma1; get it with"),
        (None, False, "this machine lacks python3-venv and libnuma1"),
    ],
)
def test_what_the_machine_lacks_is_one_sentence(
    found: object, loaded: object, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: found)
    monkeypatch.setattr(bootstrap, "loads", lambda _: loaded)
    with pytest.raises(SystemExit, match=sentence):
        bootstrap.check_machine(tmp_path / "venv", "cpu")


def test_too_little_room_is_said_before_anything_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "loads", lambda _: True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1_200_000_000}))
    with pytest.raises(SystemExit, match=r"installing takes up to 5 GB and 1\.2 GB are free"):
        bootstrap.check_machine(tmp_path / "venv", "cpu")


@pytest.mark.parametrize(("version", "newer"), [((3, 9), None), ((3, 14), None)])
def test_a_python_that_has_no_lock_is_refused_in_one_sentence(
    version: tuple[int, int], newer: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.version_info", (*version, 0))
    monkeypatch.setattr(shutil, "which", lambda _: newer)
    with pytest.raises(SystemExit, match=rf"Python 3\.11 to 3\.13 is needed; .* is {version[0]}\.{version[1]}"):
        bootstrap.use_a_supported_python()


def test_a_gpu_build_without_a_gpu_is_refused_before_gigabytes_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match="there is no NVIDIA driver on this machine"):
        bootstrap.check_machine(tmp_path / "venv", "gpu")
