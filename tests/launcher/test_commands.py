"""What an administrator types, and what is answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from app.accounts.models import Role
from app.accounts.service import SCOPES, authenticate
from app.commands import cli
from app.commands.user import RoleName
from app.kernel.db import get_engine
from app.kernel.errors import AppError, one_sentence
from app.kernel.settings import ROOT, Settings, get_settings
from app.prompts.models import Batch
from app.services.embedded import free_port
from app.upkeep import doctor
from app.upkeep.diagnoses import Diagnosis, Level
from tests.factories import PASSWORD, current_round, make_annotation, make_batch, make_comparison, make_user

Corral = Callable[..., Result]


@pytest.fixture
def corral(session: Session, monkeypatch: pytest.MonkeyPatch) -> Corral:
    """Runs a command inside the test's transaction; ``typed`` is what comes from standard input."""
    monkeypatch.setattr(get_engine(), "dispose", lambda: None)  # its pool holds the connection of that transaction

    def run(*arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(cli.app, arguments, input=typed)

    return run


def refused(result: Result, words: str) -> None:
    assert result.exit_code == 1
    assert result.exception is not None
    assert words in str(result.exception)


def signs_in(session: Session, email: str, password: str) -> bool:
    session.expire_all()  # what the command changed, it changed in a session of its own
    return authenticate(session, email, password, "192.0.2.1") is not None


def test_bob_adds_alice_and_she_can_sign_in(corral: Corral, session: Session) -> None:
    answer = corral("user", "add", "Alice@Example.org", "--name", "Alice", typed="a long enough password\n")
    assert answer.stdout == "Alice can sign in as alice@example.org (annotator).\n"
    assert signs_in(session, "alice@example.org", "a long enough password")
    assert "alice@example.org  Alice  annotator" in corral("user", "list").stdout


def test_setup_makes_what_is_missing_and_shows_the_link_until_there_is_an_admin(
    corral: Corral, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_BASE_MODEL", "an/own-model")  # which is not converted
    get_settings.cache_clear()
    try:
        first = corral("setup")
        assert "This one-time link creates the first: http://127.0.0.1:8000/invite/" in first.stdout
        make_user(session, role=Role.ADMIN)
        assert corral("setup").stdout == "The database is ready.\n"
    finally:
        monkeypatch.undo()
        get_settings.cache_clear()
    assert session.scalar(text("SELECT count(*) FROM rounds")) == 1


def test_a_password_is_never_an_argument(corral: Corral) -> None:
    assert "password" not in corral("user", "add", "--help").stdout.split("Options")[1].lower()
    refused(corral("user", "add", "x@example.org", "--name", "X"), "first line of standard input")


def test_a_short_password_is_refused(corral: Corral) -> None:
    refused(corral("user", "add", "x@example.org", "--name", "X", typed="short\n"), "at least 12 characters")


def test_a_disabled_account_stays_out_until_it_is_enabled(corral: Corral, session: Session) -> None:
    alice = make_user(session)
    assert corral("user", "disable", alice.email).exit_code == 0
    assert not signs_in(session, alice.email, PASSWORD)
    assert "disabled" in corral("user", "list").stdout
    assert corral("user", "enable", alice.email).exit_code == 0
    assert signs_in(session, alice.email, PASSWORD)


def test_a_new_password_replaces_the_old_one(corral: Corral, session: Session) -> None:
    alice = make_user(session)
    assert corral("user", "password", alice.email, typed="another long password\n").exit_code == 0
    assert signs_in(session, alice.email, "another long password")
    assert not signs_in(session, alice.email, PASSWORD)


def test_a_role_changes_but_the_last_admin_stays_one(corral: Corral, session: Session) -> None:
    bob, rita = make_user(session, Role.ADMIN, "Bob"), make_user(session, name="Rita")
    assert corral("user", "role", rita.email, "reviewer").exit_code == 0
    session.refresh(rita)
    assert rita.role is Role.REVIEWER
    refused(corral("user", "role", bob.email, "annotator"), "only admin")


def test_somebody_unknown_is_named_with_the_remedy(corral: Corral) -> None:
    refused(corral("user", "disable", "charlie@example.org"), "`corral user list` shows all")


def test_an_invite_is_a_link(corral: Corral) -> None:
    assert corral("invite", "--role", "reviewer").stdout.startswith("http://127.0.0.1:8000/invite/")


def test_a_token_is_shown_once_and_can_be_revoked(corral: Corral, session: Session) -> None:
    alice = make_user(session)
    secret = corral("token", "create", alice.email, "--name", "laptop", "--scope", "annotate").stdout.strip()
    assert secret.startswith("corral_")
    listed = corral("token", "list", alice.email).stdout
    assert "laptop" in listed
    assert secret not in listed
    number = listed.splitlines()[1].split()[0]
    assert corral("token", "revoke", number).exit_code == 0
    assert "laptop" not in corral("token", "list", alice.email).stdout
    refused(corral("token", "revoke", number), "no active token")


def test_a_token_cannot_do_more_than_its_owner(corral: Corral, session: Session) -> None:
    alice = make_user(session)
    refused(corral("token", "create", alice.email, "--name", "x", "--scope", "admin"), "Choose at least one of")


def test_the_names_on_the_command_line_are_the_ones_of_the_tables() -> None:
    assert set(get_args(RoleName)) == {role.value for role in Role}
    assert {"annotate", "read", "admin"} == set(SCOPES)


def test_an_export_is_written_whole_and_names_its_batch(corral: Corral, session: Session, tmp_path: Path) -> None:
    comparison, other = make_comparison(session), make_comparison(session)
    alice = make_user(session)
    make_annotation(session, alice, comparison)
    make_annotation(session, alice, other)
    out = tmp_path / "preferences.jsonl"
    answer = corral("export", "--out", str(out), "--batch", str(comparison.batch_id))
    assert answer.stdout == f"1 rows (batches {comparison.batch_id}) are in {out}.\n"
    (row,) = map(json.loads, out.read_text().splitlines())
    assert row["prompt_id"] == comparison.prompt_id
    assert list(tmp_path.iterdir()) == [out]
    assert len(corral("export", "--shape", "trl", "--split", "all").stdout.splitlines()) == 2
    refused(corral("export", "--batch", "no such batch"), "There is no batch no such batch")


def test_a_batch_is_found_by_its_name_before_its_id(corral: Corral, session: Session) -> None:
    """A name may look like the id of another batch."""
    comparison, other = make_comparison(session), make_comparison(session)
    for each in (comparison, other):
        make_annotation(session, make_user(session, name="Alice"), each)
    session.get_one(Batch, comparison.batch_id).name = str(other.batch_id)
    session.commit()
    (row,) = map(json.loads, corral("export", "--batch", str(other.batch_id)).stdout.splitlines())
    assert row["prompt_id"] == comparison.prompt_id


@pytest.mark.parametrize("name", ["²", "१२", "-1", "1_0", "9" * 30, "", "half \udcff"])
def test_a_batch_that_is_none_is_one_sentence(corral: Corral, session: Session, name: str) -> None:
    for _ in range(13):
        make_batch(session)
    answer = corral("export", f"--batch={name}")
    assert isinstance(answer.exception, AppError), answer.exception
    assert "the Batches page lists all" in answer.exception.message
    answer.exception.message.encode()


@pytest.mark.parametrize(
    "arguments",
    [["export", "--round", "9" * 30], ["token", "revoke", "9" * 30], ["user", "disable", "half \udcff"]],
)
def test_a_value_that_no_row_has_is_no_traceback(corral: Corral, session: Session, arguments: list[str]) -> None:
    answer = corral(*arguments)
    said = one_sentence(answer.exception) if isinstance(answer.exception, Exception) else answer.output
    assert said, answer.exception


def test_an_export_into_a_folder_that_is_not_there_is_one_sentence(corral: Corral, tmp_path: Path) -> None:
    refused(corral("export", "--out", str(tmp_path / "nowhere" / "x.jsonl")), "cannot be written")


def test_the_sample_batch_is_loaded_once(corral: Corral, session: Session) -> None:
    current_round(session)
    assert "is open" in corral("sample").stdout
    assert "nothing was loaded" in corral("sample").stdout


def test_documents_are_added_all_or_none_shown_and_deleted(corral: Corral, session: Session, tmp_path: Path) -> None:
    batch = make_batch(session, name="Handbook")
    (tmp_path / "one.txt").write_text("Erste Seite", encoding="utf-8")
    (tmp_path / "two.pdf").write_bytes(b"%PDF")
    one, two, absent = (str(tmp_path / name) for name in ("one.txt", "two.pdf", "three.txt"))
    refused(corral("documents", "add", "Handbook", two), "“two.pdf” is no text by its name")
    refused(corral("documents", "add", "Handbook", absent), "three.txt cannot be read")
    assert corral("documents", "add", str(batch.id), one).stdout == "1 document is in Handbook.\n"
    listed = corral("documents", "list", "Handbook").stdout.splitlines()[1]
    assert "one.txt" in listed
    assert corral("documents", "delete", "Handbook", listed.split()[0]).stdout == "one.txt is deleted.\n"
    refused(corral("documents", "delete", "Handbook", listed.split()[0]), "Nothing was found here")


def test_the_audit_names_the_row_and_the_remedy(corral: Corral, session: Session) -> None:
    assert corral("audit").stdout == "Every promise holds.\n"
    comparison = make_comparison(session)
    session.execute(text("UPDATE comparisons SET seats_free = 0"))
    session.commit()
    answer = corral("audit")
    assert answer.exit_code == 1
    assert f"comparison {comparison.id} has 0 free seats" in answer.stdout


def test_the_address_of_the_database_is_printed(corral: Corral) -> None:
    assert corral("db", "url").stdout.strip() == get_settings().database_url


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (
            ["user", "list"],
            {"DATABASE_URL": "postgresql://nobody@/none?host=/nowhere"},
            "The database cannot be reached",
        ),
        (["db", "url"], {"CORRAL_PORT": "eight"}, "CORRAL_PORT"),
    ],
)
def test_what_cannot_work_is_one_sentence(arguments: list[str], environment: dict[str, str], words: str) -> None:
    command = [sys.executable, "-m", "app.commands.cli", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("corral: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


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
    [found] = doctor.look_at_sandbox(Settings(sandbox_socket="/nowhere/at/all"), None)
    assert found.level is level
    assert words in found.found
    assert (found.remedy == "") is (level is Level.OK)


def test_the_doctor_says_that_the_service_that_runs_code_is_away(
    corral: Corral, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CORRAL_SANDBOX_SOCKET", str(tmp_path / "socket"))
    [found] = doctor.look_at_sandbox(Settings(sandbox_socket=str(tmp_path / "socket")), None)
    assert (found.level, "does not answer" in found.found) == (Level.FAIL, True)
    assert "docker compose up -d sandbox" in found.remedy


def test_the_doctor_proves_the_sandbox_by_attacking_it(corral: Corral) -> None:
    found = findings(doctor.look_at_sandbox)["sandbox"]
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


def test_the_audit_log_is_read_and_exported_at_the_command_line(corral: Corral, session: Session) -> None:
    alice = make_user(session)
    corral("user", "role", alice.email, "reviewer")
    shown = corral("audit-log", "--kind", "people", "--person", alice.email, "--since", "1h").stdout.splitlines()
    assert shown[0].split() == ["at", "(UTC)", "who", "what", "about", "address", "by"]
    assert len(shown) == 2
    assert "changed a role  Alice  command line" in shown[1]
    assert corral("audit-log", "--kind", "people", "--until", "1h").stdout.count("\n") == 1
    exported = corral("audit-log", "--json", "--kind", "people", "--address", "command line")
    (event,) = map(json.loads, exported.stdout.splitlines())
    assert (event["what"], event["subject"]["name"], event["actor"]) == ("changed a role", "Alice", None)
    done = json.loads(corral("audit-log", "--json", "--kind", "download", "--limit", "2").stdout.splitlines()[1])
    assert (done["action"], done["details"]["rows"], done["address"]) == ("audit_log.exported", 1, "command line")


@pytest.mark.parametrize("when", ["yesterday", "7", "7w", "2026-13-01", "٧d", "\udcff"])
def test_a_moment_that_is_none_is_one_sentence(corral: Corral, when: str) -> None:
    answer = corral("audit-log", f"--since={when}")
    assert isinstance(answer.exception, AppError), answer.exception
    assert "--since cannot be read" in answer.exception.message


def test_the_audit_log_has_an_export_at_the_command_line(corral: Corral, session: Session, tmp_path: Path) -> None:
    make_annotation(session, make_user(session), make_comparison(session))
    assert corral("export", "--out", str(tmp_path / "rows.jsonl")).exit_code == 0
    assert corral("export", "--shape", "trl", "--split", "all").exit_code == 0
    events = [json.loads(line) for line in corral("audit-log", "--json", "--kind", "download").stdout.splitlines()][1:]
    assert [(e["action"], e["details"]["shape"], e["details"].get("rows")) for e in reversed(events)] == [
        ("preferences.export", "canonical", None),
        ("preferences.exported", "canonical", 1),
        ("preferences.export", "trl", None),
        ("preferences.exported", "trl", 1),
    ]
