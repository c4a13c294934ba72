"""Has the base model read the responses that a choice needs: in a process of its own, which ends with this one.

Whatever goes wrong there costs nobody an item: of prompts that wait too long some responses are shown, whichever.
"""

from __future__ import annotations

import time

import numpy as np
import structlog
from sqlalchemy.orm import Session

from app.candidates import features
from app.comparisons.service import distinct_candidates
from app.kernel.db import session_scope
from app.kernel.settings import get_settings
from app.rounds import pair_selection
from workers.selection import asking, reading

log = structlog.get_logger()

AT_ONCE = 512
"""Responses that one process reads; loading the model takes as long as some hundred."""
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
    try:
        found = asking.of(
            "training.features", lines.values(), {"base_model": settings.base_model_path}, "features.npy", np.load
        )
    except asking.UnansweredError as error:
        return _failed(str(error))
    return {key: row.tobytes() for key, row in zip(lines, found.astype("<f2"), strict=True)}


def _failed(error: str) -> dict[int, bytes]:
    _paused["until"] = time.monotonic() + PAUSE
    log.warning("features_not_read", error=error, again_in=PAUSE)
    return {}
