"""The store through which hosts without a shared disk exchange files: a folder, S3, Google Cloud or Azure (``CORRAL_STORE``).

What is written once and sealed is pushed, and pulled before it is used: snapshots, sources, checkpoints, base models, and what a
training run needs to go on elsewhere. Each goes by the name that it has in the data folder::

    checkpoints/policy-r1/files/SHA256          what is in its files, each once
    checkpoints/policy-r1/whole/IDENTITY.json   which files those are; written last

The identity is the SHA-256 of the folder's own manifest, as it stands in the database. An upload that broke off has no list, so
nobody takes it for whole; two writers of one name do not mix, since files go by their hash. What is pulled is hashed under
another name, and gets its own by rename. Without ``CORRAL_STORE`` nothing here does anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import structlog

from app.kernel.data_folder import HERE
from app.kernel.errors import BadInput, Unavailable
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from training.formats.checkpoints import MANIFEST, locked, sha256

if TYPE_CHECKING:
    from obstore.store import ObjectStore

log = structlog.get_logger()

PAUSES = (1, 2, 4, 8, 15, 30, 30, 30)
"""Seconds between tries while the store is away: two minutes in all."""
BRIEFLY = (1, 2)
"""The same while somebody waits for a page."""
STEP = 8 * 1024 * 1024

T = TypeVar("T")
Pauses = Collection[float] | None
Sound = Callable[[Path], bool]
"""Whether a folder of this host is what it should be."""


class StoreAway(Unavailable):
    """The store does not answer, or refuses us."""

    slug, title = "store-away", N_("The store is away")


def is_shared() -> bool:
    """Whether files are exchanged through a store."""
    return bool(get_settings().store)


def push(folder: Path, *, only: Collection[str] | None = None, pauses: Pauses = None) -> None:
    """Bring a sealed folder of the data folder into the store; what is there already is not sent again.

    Args:
        folder: Below the data folder. ``manifest.json`` in it, if there is one, is its identity.
        only: The files that are meant, by their names in it; all where nothing is said.
        pauses: Seconds between tries, :data:`PAUSES` where nothing is said.

    Raises:
        StoreAway: it does not answer for so long.
        FileNotFoundError: a file is gone.
    """
    if not is_shared():
        return
    files: dict[str, dict[str, Any]] = {}
    for name in sorted(only) if only is not None else _names(folder):
        files[name] = {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size}
    body = json.dumps(files, sort_keys=True).encode()
    identity = files[MANIFEST]["sha256"] if MANIFEST in files else hashlib.sha256(body).hexdigest()
    place = _name(folder)
    if _there(f"{place}/whole/{identity}.json", len(body), pauses):
        return
    began = time.monotonic()
    for name, said in files.items():
        target = f"{place}/files/{said['sha256']}"
        if not _there(target, said["bytes"], pauses):
            _put(target, folder / name, pauses)
    _put(f"{place}/whole/{identity}.json", body, pauses)
    size = sum(said["bytes"] for said in files.values())
    log.info("store_pushed", name=place, bytes=size, seconds=round(time.monotonic() - began, 2))


def pull(folder: Path, sound: Sound = Path.is_dir, *, identity: str | None = None, pauses: Pauses = None) -> bool:
    """Bring a folder of the data folder here, unless it is here and ``sound``.

    Args:
        folder: Where it belongs.
        sound: Asked of what is here.
        identity: The SHA-256 of its manifest; the newest of that name where nothing is said.
        pauses: Seconds between tries, :data:`PAUSES` where nothing is said.

    Returns:
        Whether the folder is here now because of this call.

    Raises:
        StoreAway: it does not answer for so long.
        OSError: the disk refuses.
    """
    if not is_shared() or (folder.exists() and sound(folder)):
        return False
    files = _listed(_name(folder), identity, pauses)
    if files is None:
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    began, draft = time.monotonic(), folder.parent / f".{folder.name}.pulled"
    with locked(folder.parent / ".pulled.lock", wait=True):
        if folder.exists() and sound(folder):
            return False  # another process was faster
        shutil.rmtree(draft, ignore_errors=True)  # of one that was killed
        try:
            for name, said in files.items():
                _fetch(f"{_name(folder)}/files/{said['sha256']}", said, _inside(draft, name), pauses)
            if folder.exists():  # it is not what it should be; no folder replaces one that holds files
                shutil.rmtree(folder)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    log.info("store_pulled", name=_name(folder), seconds=round(time.monotonic() - began, 2))
    return True


def need(folder: Path, sound: Sound = Path.is_dir, *, identity: str | None = None) -> None:
    """The same, of what a host cannot do without. Where hosts share a disk nothing happens.

    Raises:
        StoreAway: it does not answer for so long, or has not what is not here.
        OSError: the disk refuses.
    """
    if not pull(folder, sound, identity=identity) and is_shared() and not folder.exists():
        raise StoreAway(
            f"{_name(folder)} is neither on this host nor in the store at {get_settings().store}: run `corral store push` on the "
            "host that has it."
        )


def fill(folder: Path) -> None:
    """Bring the files that were last pushed as ``folder`` into it, beside others that lie there.

    Where one of them says something else here, this folder is of another attempt, and is emptied first.

    Raises:
        StoreAway: the store does not answer for so long.
        OSError: the disk refuses.
    """
    files = _listed(_name(folder), None, None) if is_shared() else None
    if not files:
        return
    here = {name: sha256(folder / name) for name in files if (folder / name).is_file()}
    if any(files[name]["sha256"] != digest for name, digest in here.items()):
        shutil.rmtree(folder)
        here = {}
    for name in sorted(files.keys() - here.keys()):
        target = _inside(folder, name)
        draft = target.with_name(f".{target.name}.pulled")
        _fetch(f"{_name(folder)}/files/{files[name]['sha256']}", files[name], draft, None)
        draft.replace(target)


def newest(folder: Path, pauses: Pauses = None) -> dict[str, str] | None:
    """The files of what was last pushed as ``folder``, with their SHA-256; None where nothing was."""
    files = _listed(_name(folder), None, pauses) if is_shared() else None
    return None if files is None else {name: said["sha256"] for name, said in files.items()}


def below(folder: Path) -> set[str]:
    """The names right below ``folder`` of which the store has something whole."""
    if not is_shared():
        return set()
    place = _name(folder)
    found = (PurePosixPath(each["path"]).relative_to(place).parts for each in _all(place, None))
    return {parts[0] for parts in found if len(parts) == 3 and parts[1] == "whole"}


def forget(folder: Path, pauses: Pauses = None) -> None:
    """Remove ``folder``, and what lies below it, from the store: first what says that it is whole."""
    if not is_shared():
        return
    paths = [str(each["path"]) for each in _all(_name(folder), pauses)]
    for path in sorted(paths, key=lambda path: not path.endswith(".json")):
        _tried(partial(_delete, path), pauses)
    if paths:
        log.info("store_forgot", name=_name(folder), files=len(paths))


def look() -> None:
    """Write to the store, read it back and remove it.

    Raises:
        StoreAway: it cannot.
    """
    key = f"looks/{os.urandom(8).hex()}"
    _put(key, b"corral", BRIEFLY)
    _tried(partial(_delete, key), BRIEFLY)


def _name(folder: Path) -> str:
    name = get_settings().name_of(folder.absolute())
    if not name.startswith(HERE):
        raise BadInput(
            _("{folder} lies outside the data folder and cannot be exchanged through the store.", folder=folder)
        )
    return name.removeprefix(HERE)


def _names(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def _inside(draft: Path, name: str) -> Path:
    target = draft / name
    if not target.resolve().is_relative_to(draft.resolve()):
        raise StoreAway(_("The store names {name}, which lies outside its folder: do not use it.", name=name))
    return target


def _listed(place: str, identity: str | None, pauses: Pauses) -> dict[str, Any] | None:
    """The files of what is whole; None where there is none."""
    if identity is None:
        there = [each for each in _all(f"{place}/whole", pauses) if str(each["path"]).endswith(".json")]
        if not there:
            return None
        key = str(max(there, key=lambda each: each["last_modified"])["path"])
    else:
        key = f"{place}/whole/{identity}.json"
    try:
        found: dict[str, Any] = json.loads(_tried(lambda store: _read(store, key), pauses))
    except FileNotFoundError:
        return None
    if identity is not None and found.get(MANIFEST, {}).get("sha256", identity) != identity:
        raise StoreAway(f"{key} in the store names another manifest: remove it there, and push the folder again.")
    return found


def _fetch(key: str, said: dict[str, Any], target: Path, pauses: Pauses) -> None:
    """Write one file and see that it is what was pushed."""
    target.parent.mkdir(parents=True, exist_ok=True)

    def write(store: ObjectStore) -> str:
        import obstore

        digest = hashlib.sha256()
        chunks = obstore.get(store, key).stream(min_chunk_size=STEP)
        with target.open("wb") as out:
            for chunk in chunks:
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        return digest.hexdigest()

    try:
        found = _tried(write, pauses)
    except FileNotFoundError:
        found = ""
    if found != said["sha256"]:
        raise StoreAway(
            f"{key} in the store is {'missing' if not found else 'not what was pushed'}: remove {key.rpartition('/files/')[0]} "
            "there, and push it again from a host that has it (`corral store push`)."
        )


def _put(key: str, what: Path | bytes, pauses: Pauses) -> None:
    import obstore

    _tried(lambda store: obstore.put(store, key, what), pauses)


def _there(key: str, size: int, pauses: Pauses) -> bool:
    import obstore

    try:
        return bool(_tried(lambda store: obstore.head(store, key), pauses)["size"] == size)
    except FileNotFoundError:
        return False


def _read(store: ObjectStore, key: str) -> bytes:
    import obstore

    return bytes(obstore.get(store, key).bytes())


def _delete(key: str, store: ObjectStore) -> None:
    import obstore

    try:
        obstore.delete(store, [key])
    except FileNotFoundError:
        return


def _all(prefix: str, pauses: Pauses) -> list[dict[str, Any]]:
    import obstore

    def every(store: ObjectStore) -> Iterator[dict[str, Any]]:
        for batch in obstore.list(store, prefix=prefix):
            yield from (dict(each) for each in batch)

    return _tried(lambda store: list(every(store)), pauses)


def _tried(act: Callable[[ObjectStore], T], pauses: Pauses) -> T:
    """What ``act`` returns, tried again while the store is away."""
    from obstore import exceptions

    refusals = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
    url = get_settings().store
    for pause in (*(PAUSES if pauses is None else pauses), None):
        try:
            _check_mounted(url)
            return act(_opened(url, os.getpid()))
        except refusals as error:
            said = _(
                "The store at {url} refuses: {reason}. Correct the provider's keys.", url=url, reason=_first(error)
            )
            raise StoreAway(said) from error
        except (exceptions.BaseError, NotADirectoryError) as error:
            if pause is None:
                said = _(
                    "The store at {url} does not answer ({reason}). See that it runs and that this host reaches it, "
                    "then try again.",
                    url=url,
                    reason=_first(error),
                )
                raise StoreAway(said) from error
            log.warning("store_away", store=url, reason=_first(error), tried_again_in_seconds=pause)
            time.sleep(pause)
    raise AssertionError


def _check_mounted(url: str) -> None:
    """A folder that is not mounted would look like an empty store."""
    if url.startswith("file:") and not Path(unquote(urlsplit(url).path)).is_dir():
        raise NotADirectoryError("there is no such folder")


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


@lru_cache(maxsize=1)
def _opened(url: str, process: int) -> ObjectStore:
    """The store at ``url``; keys come from the provider's own variables. A forked ``process`` needs connections of its own."""
    del process
    from obstore.store import from_url

    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")  # the operator says so
    opened: ObjectStore = from_url(
        url,
        client_options={"allow_http": plain, "connect_timeout": "10s", "timeout": "1d"},
        retry_config={"max_retries": 0},  # ours says what it waits for
    )
    return opened
