"""The champion is a pointer: only challenging, crowning, dismissing and rolling back move it, and what breaks falls out."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.kernel.db import session_scope
from app.kernel.errors import Conflict
from app.registry import service
from app.registry.models import Appointment, Checkpoint, Deployment, LoadState, LoopRole
from app.upkeep.audit import audit
from tests.factories import current_round
from tests.registry.test_service import load_all, names, policy

BASE = "SmolLM2-135M-Instruct"


@pytest.fixture
def base(session: Session) -> Checkpoint:
    current_round(session)
    found = service.ensure_base(session, f"/models/{BASE}")
    load_all(session)
    return found


def crowned(session: Session, name: str) -> Checkpoint:
    """A policy that won its contest."""
    made = challenging(session, name)
    service.crown(session, made)
    return made


def challenging(session: Session, name: str) -> Checkpoint:
    made = policy(session, name)
    service.challenge(session, made)
    load_all(session)
    return made


def appointed(session: Session) -> dict[str, str]:
    query = select(Appointment.role, Checkpoint.name).join(Checkpoint, Checkpoint.id == Appointment.checkpoint_id)
    return {role.value: name for role, name in session.execute(query)}


def deployment_of(session: Session, checkpoint: Checkpoint) -> Deployment:
    return next(each for each in service.in_rotation(session) if each.checkpoint_id == checkpoint.id)


def sound(session: Session) -> bool:
    """Whether the audit finds nothing."""
    return audit(session, files=False) == []


def test_before_any_training_the_base_is_the_champion(session: Session) -> None:
    service.ensure_base(session, f"/models/{BASE}")
    assert appointed(session) == {"base": BASE, "champion": BASE}, "also before the engine has it"
    load_all(session)
    champion = service.appointed(session, LoopRole.CHAMPION)
    assert champion is not None
    assert champion.name == BASE
    assert service.appointed(session, LoopRole.CHALLENGER) is None


def test_a_challenger_joins_the_champion_and_takes_nothing_from_it(session: Session, base: Checkpoint) -> None:
    challenger = challenging(session, "policy-r1")
    assert appointed(session) == {"base": BASE, "champion": BASE, "challenger": "policy-r1"}
    assert names(session) == {BASE, "policy-r1"}
    assert deployment_of(session, challenger).share == 0.8
    assert service.challenge(session, challenger).id == deployment_of(session, challenger).id, "twice is once"
    assert sound(session)


@pytest.mark.parametrize("loaded", [True, False])
def test_a_challenger_that_an_admin_had_added_makes_the_room_that_any_other_makes(
    session: Session,
    base: Checkpoint,
    loaded: bool,  # noqa: FBT001 - parametrised
) -> None:
    challenger, other = policy(session, "policy-r1"), policy(session, "policy-r0")
    for each in (challenger, other):
        service.deploy(session, each)
    if loaded:
        load_all(session)
    service.challenge(session, challenger)
    load_all(session)
    assert names(session) == {BASE, "policy-r1"}
    assert deployment_of(session, challenger).share == 0.8


def test_a_verdict_crowns_the_challenger_and_the_champion_becomes_the_previous_one(
    session: Session, base: Checkpoint
) -> None:
    first = crowned(session, "policy-r1")
    assert appointed(session) == {"base": BASE, "champion": "policy-r1", "previous": BASE}
    crowned(session, "policy-r2")
    assert appointed(session) == {"base": BASE, "champion": "policy-r2", "previous": "policy-r1"}
    assert names(session) == {BASE, "policy-r1", "policy-r2"}
    third = crowned(session, "policy-r3")
    assert appointed(session) == {"base": BASE, "champion": "policy-r3", "previous": "policy-r2"}
    assert names(session) == {BASE, "policy-r2", "policy-r3"}, f"{first.name} has no role any more"
    service.crown(session, third)
    assert appointed(session)["previous"] == "policy-r2", "crowned twice it is the same"
    assert deployment_of(session, third).share == 1.0, "as previous champion it weighs as much as any other"
    assert sound(session)


def test_a_refused_challenger_leaves_and_the_champion_serves_on(session: Session, base: Checkpoint) -> None:
    crowned(session, "policy-r1")
    refused = challenging(session, "policy-r2")
    service.dismiss(session, refused)
    service.dismiss(session, refused)
    assert appointed(session) == {"base": BASE, "champion": "policy-r1", "previous": BASE}
    assert names(session) == {BASE, "policy-r1"}
    challenging(session, "policy-r3")
    assert names(session) == {BASE, "policy-r1", "policy-r3"}


def test_one_that_was_refused_can_be_crowned_by_an_override(session: Session, base: Checkpoint) -> None:
    refused = challenging(session, "policy-r1")
    service.dismiss(session, refused)
    service.crown(session, refused)
    assert appointed(session) == {"base": BASE, "champion": "policy-r1", "previous": BASE}
    assert names(session) == {BASE, "policy-r1"}, "it comes back into the rotation"
    assert service.serving(session).champion == base.id, "who was before answers until the engine has it"
    load_all(session)
    assert service.serving(session).champion == refused.id


def test_nothing_that_is_deployed_or_loaded_moves_the_champion(session: Session, base: Checkpoint) -> None:
    by_hand = policy(session, "policy-r9")
    service.deploy(session, by_hand)
    load_all(session)
    assert appointed(session) == {"base": BASE, "champion": BASE}
    service.ensure_base(session, f"/models/{BASE}")
    assert appointed(session) == {"base": BASE, "champion": BASE}
    service.end_deployment(session, deployment_of(session, by_hand))
    assert appointed(session) == {"base": BASE, "champion": BASE}


def test_since_is_when_it_was_appointed_and_stays(session: Session, base: Checkpoint) -> None:
    crowned(session, "policy-r1")
    champion = session.scalars(select(Appointment).where(Appointment.role == LoopRole.CHAMPION)).one()
    champion.since = since = champion.since.replace(year=2020)
    session.flush()
    service.ensure_base(session, f"/models/{BASE}")
    session.expire(champion)
    assert champion.since == since
    crowned(session, "policy-r2")
    session.expire(champion)
    assert champion.since > since


def test_a_restart_of_the_engine_moves_nobody(session: Session, base: Checkpoint) -> None:
    first, second = crowned(session, "policy-r1"), crowned(session, "policy-r2")
    for each in service.in_rotation(session):
        service.mark_waiting(session, each.id)
    session.expire_all()
    assert service.serving(session).champion is None, "nobody answers"
    service.mark_loaded(session, deployment_of(session, first).id)
    assert service.serving(session).champion == first.id, "the previous one answers meanwhile"
    service.mark_loaded(session, deployment_of(session, second).id)
    assert service.serving(session).champion == second.id
    assert appointed(session) == {"base": BASE, "champion": "policy-r2", "previous": "policy-r1"}


def test_a_roll_back_makes_the_previous_one_champion_again_once(session: Session, base: Checkpoint) -> None:
    first = crowned(session, "policy-r1")
    crowned(session, "policy-r2")
    assert service.roll_back(session) is first
    assert appointed(session) == {"base": BASE, "champion": "policy-r1"}
    assert names(session) == {BASE, "policy-r1"}
    assert service.roll_back(session) is None, "who was before that is not known"
    assert appointed(session) == {"base": BASE, "champion": "policy-r1"}
    assert sound(session)


def test_a_roll_back_brings_one_back_that_had_left_the_rotation(session: Session, base: Checkpoint) -> None:
    first = crowned(session, "policy-r1")
    crowned(session, "policy-r2")
    service.end_deployment(session, deployment_of(session, first))
    assert appointed(session) == {"base": BASE, "champion": "policy-r2", "previous": "policy-r1"}, "it is remembered"
    service.roll_back(session)
    assert names(session) == {BASE, "policy-r1"}


def test_a_roll_back_during_a_contest_leaves_the_challenger(session: Session, base: Checkpoint) -> None:
    crowned(session, "policy-r1")
    challenging(session, "policy-r2")
    service.roll_back(session)
    assert appointed(session) == {"base": BASE, "champion": BASE, "challenger": "policy-r2"}


def test_a_champion_that_breaks_falls_back_to_the_previous_one_and_then_to_the_base(
    session: Session, base: Checkpoint
) -> None:
    first, second = crowned(session, "policy-r1"), crowned(session, "policy-r2")
    service.end_deployment(session, deployment_of(session, first))
    service.mark_broken(session, second.id, "a file changed")
    session.expire_all()
    assert appointed(session) == {"base": BASE, "champion": "policy-r1"}
    assert "policy-r1" in names(session), "it had left the rotation"
    assert sound(session)
    service.mark_broken(session, first.id, "a file changed")
    assert appointed(session) == {"base": BASE, "champion": BASE}
    assert sound(session)


def test_a_challenger_and_a_previous_champion_that_break_lose_their_roles(session: Session, base: Checkpoint) -> None:
    first = crowned(session, "policy-r1")
    crowned(session, "policy-r2")
    third = challenging(session, "policy-r3")
    for broken in (first, third):
        service.mark_broken(session, broken.id, "a file changed")
    assert appointed(session) == {"base": BASE, "champion": "policy-r2"}
    assert sound(session)


def test_another_base_ends_every_role_of_the_old_one(session: Session, base: Checkpoint) -> None:
    crowned(session, "policy-r1")
    challenging(session, "policy-r2")
    service.ensure_base(session, "/models/Other-1B")
    session.expire_all()
    assert appointed(session) == {"base": "Other-1B", "champion": "Other-1B"}
    assert {each.load_state for each in service.in_rotation(session)} == {LoadState.PENDING}


def test_there_is_one_contest_at_a_time(session: Session, base: Checkpoint) -> None:
    challenger = challenging(session, "policy-r1")
    other = policy(session, "policy-r2")
    for act in (service.challenge, service.crown):
        with pytest.raises(Conflict, match=r"policy-r1 is in contest with the champion\. Wait for the verdict"):
            act(session, other)
    service.crown(session, challenger)
    with pytest.raises(Conflict, match="policy-r1 is the champion already"):
        service.challenge(session, challenger)


def test_in_a_contest_neither_champion_nor_challenger_is_taken_out_by_hand(session: Session, base: Checkpoint) -> None:
    champion, challenger = crowned(session, "policy-r1"), challenging(session, "policy-r2")
    with pytest.raises(Conflict, match=r"champion of an open contest\. Withdraw the contest first"):
        service.end_deployment(session, deployment_of(session, champion))
    with pytest.raises(Conflict, match="Withdraw the contest: that removes it"):
        service.end_deployment(session, deployment_of(session, challenger))
    assert service.end_deployment(session, deployment_of(session, base)) is None, "of two samplings one may go"
    service.end_deployment(session, deployment_of(session, base))
    assert names(session) == {"policy-r1", "policy-r2"}, "an anchor may go"


def test_who_takes_the_champion_out_is_told_who_follows_it(session: Session, base: Checkpoint) -> None:
    first, second = crowned(session, "policy-r1"), crowned(session, "policy-r2")
    assert service.end_deployment(session, deployment_of(session, second)) is first
    assert appointed(session) == {"base": BASE, "champion": "policy-r1"}
    assert service.end_deployment(session, deployment_of(session, first)) is base, "the base is always the last"
    assert appointed(session) == {"base": BASE, "champion": BASE}


def test_a_base_that_is_champion_cannot_be_taken_out_although_others_are_loaded(
    session: Session, base: Checkpoint
) -> None:
    service.deploy(session, policy(session, "policy-r1"))
    load_all(session)
    service.end_deployment(session, deployment_of(session, base))
    with pytest.raises(Conflict, match="no other policy can replace it"):
        service.end_deployment(session, deployment_of(session, base))


@pytest.mark.parametrize("role", [LoopRole.CHAMPION, LoopRole.CHALLENGER])
def test_the_audit_finds_one_in_charge_that_does_not_serve_and_the_next_start_mends_it(
    session: Session, base: Checkpoint, role: LoopRole
) -> None:
    made = policy(session, "policy-r0")
    session.merge(Appointment(loop_id=1, role=role, checkpoint_id=made.id))
    session.flush()
    assert [(each.row, each.what) for each in audit(session, files=False)] == [
        ("loop 1", f"has policy-r0 as its {role.value}, which is ready and has 0 deployments in rotation")
    ]
    service.ensure_base(session, f"/models/{BASE}")
    session.expire_all()
    assert sound(session)
    assert appointed(session)[role.value] == "policy-r0", "who is appointed is put into the rotation"


@pytest.mark.parametrize("role", [LoopRole.PREVIOUS, LoopRole.CHALLENGER])
def test_the_audit_finds_a_champion_that_is_its_own_rival_and_the_next_start_mends_it(
    session: Session, base: Checkpoint, role: LoopRole
) -> None:
    session.merge(Appointment(loop_id=1, role=role, checkpoint_id=base.id))
    session.flush()
    assert [each.what for each in audit(session, files=False)] == [
        f"has {BASE} both as its champion and as its {role.value}"
    ]
    service.ensure_base(session, f"/models/{BASE}")
    session.expire_all()
    assert sound(session)


def test_of_two_challenges_at_once_one_is_refused(committed: Engine) -> None:
    with session_scope() as session:
        current_round(session)
        service.ensure_base(session, f"/models/{BASE}")
        wanted = [policy(session, name).id for name in ("policy-r1", "policy-r2")]
    together, outcomes = threading.Barrier(2), []

    def challenge(checkpoint_id: int) -> None:
        with session_scope() as session:
            checkpoint = session.get_one(Checkpoint, checkpoint_id)
            together.wait(10)
            try:
                service.challenge(session, checkpoint)
                outcomes.append("appointed")
            except Conflict:
                outcomes.append("refused")

    threads = [threading.Thread(target=challenge, args=(each,)) for each in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["appointed", "refused"]
    with session_scope() as session:
        assert sound(session)
        assert len(names(session)) == 2, "the base and one challenger"
