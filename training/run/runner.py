"""The process around a run: arguments, signals, the lock on the run directory, exit codes and the last line.

    python -m training.dpo run.toml              train
    python -m training.dpo --dry-run run.toml    say rows, lengths, memory and time, and write nothing
    accelerate launch -m training.dpo run.toml   train on several processes: the first of them holds the lock and writes

Exit codes: 0 finished, or was finished before; 2 the run file, snapshot or a checkpoint is at fault; 3 the loss is not
a number; 4 the disk; 5 another process trains there; 130 and 143 stopped by Ctrl-C and SIGTERM. The last line on stderr
is one sentence that says what to do.
"""

import argparse
import errno
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from training.data import snapshot
from training.formats import checkpoints
from training.formats.errors import BusyError, CheckpointError, StorageError, TrainingError
from training.formats.events import EventLog
from training.formats.settings import Kind, RunConfig, differences
from training.model import processes
from training.run import config, dry_run, stages
from training.run.progress import trainer_dir
from training.run.run import Build, train

REFUSED_BY_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
)
STOPPED = "stopped: start the run again to resume from its last saved state"


def main(kind: Kind, build: Build[Any], argv: list[str]) -> int:
    """Train what the run file that `argv` names asks for, with the trainer of its kind; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"python -m training.{kind}",
        description=sys.modules[build.__module__].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_file", metavar="RUN.toml", type=Path, help="the settings; the recipes are examples")
    parser.add_argument("--dry-run", action="store_true", help="print rows, lengths, memory and time; write nothing")
    try:
        given = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has said what is wrong
        return int(stop.code or 0)
    signal.signal(signal.SIGTERM, _stop)
    _quieten_libraries()
    try:
        path = given.run_file.resolve()
        settings = config.load(path, kind)
        if given.dry_run:
            dry_run.report(settings, path.parent)
            return 0
        with _lock(path.parent) if processes.is_main() else nullcontext():
            events = EventLog(path.parent, silent=not processes.is_main())
            if settings.output.exists():
                _already_finished(settings, events)
            else:
                _make(settings.output.parent)
                train(build, settings, path.parent, events)
            if processes.is_main():
                # The checkpoint exists, so the state to resume from, six times its size, is of no more use.
                shutil.rmtree(trainer_dir(path.parent), ignore_errors=True)
    except TrainingError as error:
        return _fail(error)
    except KeyboardInterrupt:
        sys.stderr.write(f"{STOPPED}\n")
        return 128 + signal.SIGINT
    except Exception as error:
        if not _disk_refused(error):
            raise
        return _fail(StorageError(f"writing failed ({error}): free some space, then start the run again"))
    return 0


def _make(folder: Path) -> None:
    """Where the result will lie; hours of training later would be late to learn that it cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made ({error.strerror}): choose another output") from error


def _already_finished(settings: RunConfig, events: EventLog) -> None:
    """A run that is started again after it finished has nothing to do, unless its checkpoint is not its own."""
    if not settings.output.is_dir():
        raise CheckpointError(f"{settings.output} is a file: choose another output")
    manifest = checkpoints.verify(settings.output)
    if manifest.name != settings.name or manifest.config.get("kind") != settings.kind:
        raise CheckpointError(f"{settings.output} is the checkpoint {manifest.name}: choose another output")
    changed = differences(manifest.config, settings.to_json())
    if settings.snapshot.exists() and snapshot.identity(settings.snapshot) != manifest.snapshot_sha256:
        changed.append("the data differs")
    if changed:
        raise CheckpointError(
            f"{settings.output} was trained with other settings ({'; '.join(changed[:3])}): choose another output"
        )
    sys.stderr.write(f"{settings.output} is already finished: nothing to do\n")
    if events.last("checkpoint") is None:  # killed between the rename and the report
        stages.report(settings, events)


def _quieten_libraries() -> None:
    """Loading bars and reports on new score heads would hide the one line that matters in the last lines of a run."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@contextmanager
def _lock(run_dir: Path) -> Iterator[None]:
    """Two processes that train into one directory would overwrite each other's state."""
    with ExitStack() as stack:
        try:
            stack.enter_context(checkpoints.locked(run_dir / "run.lock", wait=False))
        except BlockingIOError:
            raise BusyError(f"another process is training in {run_dir}: wait for it or stop it") from None
        yield


def _disk_refused(error: BaseException) -> bool:
    """Whether an error, however deep in a chain of libraries, came from the file system refusing to write."""
    if isinstance(error, OSError) and error.errno in REFUSED_BY_DISK:
        return True
    if any(sign in str(error) for sign in ("No space left", "File too large", "Disk quota")):  # safetensors, torch
        return True
    cause = error.__cause__ or error.__context__
    return cause is not None and _disk_refused(cause)


def _fail(error: TrainingError) -> int:
    sys.stderr.write(" ".join(str(error).split()) + "\n")
    return error.exit_code


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    # Raised between two steps of the interpreter: files are written into drafts, so nothing half-written is left.
    sys.stderr.write(f"{STOPPED}\n")
    raise SystemExit(128 + signal.SIGTERM)
