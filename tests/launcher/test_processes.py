"""Children never outlive their supervisor, with or without its help."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from app.kernel.errors import CannotStart
from app.kernel.settings import ROOT
from app.laptop.supervisor import ChildFailed, Console, Supervisor
from app.services.processes import KEPT_LOGS, Child, Command, rotate
from tests.patience import PATIENCE, eventually

# a child whose own child leads a session of its own: killing the group would not reach that one
STRAY = """
import subprocess, sys, time
stray = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("stray", stray.pid, flush=True)
time.sleep(600)
"""
# a supervisor over that child which says both numbers and waits
SUPERVISOR = f"""
import sys
from collections.abc import Callable
from pathlib import Path
from app.services.processes import Command
from app.laptop.supervisor import Console, Supervisor
def hears(line):
    print(line, flush=True)
    return False
with Supervisor(Path(sys.argv[1]), Console()) as supervisor:
    child = supervisor.start(Command("stubborn", [sys.executable, "-c", {STRAY!r}], hears=hears))
    print("child", child.process.pid, flush=True)
    supervisor.forever()
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def noting(into: list[str]) -> Callable[[str], bool]:
    """Notes each line, and keeps none of them secret."""

    def hears(line: str) -> bool:
        into.append(line)
        return False

    return hears


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def killed_supervisor(logs: Path) -> dict[str, int]:
    """The numbers of a child and a grandchild whose supervisor was just killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(logs)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = dict(process.stdout.readline().split() for _ in range(2))
    numbers = {name: int(number) for name, number in said.items()}
    assert set(numbers) == {"child", "stray"}
    process.kill()
    process.wait()
    process.stdout.close()
    return numbers


def test_a_killed_supervisor_takes_even_strays_with_it(killed_supervisor: dict[str, int]) -> None:
    eventually(lambda: all(map(gone, killed_supervisor.values())), PATIENCE, "the end of child and grandchild")


def test_an_orderly_stop_ends_strays_too(logs: Path) -> None:
    heard: list[str] = []
    with Supervisor(logs, Console()) as supervisor:
        child = supervisor.start(Command("stubborn", python(STRAY), hears=noting(heard), stop_deadline=1))
        supervisor.until(lambda: bool(heard), 30, "no word")
        assert child.process is not None
    assert gone(child.process.pid)
    assert gone(int(heard[0].split()[1]))


def test_a_child_that_ignores_the_signal_is_killed_after_its_deadline(logs: Path) -> None:
    ignores = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    heard: list[str] = []
    with Supervisor(logs, Console()) as supervisor:
        child = supervisor.start(Command("deaf", python(ignores), stop_deadline=0.3, hears=noting(heard)))
        supervisor.until(lambda: bool(heard), 30, "no word")
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL


def test_lower_stages_end_first(logs: Path) -> None:
    says_when_it_ends = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[2], 'a').write(sys.argv[1]), sys.exit()))\n"
        "print('there', flush=True)\ntime.sleep(600)"
    )
    diary = logs / "diary"
    there: list[str] = []
    with Supervisor(logs, Console()) as supervisor:
        for stage, name in ((5, "d"), (0, "a"), (2, "c"), (1, "b")):
            words = [*python(says_when_it_ends), name, str(diary)]
            supervisor.start(Command(name, words, stage=stage, hears=noting(there)))
        supervisor.until(lambda: len(there) == 4, 60, "not all there")
    assert diary.read_text() == "abcd"


def test_a_secret_line_is_neither_logged_nor_shown(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = Command(
        "talker",
        python("print('open'); print('secret: 42')"),
        once=True,
        hears=lambda line: line.startswith("secret"),
        shows=lambda _: True,
    )
    with Supervisor(logs, Console()) as supervisor:
        supervisor.run(command, 30)
    assert (logs / "talker.log").read_text() == "open\n"
    assert "secret" not in capsys.readouterr().out


def test_a_terminal_that_closes_is_no_reason_to_stop_after_nohup(logs: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Supervisor(logs, Console()) as supervisor:
            signal.raise_signal(signal.SIGHUP)
            supervisor.turn(0)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_failure_is_told_by_its_last_word(logs: Path) -> None:
    with Supervisor(logs, Console()) as supervisor, pytest.raises(ChildFailed, match=r"^there is no soup$"):
        supervisor.run(Command("cook", python("import sys; sys.exit('corral: there is no soup')"), once=True), 30)


def test_what_takes_too_long_is_ended(logs: Path) -> None:
    with Supervisor(logs, Console()) as supervisor:
        with pytest.raises(CannotStart, match="sleeper did not finish in time"):
            supervisor.run(Command("sleeper", python("import time; time.sleep(600)"), once=True), 0.2)
        sleeper = supervisor.children["sleeper"].process
    assert sleeper is not None
    assert gone(sleeper.pid)


@pytest.mark.slow
def test_an_essential_child_that_keeps_dying_ends_everything(logs: Path) -> None:
    with Supervisor(logs, Console()) as supervisor:
        supervisor.start(Command("heart", python("raise SystemExit('stopped beating')"), essential=True))
        with pytest.raises(CannotStart, match="heart ended 4 times within a minute, so Corral stopped everything"):
            supervisor.until(lambda: False, 60, "it went on")


@pytest.mark.slow
def test_another_child_that_keeps_dying_is_started_again_ever_more_slowly(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Supervisor(logs, Console()) as supervisor:
        child = supervisor.start(Command("hiccup", python("raise SystemExit('hic')")))
        supervisor.until(lambda: len(child.deaths) == 3, 60, "it lives")
    said = capsys.readouterr().out
    for wait in ("0.5", "1", "2"):
        assert f"ended with status 1 (hic); starting again in {wait} s" in said


def test_a_console_that_is_closed_stops_nothing() -> None:
    code = (
        "import os, sys; os.close(1)\n"
        "from app.laptop.supervisor import Console\n"
        "Console().say('web', 'a line that nobody reads'); sys.stderr.write('goes on'); os._exit(0)"
    )
    done = subprocess.run(python(code), cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=True)
    assert done.stderr == "goes on"


def test_the_oldest_log_goes_and_the_last_ones_stay(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    for run in range(KEPT_LOGS + 2):
        rotate(log)
        log.write_text(str(run))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "web.log": "4",
        "web.log.1": "3",
        "web.log.2": "2",
        "web.log.3": "1",
    }


def test_half_a_line_waits_for_its_end_and_last_words_need_none(logs: Path) -> None:
    child = Child(
        Command(
            "slow",
            python(
                "import sys; sys.stdout.write('hal'); sys.stdout.flush(); sys.stdin.read(); print('f'); print(6 * '.', end='')"
            ),
        ),
        logs,
    )
    child.start()
    lines: list[str] = []

    def read() -> bool:
        lines.extend(child.lines())
        return child.output < 0

    eventually(read, PATIENCE, "its end")
    assert lines == ["half", "......"]
    assert (logs / "slow.log").read_text() == "half\n......\n"
