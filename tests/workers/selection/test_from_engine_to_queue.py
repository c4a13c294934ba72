"""Eight are sampled, the base model reads them in a process of its own, two are shown: a fake engine over a tiny base."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.candidates import service as ledger
from app.candidates.models import Candidate, CandidateFeatures
from app.comparisons.models import ChoiceAwaited, Comparison, Drawn
from app.kernel.db import session_scope
from app.kernel.settings import Settings, get_settings
from app.prompts.models import Batch, PairSelection
from app.rounds import pair_selection
from app.upkeep.audit import audit
from tests.factories import make_annotation, make_batch, make_comparison
from tests.fake_engine import FakeEngine
from tests.generating import open_batch, serve_base, settings_for
from tests.training.conftest import tiny_base  # noqa: F401 - a fixture
from workers.selection import asking, measuring
from workers.tasks import choosing as tasks
from workers.tasks import generation

PROMPTS = 20


@pytest.fixture
def fake(tiny_base: Path) -> Iterator[FakeEngine]:  # noqa: F811
    with FakeEngine(model=tiny_base).running() as engine:
        yield engine


@pytest.fixture
def chosen_batch(settings: Settings, committed: Engine, alice: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A batch that chooses, after a few judgements of another one."""
    monkeypatch.setattr(pair_selection, "ENOUGH", 3)
    monkeypatch.setattr(measuring, "_paused", {"until": 0.0})
    with Session(committed, expire_on_commit=False) as session:
        serve_base(session, settings)
        before = make_batch(session, name="Judged before")
        for _ in range(3):
            make_annotation(session, alice, make_comparison(session, batch=before))
        batch = open_batch(session, [f"Question number {number}?" for number in range(PROMPTS)], wanted=2)
        batch.selection = PairSelection.BALD
        session.commit()
        found = batch.id
    yield found
    get_settings.cache_clear()


def drawn(batch: int) -> dict[Drawn, int]:
    with session_scope() as session:
        rows = session.execute(
            select(Comparison.drawn, func.count()).where(Comparison.batch_id == batch).group_by(Comparison.drawn)
        )
        return {how: count for how, count in rows}  # noqa: C416


def test_eight_are_sampled_and_the_two_that_teach_most_are_shown(chosen_batch: int) -> None:
    assert tasks.read_features() == 6, "of what was judged: without them there is no head"
    assert generation.generate() == PROMPTS
    at_random = drawn(chosen_batch).get(Drawn.RANDOM, 0)
    assert at_random < PROMPTS
    with session_scope() as session:
        waiting = set(session.scalars(select(ChoiceAwaited.prompt_id)))
        rows = session.execute(select(Candidate.prompt_id, func.count()).group_by(Candidate.prompt_id))
        counts = {prompt: count for prompt, count in rows}  # noqa: C416
        assert {counts[prompt] for prompt in waiting} == {8}
        assert [problem for problem in audit(session, files=False) if problem.row.startswith("prompt")] == []
    assert len(waiting) == PROMPTS - at_random
    assert tasks.choose_pairs() == 0, "nothing has been read yet"
    assert tasks.read_features() == 8 * len(waiting)
    assert tasks.choose_pairs() == len(waiting)
    assert drawn(chosen_batch) == {
        how: n for how, n in {Drawn.RANDOM: at_random, Drawn.SELECTED: len(waiting)}.items() if n
    }
    assert tasks.read_features() == 0
    with session_scope() as session:
        assert [problem for problem in audit(session, files=False) if problem.row.startswith("prompt")] == []


def test_where_the_base_model_cannot_be_read_everything_is_drawn_at_random_and_counts(
    chosen_batch: int, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        settings_for(patch, settings.engine_url, tmp_path / "gone")
        assert tasks.read_features() == 0
    get_settings.cache_clear()
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("a failing model is not loaded again at once"))
    assert tasks.read_features() == 0
    assert generation.generate() == PROMPTS
    assert drawn(chosen_batch) == {Drawn.RANDOM: PROMPTS}


def test_a_reading_that_hangs_is_given_up(chosen_batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "LIMIT", 0.01)
    assert tasks.read_features() == 0
    with session_scope() as session:
        assert session.scalar(select(func.count()).select_from(CandidateFeatures)) == 0


def test_what_waits_for_a_choice_counts_as_answered_ahead(
    chosen_batch: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_read", lambda lines: dict.fromkeys(lines, b"\0\0"))
    assert tasks.read_features() == 6
    settings_for(monkeypatch, settings.engine_url, Path(settings.base_model_path), generation_ahead=4)
    assert generation.generate() == 4
    assert generation.generate() == 0
    with session_scope() as session:
        assert not ledger.work_is_due(session)
        session.execute(text("DELETE FROM choices_awaited"))
        session.execute(text("UPDATE comparisons SET seats_free = 0"))
        assert ledger.work_is_due(session)


def test_a_batch_that_draws_at_random_samples_no_more_than_it_shows(chosen_batch: int) -> None:
    with session_scope() as session:
        session.get_one(Batch, chosen_batch).selection = PairSelection.RANDOM
    assert tasks.read_features() == 0, "nobody chooses by them"
    assert generation.generate() == PROMPTS
    with session_scope() as session:
        assert session.scalar(select(func.count()).select_from(Candidate)) == 6 + 2 * PROMPTS
