"""Has the base model read the responses that a choice needs: in a process of its own, which ends with this one.

Whatever goes wrong there costs nobody an item: of prompts that wait too long some responses are shown, whichever.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import structlog
from sqlalchemy.orm import Session

from app.candidates import features
from app.comparisons.service import distinct_candidates
from app.kernel.db import session_scope
from app.kernel.settings import ROOT, get_settings
from app.rounds import pair_selection
from app.rounds.run_file import write_toml
from workers.selection import reading
from workers.training.process import environment

log = structlog.get_logger()

AT_ONCE = 512
"""Responses that one process reads; loading the model takes as long as some hundred."""
LIMIT = 1800.0
"""Seconds after which it is taken for dead."""
PAUSE = 600.0
"""Seconds without another try after one that failed: loading a model for nothing costs those who work."""
_paused = {"until": 0.0}


def measure() -> int:
    """Store the features of what waits and of what was judged; how many responses were read."""
    if time.monotonic() < _paused["until"]:
        return 0
    with session_scope() as session:
        base = reading.base_id(session)
        wanted = [] if base is None else _wanted(session, base)
        lines = features.texts(session, wanted)
    if base is None or not lines:
        return 0
    vectors = _read(dict(lines))
    with session_scope() as session:
        features.store(session, base, vectors)
    return len(vectors)


def _wanted(session: Session, base: int) -> list[int]:
    """Candidates without features: of judgements first, for without them there is no head; none where nobody chooses by one."""
    waiting = reading.waiting_prompts(session)
    if not waiting and not pair_selection.features_are_wanted(session):
        return []
    judged = [each for row in reading.newest_judgements(session) for each in row[-1]]
    waits = [each for prompt in waiting for each in distinct_candidates(session, prompt)]
    return features.lacking(session, list(dict.fromkeys([*judged, *waits])), base)[:AT_ONCE]


def _read(lines: dict[int, dict[str, object]]) -> dict[int, bytes]:
    """The vectors by candidate; none where the process failed, and the log says why."""
    settings = get_settings()
    with TemporaryDirectory(prefix="features-", dir=_scratch(settings.runs_dir)) as name:
        folder = Path(name)
        config = {
            "base_model": settings.base_model_path,
            "responses": str(folder / "responses.jsonl"),
            "output": str(folder / "features.npy"),
        }
        body = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines.values())
        (folder / "responses.jsonl").write_text(body, encoding="utf-8")
        write_toml(folder / "run.toml", config)
        guard = ["workers.training.guard", str(os.getpid()), sys.executable, "-m"]
        command = [sys.executable, "-m", *guard, "training.features", str(folder / "run.toml")]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment(config), capture_output=True, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            return _failed(f"not done within {LIMIT:.0f} s")
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
            return _failed(said[-1] if said else f"status {done.returncode}")
        found = np.load(folder / "features.npy", allow_pickle=False).astype("<f2")
    return {key: row.tobytes() for key, row in zip(lines, found, strict=True)}


def _failed(error: str) -> dict[int, bytes]:
    _paused["until"] = time.monotonic() + PAUSE
    log.warning("features_not_read", error=error, again_in=PAUSE)
    return {}


def _scratch(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
