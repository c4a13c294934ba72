from __future__ import annotations

from datetime import datetime

import pytest
from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.kernel.jobs import QUEUES, Job
from app.kernel.settings import Settings
from workers import celery_app, stopping
from workers.celery_app import beat_schedule, make_app
from workers.tasks import sweeper


def test_every_job_has_a_body() -> None:
    celery_app.app.loader.import_default_modules()
    assert {job.value for job in Job} <= set(celery_app.app.tasks)


def test_every_job_has_a_queue_and_every_scheduled_one_goes_there() -> None:
    assert set(QUEUES) == set(Job)
    for entry in beat_schedule(Settings()).values():
        assert entry["options"]["queue"] == QUEUES[Job(entry["task"])].value
        assert entry["options"]["expires"] > 0


def test_messages_are_json_acknowledged_late_and_fetched_one_at_a_time() -> None:
    conf = make_app(Settings(broker_url="redis://127.0.0.1:1/0")).conf
    assert (conf.accept_content, conf.task_serializer, conf.task_acks_late) == (["json"], "json", True)
    assert conf.worker_prefetch_multiplier == 1
    assert conf.broker_transport_options["visibility_timeout"] >= 24 * 3600


def test_the_night_is_local_and_can_be_turned_off() -> None:
    nightly = beat_schedule(Settings(nightly_at="02:30"))["nightly"]["schedule"]
    assert (nightly.hour, nightly.minute) == ({2}, {30})
    assert nightly.nowfun().tzinfo == datetime.now().astimezone().tzinfo
    assert "nightly" not in beat_schedule(Settings(nightly_at=""))


@pytest.mark.parametrize("at", ["0230", "25:00", "2:5", "02:30:00", "soon"])
def test_what_is_no_time_of_day_is_refused_where_it_is_set(at: str) -> None:
    with pytest.raises(ValidationError, match=r"nightly_at.*\n.*HH:MM"):
        Settings(nightly_at=at)


@pytest.mark.parametrize("port", [0, 70_000])
def test_a_port_is_one(port: int) -> None:
    with pytest.raises(ValidationError, match="port"):
        Settings(port=port)


def test_a_sweep_that_fails_leaves_the_others_done(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Session] = []

    def broken(_: Session) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sweeper, "SWEEPS", (broken, done.append))
    sweeper.sweep()
    assert len(done) == 1


def test_stopping_is_asked_for_once_and_remembered() -> None:
    assert not stopping.requested()
    stopping.request()
    assert stopping.requested()
    stopping.clear()
    assert not stopping.requested()
