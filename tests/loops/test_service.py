"""The one loop: made at the first start."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.loops import service
from app.loops.models import FIRST_LOOP, Loop, Round
from app.site.first_start import ensure


def test_the_first_start_makes_the_loop_that_its_round_is_of(session: Session) -> None:
    session.execute(delete(Loop))
    ensure(session)
    loop = session.scalars(select(Loop)).one()
    assert (loop.id, loop.name) == (FIRST_LOOP, service.FIRST_NAME)
    assert session.scalars(select(Round.loop_id)).all() == [FIRST_LOOP]


def test_the_next_start_keeps_the_name(session: Session) -> None:
    service.ensure_first_loop(session).name = "Poems"
    session.flush()
    assert service.ensure_first_loop(session).name == "Poems"


def test_a_round_of_no_loop_is_refused(session: Session) -> None:
    with pytest.raises(IntegrityError, match="fk_rounds_loop_id_loops"), session.begin_nested():
        session.execute(text("INSERT INTO rounds (number, state, loop_id) VALUES (9, 'collecting', 99)"))
