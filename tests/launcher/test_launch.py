"""What is decided before anything is started."""

from __future__ import annotations

import importlib
import inspect
import json
import multiprocessing
import os
import socket
import stat
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.kernel.errors import CannotStart
from app.kernel.processor import fast_dtype
from app.kernel.settings import Settings
from app.laptop import engine_command as engine
from app.laptop import engine_guard, launch
from app.laptop.launch import address_of, troubles
from app.laptop.supervisor import Console
from app.services import embedded
from app.services.instance import Instance, Running

RUNNING = Running(
    pid=os.getpid(),
    address="http://127.0.0.1:8000",
    database_url="postgresql:///corral",
    broker_url="redis://",
    engine_url="http://127.0.0.1:8001/v1",
    engine_api_key="key",
)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(tmp_path / "var")


def hold(instance: Instance, pipe: Connection, running: Running | None) -> None:
    """Another process that holds the folder until it is told to let go."""
    with instance.try_lock() as mine:
        if running is not None:
            instance.announce(Running(**{**vars(running), "pid": os.getpid()}))
        pipe.send(mine)
        pipe.recv()


@pytest.fixture
def held(instance: Instance, request: pytest.FixtureRequest) -> Iterator[None]:
    """Another process holds the folder, as what the parameter says."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=hold, args=(instance, theirs, request.param))
    process.start()
    assert ours.recv() is True
    yield
    ours.send(None)
    process.join(20)


@pytest.mark.parametrize("held", [RUNNING], indirect=True)
def test_a_folder_in_use_by_another_start_is_refused_with_its_address(instance: Instance, held: None) -> None:
    with (
        pytest.raises(CannotStart, match=r"already runs on .*, at http://127.0.0.1:8000"),
        launch._hold(instance, Console()),
    ):
        raise AssertionError
    running = instance.running()
    assert running is not None
    assert running.address == RUNNING.address


@pytest.mark.parametrize("held", [None], indirect=True)
def test_a_folder_in_use_by_a_command_is_waited_for(
    instance: Instance, held: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "LOCK_PATIENCE", 0.3)
    assert instance.running() is None
    with pytest.raises(CannotStart, match="Another corral command is using"), launch._hold(instance, Console()):
        raise AssertionError


def test_a_note_of_a_start_that_is_over_counts_for_nothing(instance: Instance) -> None:
    with instance.try_lock():
        instance.announce(RUNNING)
    assert instance.running() is None


def test_the_note_of_the_addresses_is_for_the_owner_alone(instance: Instance) -> None:
    with instance.try_lock():
        instance.announce(RUNNING)
    assert stat.S_IMODE(instance.running_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(instance.data_dir.stat().st_mode) == 0o700
    assert json.loads(instance.running_file.read_text())["broker_url"] == "redis://"


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 200 * launch.MIB}))
    with pytest.raises(CannotStart, match=r"Only 200 MB are free in .* and Corral needs 1000 MB: make room"):
        launch._see_room(Instance(tmp_path), Settings(data_dir=tmp_path))
    with pytest.raises(CannotStart, match="needs 300 MB"):
        launch._see_room(Instance(tmp_path), Settings(data_dir=tmp_path, base_model="a/model"))


def test_an_address_that_is_not_ours_is_one_sentence() -> None:
    with pytest.raises(CannotStart, match=r"Cannot listen on 192\.0\.2\.1:8000"), launch.listen("192.0.2.1", 8000):
        raise AssertionError


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        (Settings(port=8000), "http://127.0.0.1:8000"),
        (Settings(host="0.0.0.0", port=80), "http://127.0.0.1:80"),
        (Settings(host="::1", port=80), "http://[::1]:80"),
        (Settings(public_url="https://corral.example/"), "https://corral.example"),
    ],
)
def test_the_address_is_one_that_a_browser_can_open(settings: Settings, address: str) -> None:
    assert address_of(settings) == address


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("2026-11-23T12:35:08Z [warning  ] database_away path=/", True),
        ("[2026-11-23 12:35:08,000: ERROR/MainProcess] consumer: Cannot connect", True),
        ("2026-11-23T12:35:08Z [info     ] request method=GET status=200", False),
        ("    . logfile -> [stderr]@%WARNING", False),
    ],
)
def test_only_trouble_reaches_the_console(line: str, shown: bool) -> None:  # noqa: FBT001 - a table's column
    assert troubles(line) is shown


def test_on_processors_the_engine_compiles_nothing_and_stays_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "on_cpu", lambda: True)
    words = engine.command(Settings(), "python", 9000)
    assert {"--enforce-eager", "uni", "--enable-lora"} <= set(words)
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--load-format") + 1] == "safetensors"
    assert "--no-trust-remote-code" in words
    assert words[words.index("--max-cpu-loras") + 1] == str(Settings().engine_adapters)
    environment = engine.environment(Settings(), "key")
    assert environment["VLLM_API_KEY"] == "key"
    assert environment["VLLM_PLUGINS"] == "lora_filesystem_resolver"
    assert environment["VLLM_LORA_RESOLVER_CACHE_DIR"] == str(Settings().served_dir)
    assert "key" not in words
    monkeypatch.setattr(engine, "on_cpu", lambda: False)
    assert "--gpu-memory-utilization" not in words
    words = engine.command(Settings(engine_gpu_memory=0.4), "python", 9000)
    assert "--enforce-eager" not in words
    assert words[words.index("--gpu-memory-utilization") + 1] == "0.4", "training needs the rest of the GPU"


def after(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_on_a_gpu_the_engine_takes_what_training_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "on_cpu", lambda: False)
    awake, sleeps = (engine.command(Settings(engine_sleeps=each), "python", 9000) for each in (False, True))
    assert (after(awake, "--gpu-memory-utilization"), after(sleeps, "--gpu-memory-utilization")) == ("0.5", "0.85")
    assert "--enable-sleep-mode" not in awake
    assert "VLLM_SERVER_DEV_MODE" not in engine.environment(Settings(), "key")
    assert "--enable-sleep-mode" in sleeps
    assert engine.environment(Settings(engine_sleeps=True), "key")["VLLM_SERVER_DEV_MODE"] == "1"
    module, _, name = after(sleeps, "--middleware").rpartition(".")
    assert inspect.iscoroutinefunction(getattr(importlib.import_module(module), name)), "as vLLM takes it"
    monkeypatch.setattr(engine, "on_cpu", lambda: True)
    assert "--enable-sleep-mode" not in engine.command(Settings(engine_sleeps=True), "python", 9000)
    assert "VLLM_SERVER_DEV_MODE" not in engine.environment(Settings(engine_sleeps=True), "key")


def test_on_a_gpu_vllm_finds_the_context_of_an_operators_own_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "on_cpu", lambda: False)
    assert after(engine.command(Settings(base_model="some/model"), "python", 9000), "--max-model-len") == "auto"
    assert after(engine.command(Settings(), "python", 9000), "--max-model-len") == "4096", (
        "the bundled one finds no more"
    )
    asked = Settings(base_model="some/model", engine_context=8192)
    assert after(engine.command(asked, "python", 9000), "--max-model-len") == "8192"


def test_several_gpus_share_a_model_or_its_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "on_cpu", lambda: False)
    words = engine.command(Settings(engine_tensor_parallel=2, engine_data_parallel=4), "python", 9000)
    assert (after(words, "--tensor-parallel-size"), after(words, "--data-parallel-size")) == ("2", "4")
    assert after(words, "--api-server-count") == "1", "each would have a list of adapters of its own"
    monkeypatch.setattr(engine, "on_cpu", lambda: True)
    assert not {"--tensor-parallel-size", "--data-parallel-size"} & set(engine.command(Settings(), "python", 9000))


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/sleep", "", 401),
        ("/collective_rpc", "another", 401),
        ("/sleep", "key", 200),
        ("/v1/models", "key", 200),
        ("/health", "", 200),
    ],
)
def test_nobody_has_the_engine_sleep_without_its_key(
    monkeypatch: pytest.MonkeyPatch, path: str, key: str, status: int
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "key")
    inside = Starlette(
        routes=[Route("/{path:path}", lambda _: JSONResponse({}), methods=["GET", "POST"])],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=engine_guard.keyed)],
    )
    headers = {"authorization": f"Bearer {key}"} if key else {}
    assert TestClient(inside).post(path, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("flags : fpu avx avx2 avx512f avx512_bf16", "bfloat16"),
        ("flags : fpu avx avx2 avx512f", "float32"),
        ("Features : fp asimd svebf16 bf16", "bfloat16"),
        (None, "float32"),
    ],
)
def test_the_engine_computes_in_what_the_processor_is_fast_at(tmp_path: Path, flags: str | None, dtype: str) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if flags:
        cpuinfo.write_text(f"processor : 0\n{flags}\n")
    assert fast_dtype(cpuinfo) == dtype


def test_the_engine_is_told_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "fast_dtype", lambda: "float32")
    for on_cpu, dtype in ((True, "float32"), (False, "bfloat16")):
        monkeypatch.setattr(engine, "on_cpu", lambda on_cpu=on_cpu: on_cpu)
        words = engine.command(Settings(), "python", 9000)
        assert words[words.index("--dtype") + 1] == dtype


@pytest.mark.parametrize(
    ("config", "asked", "context"),
    [
        ('{"max_position_embeddings": 8192}', 0, 4096),
        ('{"max_position_embeddings": 1024}', 0, 1024),
        ('{"max_position_embeddings": 8192}', 8192, 8192),
        ('{"max_position_embeddings": null}', 0, 4096),
        ("[]", 0, 4096),
        ("half of a {", 0, 4096),
        (None, 0, 4096),
    ],
)
def test_the_context_is_what_is_asked_for_or_no_more_than_the_model_was_made_for(
    tmp_path: Path, config: str | None, asked: int, context: int
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)

    words = engine.command(Settings(base_model=str(tmp_path), engine_context=asked), "python", 9000)

    assert words[words.index("--max-model-len") + 1] == str(context)


def test_a_hub_id_may_be_loaded_and_a_folder_needs_no_hub(tmp_path: Path) -> None:
    assert "HF_HUB_OFFLINE" not in engine.environment(Settings(base_model="somebody/model"), "key")
    assert engine.environment(Settings(base_model=str(tmp_path)), "key")["HF_HUB_OFFLINE"] == "1"


def test_a_free_port_is_none_that_outgoing_connections_are_given() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first <= embedded.LOWEST + 1000:
        pytest.skip("this system gives outgoing connections nearly all ports")
    found = {embedded.free_port() for _ in range(20)}
    assert not found & set(range(first, last + 1))
    assert len(found) > 1, "two who ask at once get different ones"


def test_where_the_system_does_not_say_any_free_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_never_given", lambda count: [])
    with socket.create_server(("127.0.0.1", embedded.free_port())):
        pass
