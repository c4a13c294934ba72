"""The languages of prompts that nobody said: detected after the import, beside the checks, which have the model of languages.

The text is looked at in the process that makes checks, so that its memory is not needed twice and no text can hold the worker
up. A prompt that was looked at says so; what is lost on the way is looked at again.
"""

from __future__ import annotations

from importlib.util import find_spec

import structlog

from app.comparisons.service import follow_detection
from app.kernel.db import session_scope
from app.kernel.jobs import Job, ring
from app.prompts import detection
from app.prompts.detection import Detected, Waiting
from workers.celery_app import app
from workers.tasks.checks import checker
from workers.verifiers.checker import Checker, CheckerBroken
from workers.verifiers.protocol import Case

log = structlog.get_logger()

_TEST = {"kind": "language", "wanted": "en"}
"""Any language will do: the finding says which one was found."""


@app.task(name=Job.DETECT_LANGUAGES.value)
def detect_languages() -> int:
    """Look at a page of prompts; returns how many. Where more wait, it rings for itself, so that checks come in between."""
    if find_spec("py3langid") is None:
        return 0
    with session_scope() as session:
        waiting = detection.waiting(session)
    try:
        found = [Detected(each.id, _language(each, checker())) for each in waiting]
    except CheckerBroken as error:
        log.warning("languages_not_detected", error=str(error))
        return 0
    with session_scope() as session:
        follow_detection(session, detection.record(session, found))
    if len(waiting) == detection.PAGE:
        ring(Job.DETECT_LANGUAGES)
    return len(found)


def _language(prompt: Waiting, checker: Checker) -> str | None:
    """The language of what the user said last, or of all that the user said where that is too short to tell."""
    texts = prompt.texts
    return next(filter(None, (_told(text, checker) for text in (texts[0], "\n".join(texts)))), None)


def _told(text: str, checker: Checker) -> str | None:
    case = Case(prompt=[{"role": "user", "content": text}], response=text, tests=[_TEST])
    shares: dict[str, float] = checker.check(case, ["language"])[0].evidence.get("found", {})
    return max(shares, key=shares.__getitem__, default=None)
