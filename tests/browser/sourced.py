"""Sources for training: one that a run has learnt from, one that weighs nothing, and one that is withdrawn."""

from __future__ import annotations

import json

from sqlalchemy.orm import Session

from app.accounts.models import User
from app.prompts.intake import SentFile
from app.rounds import learnt
from app.rounds.models import TrainingRun
from app.sources import service
from app.sources.forms import SourceIn
from app.sources.models import Source
from app.sources.storing import stored

NAMES = ("HelpSteer 3", "偏好数据 بيانات", "Answers_of_the_helpdesk_from_last_autumn, second half")
ROW = {
    "prompt": "为什么天空是蓝色的? لماذا السماء زرقاء؟",
    "chosen": "Air scatters blue light most:\n\n```python\nintensity = wavelength ** -4\n```",
    "rejected": "It reflects the sea.",
}
TIE = {"prompt": "Who?", "responses": [{"text": "a", "rank": 1}, {"text": "b", "rank": 1}]}


def make_sources(session: Session, bob: User, run: TrainingRun) -> dict[str, int]:
    """All three, by the names of pages."""
    made = [_source(session, bob, name) for name in NAMES]
    service.weigh(session, bob, made[0], 0.25)
    learnt.note(session, run, [learnt.Learnt(each, each.weight) for each in made[:1]])
    service.withdraw(session, bob, made[2])
    return {"source": made[0].id}


def _source(session: Session, bob: User, name: str) -> Source:
    about = {"name": name, "kind": "preferences", "origin": "human", "licence": "CC BY 4.0", "leave_out_refused": True}
    content = "".join(json.dumps(row) + "\n" for row in (ROW, TIE)).encode()
    wanted = SourceIn.model_validate(about)
    with stored(SentFile("preference.jsonl", content), wanted) as found:
        return service.add(session, bob, wanted, found)
