"""Code that never ends, floods, forks, destroys or is no code at all ends within its limits and hurts nobody."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.kernel.settings import ROOT
from tests.patience import PATIENCE, eventually
from workers.sandbox import Limits, NoSandbox, Sandbox, Stopped
from workers.sandbox.process import LocalSandbox

SHORT = Limits(wall_s=2)
PATIENT = Limits(wall_s=30)
PYTHON = ["python", "-I", "-S", "-c"]


def folders_of_programs() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("corral-sandbox-*"))


def far() -> float:
    return time.monotonic() + 30


@pytest.fixture
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Programs get their folders where no other test's are; whoever runs them may enter it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("code", "stopped"),
    [
        ("while True: pass", "time"),
        ("import time; time.sleep(100)", "time"),
        ("import os; os.close(1); os.close(2)\nwhile True: pass", "time"),
        ("import signal; signal.signal(15, signal.SIG_IGN); signal.pause()", "time"),
        ("while True: print('x' * 1000)", "output"),
        ("import sys\nwhile True: sys.stderr.write('x' * 1000)", "output"),
        ("import os\nwhile True: os.write(1, b'\\0\\xff' * 500)", "output"),
        (
            "import os, time\nfor n in range(30): open(f'f{n}', 'w').write('x' * 4_000_000)\ntime.sleep(60)",
            "files|ended",
        ),
        ("import os, time\nfor n in range(9000): os.mkdir(f'd{n}')\ntime.sleep(60)", "files"),
    ],
)
def test_what_goes_over_a_limit_is_stopped_and_says_by_which(sandbox: Sandbox, code: str, stopped: str) -> None:
    limits = SHORT if stopped == "time" else PATIENT
    ended = sandbox.run([*PYTHON, code], limits=limits)
    assert (ended.stopped or "ended") in stopped.split("|")
    assert ended.code is None or not ended.stopped
    assert len(ended.stdout) <= limits.output_bytes
    assert len(ended.stderr) <= 20_000


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("import os; os._exit(0)", 0, b""),
        ("import sys; sys.exit(7)", 7, b""),
        ("This is no code.", 1, b"SyntaxError"),
        ("def f(:", 1, b"SyntaxError"),
        ("import os; os.kill(os.getpid(), 9)", -9, b""),
        ("import os; os.abort()", -6, b""),
        ("import ctypes; ctypes.string_at(0)", -11, b""),
        ("import shutil, os; shutil.rmtree(os.getcwd(), ignore_errors=True); print(1)", 0, b""),
        ("x = [0] * 10**12", 1, b"MemoryError"),
        ("import sys; sys.setrecursionlimit(10**6)\ndef f(): f()\nf()", None, b""),
        ("print(input())", 1, b"EOFError"),
        ("import urllib.request; urllib.request.urlopen('http://127.0.0.1')", 1, b"Operation not permitted"),
        ("'\\ud800'.encode()", 1, b"UnicodeEncodeError"),
    ],
)
def test_what_ends_by_itself_has_its_status_and_its_words(
    sandbox: Sandbox, code: str, status: int | None, said: bytes
) -> None:
    ended = sandbox.run([*PYTHON, code], limits=PATIENT)
    assert ended.stopped == ""
    assert ended.code == status if status is not None else ended.code not in (None, 0)
    assert said in ended.stderr


def test_nothing_of_a_program_is_left_in_the_folders_of_the_machine(sandbox: Sandbox, own_folder: None) -> None:
    deep = "import os\nfor n in range(1500): os.mkdir('d'); os.chdir('d')"
    shut = "import os\nos.mkdir('shut', 0o300); open('shut/file', 'w').close(); os.mkdir('none', 0)"
    for code in (deep, shut, "import os; os.symlink('/etc', 'etc'); os.mkfifo('pipe')"):
        sandbox.run([*PYTHON, code], limits=PATIENT)
    assert folders_of_programs() == set()


@pytest.mark.parametrize("size", [1, 65_536, 65_537, 900_000])
def test_much_is_read_and_written_at_once(sandbox: Sandbox, size: int) -> None:
    given = b"x" * size
    assert sandbox.run(["bash", "-c", "cat"], stdin=given, limits=PATIENT).stdout == given
    assert sandbox.run(["bash", "-c", "head -c 1"], stdin=given, limits=PATIENT).stdout == b"x"
    ended = sandbox.run(
        [*PYTHON, "import sys; sys.stdout.write('y' * 900_000); input()"], stdin=given + b"\n", limits=PATIENT
    )
    assert (ended.code, len(ended.stdout)) == (0, 900_000)


def test_who_reads_nothing_stops_nobody_who_writes(sandbox: Sandbox) -> None:
    with sandbox.start([*PYTHON, "import time; time.sleep(100)"], limits=SHORT) as box:
        assert not box.send(b"x" * 10_000_000)
        with pytest.raises(Stopped, match="time"):
            box.line(far())


def test_a_program_is_spoken_to_in_lines(sandbox: Sandbox) -> None:
    echo = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)\n"
    with sandbox.start([*PYTHON, echo], limits=PATIENT) as box:
        for word in (b"abc", b"", b"x" * 200_000):
            assert box.send(word)
            assert box.line(far()) == word[::-1]


def test_what_was_written_before_the_end_is_still_read(sandbox: Sandbox) -> None:
    with sandbox.start(["bash", "-c", "echo one; echo two; echo three >&2; printf four"], limits=PATIENT) as box:
        assert [box.line(far()), box.line(far())] == [b"one", b"two"]
        with pytest.raises(Stopped, match="ended"):
            box.line(far())
        assert not box.send(b"more")
        assert box.stderr() == b"three\n"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("print('x' * 3_000_000)", "output"),
        ("print('x', end='', flush=True)\nwhile True: pass", "time"),
        ("1/0", "ended"),
    ],
)
def test_a_line_that_does_not_come_says_why(sandbox: Sandbox, code: str, why: str) -> None:
    with sandbox.start([*PYTHON, code], limits=PATIENT) as box:
        with pytest.raises(Stopped) as stopped:
            box.line(time.monotonic() + (0.5 if why == "time" else 30))
        assert stopped.value.why == why
        box.kill()
        box.kill()


def test_what_a_program_left_behind_does_not_keep_it_alive(sandbox: Sandbox) -> None:
    ended = sandbox.run(["bash", "-c", "sleep 100 & echo started"], limits=PATIENT)
    assert (ended.code, ended.stdout, ended.stopped) == (0, b"started\n", "")


def test_files_are_there_and_nothing_else_is(sandbox: Sandbox) -> None:
    files = {"a/b/one.txt": b"\x00\xff", "two.py": b"print(open('a/b/one.txt', 'rb').read())"}
    assert sandbox.run(["python", "-I", "-S", "two.py"], files=files, limits=PATIENT).stdout == b"b'\\x00\\xff'\n"
    listed = sandbox.run(["bash", "-c", "ls -A; ls -A $TMPDIR"], files=files, limits=PATIENT)
    assert listed.stdout == b"a\ntwo.py\n" * 2


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "a/../../outside"])
def test_a_file_outside_of_the_folder_is_refused(sandbox: Sandbox, name: str) -> None:
    with pytest.raises(ValueError, match="outside"):
        sandbox.run(["bash", "-c", "true"], files={name: b""})


@pytest.mark.parametrize("argument", ["nul\0nul", "x" * 3_000_000, "\ud800"], ids=["nul", "long", "surrogate"])
def test_what_no_program_can_be_given_could_not_be_run(sandbox: Sandbox, argument: str) -> None:
    with pytest.raises(NoSandbox):
        sandbox.run([*PYTHON, argument])


def test_a_program_that_nobody_knows_could_not_be_run(sandbox: Sandbox) -> None:
    with pytest.raises(NoSandbox, match="only python, node, bash, sqlite"):
        sandbox.run(["perl", "-e", "1"])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["python", "-c", "import unittest, json, sqlite3, decimal; print(6 * 7)"], b"42\n"),
        (["bash", "-c", "echo $((6 * 7)) | sort | awk '{print $1}'"], b"42\n"),
        (["node", "-e", "console.log([6, 7].reduce((a, b) => a * b))"], b"42\n"),
        (["sqlite", ":memory:", "select 6 * 7"], b"42\n"),
    ],
    ids=["python", "bash", "node", "sqlite"],
)
def test_every_language_runs(sandbox: Sandbox, argv: list[str], said: bytes) -> None:
    try:
        ended = sandbox.run(argv, limits=PATIENT)
    except NoSandbox as error:
        pytest.skip(str(error))
    assert (ended.code, ended.stdout) == (0, said), ended.stderr


def test_the_environment_is_empty_and_the_hash_seed_fixed(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    code = "import os; print(sorted(os.environ)); print(hash('a'))"
    one, two = (sandbox.run(["python", "-S", "-c", code], limits=PATIENT).stdout for _ in range(2))
    assert one == two
    assert b"DATABASE_URL" not in one


def test_many_at_once_and_one_after_another_start_and_fork(sandbox: Sandbox) -> None:
    """The system counts the processes of a user, and those that were killed a while longer."""
    code = "import threading as t, time\nfor _ in range(20): t.Thread(target=time.sleep, args=(.2,)).start()\nprint(1)"
    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(lambda _: sandbox.run([*PYTHON, code], limits=PATIENT), range(40)))
    assert {(each.code, each.stdout) for each in ended} == {(0, b"1\n")}, [each.stderr for each in ended if each.code]


def test_nothing_of_this_process_leaks(sandbox: Sandbox) -> None:
    def open_ends() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    sandbox.run(["bash", "-c", "true"])
    before = open_ends()
    for code in ("exit", "echo x; sleep 100", "cat /dev/zero"):
        sandbox.run(["bash", "-c", code], limits=Limits(wall_s=0.5))
        with sandbox.start(["bash", "-c", code]):
            pass
    with pytest.raises(NoSandbox):
        sandbox.run(["bash", "-c", "\0"], files={"a": b"a"})
    # Not more than before: the service hangs up a moment after its answer, and what other tests left may close too.
    eventually(lambda: open_ends() <= before, PATIENCE, "all of it closed")
    assert not [thread for thread in threading.enumerate() if thread.name == "sandbox watch"]


def test_whoever_started_it_takes_it_along(sandbox: Sandbox) -> None:
    """A worker that is killed leaves no program running."""
    if not isinstance(sandbox, LocalSandbox):
        pytest.skip("the service stays: test_service.py")
    starter = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from workers.sandbox import Limits
from workers.sandbox.{sandbox.name} import {type(sandbox).__name__} as Sandbox
code = "print(1, flush=True); import time; time.sleep(300)"
box = Sandbox().start(["python", "-I", "-S", "-c", code], limits=Limits(wall_s=300))
box.line(time.monotonic() + 60)
print(box.pid, flush=True)
time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        program = Path(f"/proc/{int(worker.stdout.readline())}/stat")
        worker.send_signal(signal.SIGKILL)
    until = far()
    while program.exists() and program.read_text().rpartition(")")[2].split()[0] not in "ZX":
        assert time.monotonic() < until, "it still runs"
        time.sleep(0.02)
