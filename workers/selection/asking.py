"""Asks ``training`` what models make of responses: a process of its own, files in and files out, which ends with this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from app.kernel.settings import ROOT, get_settings
from app.rounds.run_file import write_toml
from workers.training.process import environment

LIMIT = 1800.0
"""Seconds after which it is taken for dead."""

Answer = TypeVar("Answer")


class UnansweredError(Exception):
    """The process failed, or did not end; the message is its last line."""


def of(
    module: str,
    lines: Iterable[Mapping[str, object]],
    config: Mapping[str, Any],
    output: str,
    read: Callable[[Path], Answer],
) -> Answer:
    """What ``module`` answers of responses.

    Args:
        module: One of ``training`` that reads ``responses`` and writes ``output``.
        lines: The responses, as ``training/data/responses.py`` reads them.
        config: The rest of its run file; ``base_model`` is among it.
        output: The name of the file that it writes.
        read: Reads that file.

    Raises:
        UnansweredError: it failed, or did not end.
    """
    with TemporaryDirectory(prefix="asked-", dir=_scratch(get_settings().runs_dir)) as name:
        folder = Path(name)
        told = {**config, "responses": str(folder / "responses.jsonl"), "output": str(folder / output)}
        body = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / "responses.jsonl").write_text(body, encoding="utf-8")
        write_toml(folder / "run.toml", told)
        guard = ["workers.training.guard", str(os.getpid()), sys.executable, "-m"]
        command = [sys.executable, "-m", *guard, module, str(folder / "run.toml")]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment(dict(told)), capture_output=True, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            raise UnansweredError(f"not done within {LIMIT:.0f} s") from None
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
            raise UnansweredError(said[-1] if said else f"status {done.returncode}")
        return read(folder / output)


def _scratch(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
