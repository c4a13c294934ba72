"""What an administrator types, and what is answered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.accounts.service import SCOPES
from app.accounts.signing_in import authenticate
from app.commands.user import RoleName
from app.kernel.errors import AppError, one_sentence
from app.kernel.settings import ROOT, get_settings
from app.prompts.models import Batch
from tests.factories import PASSWORD, current_round, make_annotation, make_batch, make_comparison, make_user
from tests.launcher.conftest import Corral, refused
from tests.patience import PATIENCE


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


def test_a_source_is_added_shown_weighed_and_withdrawn(corral: Corral, tmp_path: Path, data_dir: Path) -> None:
    good, bad = '{"prompt": "Why?", "completion": "So."}\n', '{"prompt": "Who?"}\n'
    (tmp_path / "one.jsonl").write_text(good + bad, encoding="utf-8")
    one, absent = str(tmp_path / "one.jsonl"), str(tmp_path / "none.jsonl")
    about = ("--name", "Ours", "--kind", "completions", "--origin", "human")
    refused(corral("source", "add", absent, *about), "none.jsonl cannot be read")
    refused(corral("source", "add", one, *about), "1 line is refused. The first: line 2 has no answer")
    refused(corral("source", "add", one, *about[2:], "--name", " "), "The name cannot be used. Please fill this in.")
    added = corral("source", "add", one, *about, "--leave-out-refused").stdout
    assert added == "Ours: 1 kept, 1 left out. No training learns from it until it has a weight.\n"
    listed = corral("source", "list").stdout.splitlines()[1].split()
    assert listed[1:6] == ["Ours", "completions", "human", "1", "0"]
    assert corral("source", "weigh", listed[0], "0.5").stdout == "Ours has the weight 0.5.\n"
    assert corral("source", "weigh", "Ours", "11").exit_code == 2
    assert corral("source", "withdraw", "Ours").stdout == "Ours is withdrawn.\n"
    refused(corral("source", "weigh", "Ours", "1"), "This source was withdrawn.")
    refused(corral("source", "withdraw", "Nobody's"), "There is no source Nobody's")
    shutil.rmtree(data_dir / "sources")


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
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("corral: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


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
