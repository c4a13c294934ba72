"""The store through which hosts exchange files: what is pushed is whole or not there, and what is pulled is what was pushed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.kernel import store
from app.kernel.settings import Settings, get_settings
from training.formats import checkpoints

NAME = "policy-r1-aa"
Host = Callable[[str], Path]


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is the store."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    monkeypatch.setenv("CORRAL_STORE", folder.as_uri())
    monkeypatch.setattr(store, "PAUSES", (0.05,) * 5)
    return folder


@pytest.fixture
def host(bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Be the host of this name from now on: returns its checkpoints."""

    def be(name: str) -> Path:
        monkeypatch.setenv("CORRAL_DATA_DIR", str(tmp_path / name))
        get_settings.cache_clear()
        return get_settings().checkpoints_dir

    yield be
    monkeypatch.undo()
    get_settings.cache_clear()


def write(folder: Path, weights: bytes = b"weights") -> str:
    """A checkpoint; returns what it is known by."""
    with checkpoints.write(folder, checkpoints.Manifest(name=folder.name, kind="policy", base_model="base")) as draft:
        (draft / "adapter_model.safetensors").write_bytes(weights)
        (draft / "more").mkdir()
        (draft / "more" / "notes.json").write_text("{}")
    return checkpoints.manifest_sha256(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_one_host_sealed_another_has_byte_for_byte(host: Host) -> None:
    first = host("one") / NAME
    identity = write(first)
    store.push(first)
    second = host("two") / NAME
    assert store.pull(second, identity=identity)
    assert files(second) == files(first)
    assert checkpoints.verify(second).name == NAME
    assert [each.name for each in second.parent.iterdir() if each.name.endswith(".pulled")] == []


def test_what_is_here_and_sound_is_not_pulled_and_what_is_there_is_not_sent(
    host: Host, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = host("one") / NAME
    identity = write(folder)
    store.push(folder)
    before = {path: (bucket / path).stat().st_mtime_ns for path in files(bucket)}
    store.push(folder)
    assert {path: (bucket / path).stat().st_mtime_ns for path in files(bucket)} == before
    monkeypatch.setattr(store, "_tried", lambda *_: pytest.fail("the store was asked"))
    assert not store.pull(folder, identity=identity)


def test_a_damaged_folder_is_replaced_by_what_was_pushed(host: Host) -> None:
    folder = host("one") / NAME
    identity = write(folder)
    store.push(folder)
    (folder / "adapter_model.safetensors").write_bytes(b"changed")

    def sound(here: Path) -> bool:
        return (here / "adapter_model.safetensors").read_bytes() == b"weights"

    assert store.pull(folder, sound, identity=identity)
    assert sound(folder)


def test_an_upload_that_broke_off_is_nothing(host: Host, bucket: Path) -> None:
    folder = host("one") / NAME
    identity = write(folder)
    store.push(folder)
    lists = list(bucket.rglob("whole/*.json"))
    assert [each.stem for each in lists] == [identity]
    lists[0].unlink()
    other = host("two") / NAME
    assert not store.pull(other, identity=identity)
    assert not store.pull(other)
    assert not other.exists()
    with pytest.raises(store.StoreAway, match=r"neither on this host nor in the store at .*corral store push"):
        store.need(other, identity=identity)


@pytest.mark.parametrize("fault", ["changed", "missing", "cut"])
def test_what_is_not_what_was_pushed_is_refused_and_leaves_nothing(host: Host, bucket: Path, fault: str) -> None:
    folder = host("one") / NAME
    identity = write(folder)
    store.push(folder)
    [blob] = (each for each in bucket.rglob("files/*") if each.read_bytes() == b"weights")
    blob.unlink() if fault == "missing" else blob.write_bytes(b"weight!" if fault == "changed" else b"wei")
    other = host("two") / NAME
    with pytest.raises(store.StoreAway, match="missing" if fault == "missing" else "not what was pushed"):
        store.pull(other, identity=identity)
    assert not other.exists()
    assert files(other.parent).keys() <= {".pulled.lock"}


def test_a_list_under_the_name_of_another_manifest_is_refused(host: Host, bucket: Path) -> None:
    folder = host("one") / NAME
    store.push(folder) if write(folder) else None
    [said] = bucket.rglob("whole/*.json")
    said.rename(said.with_name(f"{'0' * 64}.json"))
    other = host("two") / NAME
    with pytest.raises(store.StoreAway, match="names another manifest"):
        store.pull(other, identity="0" * 64)
    assert not other.exists()


def test_a_list_that_leads_out_of_its_folder_is_refused(host: Host, bucket: Path) -> None:
    folder = host("one") / NAME
    store.push(folder) if write(folder) else None
    [listed] = bucket.rglob("whole/*.json")
    listed.write_text(listed.read_text().replace("more/notes.json", "../../notes.json"))
    other = host("two") / NAME
    with pytest.raises(store.StoreAway, match="lies outside its folder"):
        store.pull(other)
    assert not (other.parent.parent / "notes.json").exists()


def test_two_writers_of_one_name_do_not_mix(host: Host) -> None:
    one = host("one") / NAME
    first = write(one, b"of one")
    store.push(one)
    two = host("two") / NAME
    second = write(two, b"of two")
    store.push(two)
    assert first != second
    for identity, weights in ((first, b"of one"), (second, b"of two")):
        there = host(f"reads {weights.decode()}") / NAME
        assert store.pull(there, identity=identity)
        assert (there / "adapter_model.safetensors").read_bytes() == weights
        checkpoints.verify(there)


def test_a_store_that_is_away_for_a_moment_is_waited_for(host: Host, bucket: Path) -> None:
    folder = host("one") / NAME
    identity = write(folder)
    bucket.rename(bucket.with_name("away"))
    bucket.write_bytes(b"")  # a disk that is not mounted, and worse

    def come_back() -> None:
        bucket.unlink()
        bucket.with_name("away").rename(bucket)

    back = threading.Timer(0.12, come_back)
    back.start()
    with capture_logs() as said:
        store.push(folder)
    back.join()
    away = next(each for each in said if each["event"] == "store_away")
    assert away["reason"] == "there is no such folder"
    assert away["tried_again_in_seconds"] == 0.05
    assert store.pull(host("two") / NAME, identity=identity)


def test_a_store_that_stays_away_is_said_with_its_address(host: Host, bucket: Path) -> None:
    folder = host("one") / NAME
    write(folder)
    bucket.rename(bucket.with_name("away"))
    with pytest.raises(store.StoreAway, match=r"The store at file:///.*/bucket does not answer .*See that it runs"):
        store.push(folder)


def test_what_is_forgotten_is_gone_with_what_lies_below_it_and_nothing_else(host: Host, bucket: Path) -> None:
    home = host("one")
    for name in ("run-1/trainer/checkpoint-2", "run-1/trainer/checkpoint-4", "run-10/trainer/checkpoint-2"):
        write(home / name)
        store.push(home / name)
    assert store.below(home / "run-1" / "trainer") == {"checkpoint-2", "checkpoint-4"}
    store.forget(home / "run-1")
    assert store.below(home / "run-1" / "trainer") == set()
    assert store.below(home / "run-10" / "trainer") == {"checkpoint-2"}
    assert not [path for path in files(bucket) if "/run-1/" in path]


def test_files_are_put_beside_what_lies_there_unless_that_is_of_another_attempt(host: Host) -> None:
    one = host("one") / "run"
    one.mkdir(parents=True)
    (one / "samples").write_text("first")
    (one / "log").write_text("mine")
    store.push(one, only=["samples"])
    two = host("two") / "run"
    two.mkdir(parents=True)
    (two / "log").write_text("own")
    store.fill(two)
    assert files(two) == {"log": b"own", "samples": b"first"}
    (two / "samples").write_text("other")
    store.fill(two)
    assert files(two) == {"samples": b"first"}


def test_without_a_store_nothing_happens(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORRAL_STORE")
    folder = host("one") / NAME
    write(folder)
    monkeypatch.setattr(store, "_tried", lambda *_: pytest.fail("a store was asked"))
    store.push(folder)
    store.fill(folder)
    store.forget(folder)
    store.need(host("two") / NAME)
    assert (store.newest(folder), store.below(folder.parent)) == (None, set())


@pytest.mark.parametrize("wrong", ["/mnt/corral", "s3://", "http://bucket", "s3://key:secret@bucket/x", "file://"])
def test_an_address_that_is_none_is_refused_without_being_repeated(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"write it (as file:///FOLDER|without a key)") as refused:
        Settings(store=wrong)
    assert "secret@" not in str(refused.value)


def test_names_are_of_the_data_folder_and_other_places_stay(tmp_path: Path) -> None:
    one, two = Settings(data_dir=tmp_path / "one"), Settings(data_dir=tmp_path / "two")
    name = one.name_of(one.models_dir / "base")
    assert name == "./models/base"
    assert two.place_of(name) == str(two.models_dir / "base")
    for elsewhere in ("somebody/model", "/models/base"):
        assert one.place_of(one.name_of(elsewhere)) == elsewhere
