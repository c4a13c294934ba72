"""What the doctor looks at, and what it says is wrong."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.kernel.settings import Settings, get_settings
from app.services.embedded import free_port
from app.upkeep import doctor
from app.upkeep.diagnoses import Diagnosis, Level
from app.upkeep.sandbox import look_at_sandbox
from tests.launcher.conftest import Corral


def test_the_doctor_says_what_is_wrong_and_ends_with_1(corral: Corral, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[Diagnosis]:
        raise RuntimeError("the stethoscope is gone")

    monkeypatch.setattr(doctor, "CHECKS", (doctor.look_at_python, broken))
    answer = corral("doctor")
    assert answer.exit_code == 1
    assert answer.stdout.startswith("ok    python")
    assert "RuntimeError: the stethoscope is gone" in answer.stdout


def findings(check: doctor.Check) -> dict[str, Diagnosis]:
    return {finding.subject: finding for finding in check(get_settings(), None)}


def test_the_doctor_compares_the_packages_with_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements").mkdir()
    lock = tmp_path / "requirements" / "web.txt"
    lock.write_text(
        'typer==0.0.1 \\\n    --hash=sha256:00\n    # via corral\nnot-there==1\nwinonly==1 ; sys_platform == "win32"\n'
    )
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    found = findings(doctor.look_at_packages)["packages (web)"]
    assert (found.level, found.found) == (Level.FAIL, "missing: not-there")
    lock.write_text("typer==0.0.1\n")
    assert findings(doctor.look_at_packages)["packages (web)"].level is Level.WARN


def test_the_doctor_sees_a_full_disk(corral: Corral, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100 * 1024**2}))
    assert findings(doctor.look_at_room)["disk"].level is Level.FAIL


def test_the_doctor_sees_secrets_that_others_may_read(corral: Corral) -> None:
    secret = get_settings().data_dir / "running.json"
    secret.write_text("{}")
    secret.chmod(0o644)
    try:
        found = findings(doctor.look_at_files)["data folder"]
    finally:
        secret.unlink()
    assert found.level is Level.FAIL
    assert "chmod" in found.remedy


def test_the_doctor_sees_a_database_that_is_behind(corral: Corral, session: Session) -> None:
    assert findings(doctor.look_at_database)["database"].level is Level.OK
    session.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    session.commit()
    found = findings(doctor.look_at_database)["database"]
    assert (found.level, found.remedy) == (Level.FAIL, "Run `corral db upgrade`.")


def test_the_doctor_sees_front_end_files_that_were_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    assert findings(doctor.look_at_assets)["front-end files"].remedy == "Run `make assets`."


def test_the_doctor_sees_a_base_model_with_a_changed_byte(corral: Corral) -> None:
    folder = Path(get_settings().base_model_path)
    assert findings(doctor.look_at_base_model)["base model"].level is Level.WARN
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"format": 1, "files": {"model.safetensors": {"sha256": "00"}}}')
    (folder / "model.safetensors").write_text("weights")
    try:
        found = findings(doctor.look_at_base_model)["base model"]
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    assert (found.level, "has changed" in found.found) == (Level.FAIL, True)


def test_the_doctor_sees_services_that_do_not_answer(corral: Corral) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    settings = Settings(broker_url=f"redis://{nowhere}/0", engine_url=f"http://{nowhere}/v1")
    [broker] = doctor.look_at_broker(settings, None)
    assert (broker.level, broker.remedy) == (
        Level.FAIL,
        "Start it, or correct BROKER_URL. Nothing is lost in the meantime.",
    )
    [engine] = doctor.look_at_engine(settings, None)
    assert engine.level is Level.FAIL
    assert nowhere in engine.found


def served(network: list[str], secrets: list[str]) -> str:
    about = {"sandbox": "landlock", "service": {"network": network, "secrets": secrets}}
    return f'{json.dumps(about)}\n{{"attack": "net", "open": false, "got": ""}}'


@pytest.mark.parametrize(
    ("told", "level", "words"),
    [
        ('{"error": "This kernel has no Landlock."}', Level.WARN, "no Landlock"),
        ('{"sandbox": "landlock"}\n{"attack": "net", "open": true, "got": ""}', Level.FAIL, "does not stop: net"),
        ('{"sandbox": "landlock"}\n{"attack": "net", "open": null, "got": ""}', Level.FAIL, "does not stop: net"),
        ('{"sandbox": "landlock"}\n{"attack": "net", "open": false, "got": ""}', Level.OK, "bubblewrap would also"),
        ('{"sandbox": "bubblewrap"}\n{"attack": "net", "open": false, "got": ""}', Level.OK, "bubblewrap stops net"),
        (served([], []), Level.OK, "stops net, in a service of its own without network and without secrets"),
        (served(["eth0"], []), Level.WARN, "which has a network (eth0)"),
        (served([], ["DATABASE_URL"]), Level.FAIL, "knows DATABASE_URL"),
        ('{"error": "It does not answer.", "away": true}', Level.WARN, "is not open to this container"),
    ],
)
def test_the_doctor_says_what_the_sandbox_stops(
    corral: Corral, monkeypatch: pytest.MonkeyPatch, told: str, level: Level, words: str
) -> None:
    monkeypatch.setattr(
        "app.upkeep.sandbox.subprocess.run", lambda *_, **__: subprocess.CompletedProcess([], 0, told, "")
    )
    [found] = look_at_sandbox(Settings(sandbox_socket="/nowhere/at/all"), None)
    assert found.level is level
    assert words in found.found
    assert (found.remedy == "") is (level is Level.OK)


def test_the_doctor_says_that_the_service_that_runs_code_is_away(
    corral: Corral, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CORRAL_SANDBOX_SOCKET", str(tmp_path / "socket"))
    [found] = look_at_sandbox(Settings(sandbox_socket=str(tmp_path / "socket")), None)
    assert (found.level, "does not answer" in found.found) == (Level.FAIL, True)
    assert "docker compose up -d sandbox" in found.remedy


def test_the_doctor_proves_the_sandbox_by_attacking_it(corral: Corral) -> None:
    found = findings(look_at_sandbox)["sandbox"]
    assert found.level is Level.WARN or found.found.partition(" stops ")[2].startswith("secrets and net")


def test_the_doctor_names_the_queues_that_nobody_serves(corral: Corral, monkeypatch: pytest.MonkeyPatch) -> None:
    control = type("Control", (), {"ping": lambda *_, **__: [{"control@here": {"ok": "pong"}}]})
    monkeypatch.setattr("app.kernel.jobs.producer", lambda: type("Producer", (), {"control": control()}))
    [workers] = doctor._workers()
    assert (workers.level, workers.found) == (Level.FAIL, "no answer from: generation, training, live, checks")


def test_the_doctor_misses_no_engine_where_one_runs_elsewhere(corral: Corral, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.laptop.engine_command.installed", lambda: False)
    here, elsewhere = Settings.model_construct(), Settings(engine_url="http://engine:8000/v1")
    assert "packages (engine)" in {finding.subject for finding in doctor.look_at_packages(here, None)}
    assert "packages (engine)" not in {finding.subject for finding in doctor.look_at_packages(elsewhere, None)}
