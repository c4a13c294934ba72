"""``corral store push``: what was sealed before there was a store comes into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.kernel import store
from app.kernel.settings import get_settings
from app.registry.models import CheckpointKind
from app.upkeep import doctor, sharing
from app.upkeep.diagnoses import Level
from tests.factories import make_checkpoint
from tests.generating import write_adapter


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "bucket"
    folder.mkdir()
    monkeypatch.setenv("CORRAL_STORE", folder.as_uri())
    monkeypatch.setenv("CORRAL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(store, "BRIEFLY", ())
    get_settings.cache_clear()
    yield folder
    monkeypatch.undo()
    get_settings.cache_clear()


def test_what_this_host_has_is_pushed_and_the_rest_is_named(session: Session, bucket: Path) -> None:
    base = make_checkpoint(session, "tiny", CheckpointKind.BASE)
    base.path = "./models/tiny"
    for name in ("policy-r1", "policy-r2"):
        make_checkpoint(session, name)
    make_checkpoint(session, "rival", CheckpointKind.EXTERNAL)
    write_adapter(get_settings().models_dir / "tiny")
    write_adapter(get_settings().checkpoints_dir / "policy-r1")
    wanted = [("models/tiny", True), ("checkpoints/policy-r1", True), ("checkpoints/policy-r2", False)]
    assert list(sharing.push(session)) == wanted
    assert store.below(get_settings().checkpoints_dir) == {"policy-r1"}
    assert list(sharing.push(session)) == wanted, "done twice it is the same"


def test_the_doctor_says_whether_this_host_can_write_there(bucket: Path) -> None:
    [well] = doctor.look_at_store(get_settings(), None)
    assert well.level is Level.OK
    assert [path for path in bucket.rglob("*") if path.is_file()] == [], "it leaves nothing"
    bucket.rename(bucket.with_name("away"))
    [away] = doctor.look_at_store(get_settings(), None)
    assert (away.level, "there is no such folder" in away.found) == (Level.FAIL, True)
