"""Rounds and runs in the browser and over the API: what they say, and who may start and stop."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.kernel.jobs import Job
from app.kernel.settings import get_settings
from app.loops.models import Round
from app.loops.service import ensure_first_round
from app.registry.models import Checkpoint
from app.rounds import service
from app.rounds.models import RunKind, RunState, TrainingEvent, TrainingRun
from tests.factories import make_deployment, make_user, sign_in
from tests.rounds.conftest import annotate
from training.formats import mix
from training.formats.mix import Portion

Messages = list[tuple[Job, int]]
Said = tuple[str, int | None, dict[str, object]]


@pytest.fixture
def bob(session: Session, client: TestClient) -> User:
    """Bob, signed in."""
    bob = make_user(session, Role.ADMIN, "Bob")
    sign_in(client, bob)
    return bob


@pytest.fixture
def annotated(session: Session) -> None:
    annotate(make_user(session, name="Alice"), 9, held_out=1)


@pytest.fixture
def run(session: Session, client: TestClient, bob: User, annotated: None, messages: Messages) -> TrainingRun:
    """The reward run of a training that Bob has started."""
    client.post("/rounds/train")
    return session.scalars(select(TrainingRun).where(TrainingRun.kind == RunKind.REWARD)).one()


def say(session: Session, run: TrainingRun, *said: Said) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for seq, (event, step, values) in enumerate(said):
        at = start + timedelta(seconds=10 * seq)
        session.add(TrainingEvent(run_id=run.id, seq=seq, event=event, step=step, values=values, at=at))
    session.commit()


def step(number: int, loss: float) -> Said:
    return ("step", number, {"total_steps": 40, "metrics": {"loss": loss, "rewards/accuracies": 0.5}})


def test_bob_trains_with_one_button_and_lands_on_the_run(
    session: Session, client: TestClient, bob: User, annotated: None, messages: Messages
) -> None:
    page = client.get("/rounds").text
    assert "a reward model on up to 9 pairs and then a policy on up to 9." in page
    assert re.search(r"It takes about \d+ minutes?, up to the end of the check\.", page)
    assert client.get("/api/v1/rounds").json()["minutes"] >= 1
    answer = client.post("/rounds/train")
    run = session.scalars(select(TrainingRun).order_by(TrainingRun.id)).first()
    assert run is not None
    assert answer.headers["location"] == f"/runs/{run.id}"
    assert "Waiting for its snapshot" in client.get(f"/runs/{run.id}").text
    assert "The policies in rotation stay unchanged" in client.get("/rounds").text


def test_the_page_says_what_is_missing_and_disables_the_button(
    session: Session, client: TestClient, bob: User, messages: Messages
) -> None:
    ensure_first_round(session)
    session.commit()
    page = client.get("/rounds").text
    assert "There are no annotations yet" in page
    assert "50 more are needed" in page
    assert 'button--large" disabled' in page
    assert client.post("/rounds/train").status_code == 409


def test_rita_sees_everything_and_starts_nothing(
    session: Session, client: TestClient, run: TrainingRun, messages: Messages
) -> None:
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    assert "An admin can start it" not in client.get("/rounds").text  # it is training
    assert "Cancel run" not in client.get(f"/runs/{run.id}").text
    for path in ("/rounds/train", f"/runs/{run.id}/cancel", f"/runs/{run.id}/retry"):
        assert client.post(path).status_code == 403
    assert client.post("/api/v1/training-runs").status_code == 403


@pytest.mark.parametrize("path", ["/rounds", "/rounds/1", "/runs/1", "/runs/1/live", "/runs/1/events.json"])
def test_charlie_who_annotates_is_refused(session: Session, client: TestClient, path: str) -> None:
    sign_in(client, make_user(session, Role.ANNOTATOR, "Charlie"))
    assert client.get(path).status_code == 403


def test_a_running_run_says_step_and_time_left_and_shows_the_baseline_beside_the_result(
    session: Session, client: TestClient, run: TrainingRun
) -> None:
    run.state, run.step, run.total_steps = RunState.RUNNING, 4, 40
    run.baseline = {"held_out/accuracy": 0.4, "held_out/pairs": 15.0}
    run.metrics = {
        "held_out/accuracy": 0.8,
        "held_out/pairs": 15.0,
        "held_out/accuracy/strength_4": 1.0,
        "held_out/pairs/strength_4": 3.0,
    }
    say(session, run, ("data", None, {"pairs": 9}), *(step(number, 1 / number) for number in range(1, 5)))
    page = client.get(f"/runs/{run.id}").text
    assert "step 4 of 40, about 6 min left" in page
    assert "12 of 15" in page
    assert "6 of 15" in page
    assert "3 of 3" in page
    assert "15 pairs, split by prompt" in page
    assert "pairs trained on" in page


@pytest.mark.parametrize(
    ("recipe", "words", "trainer"), [("laptop", "Corral", "corral"), ("trl", "TRL (RewardTrainer)", "trl")]
)
def test_a_round_and_a_run_say_who_trains(
    session: Session,
    client: TestClient,
    bob: User,
    annotated: None,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
    words: str,
    trainer: str,
) -> None:
    settings = get_settings().model_copy(update={"training_recipe": recipe})
    monkeypatch.setattr(service, "get_settings", lambda: settings)
    client.post("/rounds/train")
    run = session.scalars(select(TrainingRun).where(TrainingRun.kind == RunKind.REWARD)).one()
    assert f"<dt>Trainer</dt><dd>{words}</dd>" in client.get(f"/runs/{run.id}").text
    assert f"trainer: {words}" in client.get("/rounds/1").text
    assert client.get(f"/api/v1/training-runs/{run.id}").json()["trainer"] == trainer
    assert {each["trainer"] for each in client.get("/api/v1/training-runs").json()["training_runs"]} == {trainer}


def test_a_run_of_before_there_were_two_trainers_was_corrals(
    session: Session, client: TestClient, run: TrainingRun
) -> None:
    run.config = {name: value for name, value in run.config.items() if name != "trained_by"}
    session.commit()
    assert "<dt>Trainer</dt><dd>Corral</dd>" in client.get(f"/runs/{run.id}").text
    assert "trainer: Corral" in client.get("/rounds/1").text
    assert client.get(f"/api/v1/training-runs/{run.id}").json()["trainer"] == "corral"


@pytest.mark.parametrize(
    ("stored", "words", "trainer"),
    [
        ({"trained_by": "TRL (DPOTrainer)"}, "TRL (DPOTrainer)", "trl"),
        ({"trained_by": "Corral"}, "Corral", "corral"),
        ({}, "Corral", "corral"),
    ],
)
def test_a_checkpoint_says_whose_trainer_made_it_and_the_base_says_nobodys(
    session: Session, client: TestClient, run: TrainingRun, stored: dict[str, str], words: str, trainer: str
) -> None:
    trained = session.get_one(Checkpoint, make_deployment(session, "zebra-policy").checkpoint_id)
    run.config = {name: value for name, value in run.config.items() if name != "trained_by"} | stored
    run.state, run.checkpoint = RunState.SUCCEEDED, trained
    base = session.get_one(Checkpoint, make_deployment(session).checkpoint_id)
    session.commit()
    listed = {each["id"]: each["trainer"] for each in client.get("/api/v1/checkpoints").json()["checkpoints"]}
    assert (listed[trained.id], listed[base.id]) == (trainer, None)
    assert client.get(f"/api/v1/checkpoints/{trained.id}").json()["trainer"] == trainer
    assert client.get(f"/api/v1/checkpoints/{base.id}").json()["trainer"] is None
    assert f"<dt>Trainer</dt><dd>{words}</dd>" in client.get(f"/checkpoints/{trained.id}").text
    assert "<dt>Trainer</dt>" not in client.get(f"/checkpoints/{base.id}").text


def test_an_ended_run_polls_no_more(session: Session, client: TestClient, run: TrainingRun) -> None:
    assert "hx-trigger" in client.get(f"/runs/{run.id}/live").text
    client.post(f"/runs/{run.id}/cancel")
    fragment = client.get(f"/runs/{run.id}/live").text
    assert "hx-trigger" not in fragment
    assert "Cancelled" in fragment
    assert "Retry" in fragment


def test_a_failed_run_shows_why_its_last_lines_and_what_to_do(
    session: Session, client: TestClient, run: TrainingRun
) -> None:
    run.state, run.error = RunState.FAILED, "loss is nan at step 4"
    run.remedy, run.log_tail = "Choose a lower learning rate.", "line 1\n<script>alert(1)</script>"
    session.commit()
    page = client.get(f"/runs/{run.id}").text
    assert "loss is nan at step 4" in page
    assert "Choose a lower learning rate." in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_plots_are_fed_with_what_is_new_and_a_repeated_step_counts_once(
    session: Session, client: TestClient, run: TrainingRun
) -> None:
    run.baseline = {"held_out/accuracy": 0.4}
    evaluation: Said = ("evaluation", 2, {"metrics": {"held_out/accuracy": 0.6, "held_out/reward_margin": 0.1}})
    say(session, run, step(1, 0.9), step(2, 0.8), evaluation, ("resumed", 1, {}), step(2, 0.7), step(3, 0.6))
    news = client.get(f"/runs/{run.id}/events.json").json()
    assert [(point["step"], point["loss"]) for point in news["points"]] == [(1, 0.9), (2, 0.7), (3, 0.6)]
    assert news["points"][1]["held_out/accuracy"] == 0.6
    assert (news["baseline"], news["last"], news["done"]) == (0.4, 5, False)
    later = client.get(f"/runs/{run.id}/events.json", params={"after": 4}).json()
    assert [point["step"] for point in later["points"]] == [3]


def test_what_is_measured_at_the_end_belongs_to_the_last_step(
    session: Session, client: TestClient, run: TrainingRun
) -> None:
    run.step = 2
    say(session, run, step(1, 0.9), step(2, 0.8), ("final", None, {"metrics": {"held_out/accuracy": 0.75}}))
    later = client.get(f"/runs/{run.id}/events.json", params={"after": 1}).json()
    assert later["points"] == [{"step": 2, "held_out/accuracy": 0.75}]


def test_held_out_accuracy_by_strength_is_a_curve_that_starts_at_the_untrained_model(
    session: Session, client: TestClient, run: TrainingRun
) -> None:
    strong, weak = "held_out/accuracy/strength_4", "held_out/accuracy/strength_1"
    say(
        session,
        run,
        ("baseline", None, {"metrics": {strong: 0.5, weak: 0.25}}),
        step(1, 0.9),
        ("evaluation", 1, {"metrics": {strong: 0.875, weak: 0.375}}),
    )
    points = client.get(f"/runs/{run.id}/events.json").json()["points"]
    assert [(point["step"], point[strong], point[weak]) for point in points] == [(0, 0.5, 0.25), (1, 0.875, 0.375)]
    page = client.get(f"/runs/{run.id}").text
    assert 'data-plot="strengths"' in page
    assert page.index("Held-out, significantly better") < page.index("Held-out, marginally better")
    assert page.index("0.8750") < page.index("0.3750")


def test_the_curves_are_a_table_without_scripts(session: Session, client: TestClient, run: TrainingRun) -> None:
    say(session, run, step(1, 0.9), step(2, 0.8))
    page = client.get(f"/runs/{run.id}").text
    assert "0.9000" in page
    assert "0.8000" in page


def test_the_api_starts_once_for_one_key_lists_and_cancels(
    session: Session, client: TestClient, bob: User, annotated: None, messages: Messages
) -> None:
    headers = {"idempotency-key": "tonight"}
    first, second = (client.post("/api/v1/training-runs", headers=headers) for _ in range(2))
    assert (first.status_code, first.json()) == (202, second.json())
    reward, policy = first.json()["training_runs"]
    assert (reward["kind"], policy["kind"], policy["after_run_id"]) == ("reward", "dpo", reward["id"])
    assert client.post("/api/v1/training-runs").status_code == 409
    listed = client.get("/api/v1/training-runs", params={"limit": 1}).json()
    assert [run["id"] for run in listed["training_runs"]] == [policy["id"]]
    older = client.get("/api/v1/training-runs", params={"before": listed["next"]}).json()
    assert [run["id"] for run in older["training_runs"]] == [reward["id"]]
    assert client.get("/api/v1/rounds").json()["rounds"][0]["state"] == "training"
    cancelled = client.post(f"/api/v1/training-runs/{reward['id']}/cancel").json()
    assert cancelled["state"] == "cancelled"
    assert client.get(f"/api/v1/training-runs/{policy['id']}").json()["state"] == "cancelled"
    assert client.get("/api/v1/rounds").json()["blocked"] is None


def test_the_api_retries_what_was_cancelled_and_says_what_a_run_said(
    session: Session, client: TestClient, bob: User, annotated: None, messages: Messages
) -> None:
    reward, policy = client.post("/api/v1/training-runs").json()["training_runs"]
    url = f"/api/v1/training-runs/{reward['id']}"
    client.post(f"{url}/cancel")
    assert client.post(f"{url}/retry").json()["state"] == "queued"
    assert client.get(f"/api/v1/training-runs/{policy['id']}").json()["state"] == "queued", "it waits again"
    assert client.post(f"{url}/retry").status_code == 409

    say(session, session.get_one(TrainingRun, reward["id"]), step(1, 0.9), step(2, 0.8))
    said = client.get(f"{url}/events").json()
    assert [(each["event"], each["step"]) for each in said["events"]] == [("step", 1), ("step", 2)]
    assert client.get(f"{url}/events", params={"after": 0}).json() == said | {"events": said["events"][1:]}
    assert client.get(f"{url}/mix").json() == {"rows": 0, "portions": []}


def test_a_round_and_a_run_that_do_not_exist_are_not_found(client: TestClient, bob: User) -> None:
    assert client.get("/rounds/99").status_code == 404
    assert client.get("/runs/99").status_code == 404
    assert client.get("/api/v1/training-runs/99").status_code == 404


def test_every_run_of_a_chain_with_samples_has_its_pages(
    session: Session,
    client: TestClient,
    bob: User,
    annotated: None,
    messages: Messages,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = get_settings().model_copy(update={"training_samples": 4})
    monkeypatch.setattr("app.rounds.service.get_settings", lambda: settings)
    client.post("/rounds/train")
    runs = session.scalars(select(TrainingRun).order_by(TrainingRun.id)).all()
    assert [run.kind for run in runs] == [RunKind.REWARD, RunKind.SFT, RunKind.DPO]
    for run in runs:
        assert client.get(f"/runs/{run.id}").status_code == 200
    snapshot = client.get(f"/snapshots/{runs[0].snapshot_id}")
    assert snapshot.status_code == 200
    assert f"Imitation, run {runs[1].id}" in snapshot.text


CHOSE: Said = (
    "chosen",
    None,
    {
        "counts": {"prompts": 40, "samples": 400, "solved": 21, "unsolved": 1, "rows/rejection_sampling": 9},
        "dropped": {"failed/maths": 150, "unchecked/code": 3, "truncated": 7, "empty": 0},
        "checks": {
            "unavailable": None,
            "verifiers": {
                "code": {"passed": 5, "failed": 0, "unchecked": 4},
                "maths": {"passed": 91, "failed": 150, "unchecked": 0},
            },
        },
    },
)


@pytest.fixture
def imitating(session: Session, run: TrainingRun) -> TrainingRun:
    """The run of the same round that samples, chooses and imitates."""
    found = TrainingRun(
        round_id=run.round_id, kind=RunKind.SFT, snapshot_id=run.snapshot_id, config=run.config, created_by_id=None
    )
    session.add(found)
    session.commit()
    return found


def words_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_run_and_round_say_what_checks_found_and_what_was_left_out(
    session: Session, client: TestClient, imitating: TrainingRun
) -> None:
    number = session.get_one(Round, imitating.round_id).number
    pages = [f"/runs/{imitating.id}", f"/rounds/{number}", f"/snapshots/{imitating.snapshot_id}"]
    assert not any("Sampled answers" in client.get(page).text for page in pages)
    say(session, imitating, CHOSE)
    for page in pages:
        words = words_of(client.get(page).text)
        assert "maths 91 150 0" in words
        assert "code 5 0 4" in words
        assert "21 prompts with a right answer, 1 with wrong ones only" in words
        assert "failed the check maths 150 cut off 7 code could not check them, and another answer passed 3" in words
        assert "empty 0" not in words


def test_a_run_without_checks_says_that_wrong_answers_stayed_in(
    session: Session, client: TestClient, imitating: TrainingRun
) -> None:
    event, at, values = CHOSE
    say(
        session,
        imitating,
        (event, at, values | {"checks": {"unavailable": "“verify” cannot be started", "verifiers": {}}}),
    )
    words = words_of(client.get(f"/runs/{imitating.id}").text)
    assert "No answer was checked: “verify” cannot be started. Wrong answers were not left out." in words


def test_run_and_round_say_what_was_trained_on_and_what_a_recipe_misses(
    session: Session, client: TestClient, imitating: TrainingRun
) -> None:
    number = session.get_one(Round, imitating.round_id).number
    portions = [
        Portion("maths", "english", "rejection_sampling", 3, 75),
        Portion("advice", "english", "human_edit", 2, 25),
    ]
    report = mix.report(portions, {"capability:advice": 0.5})
    assert client.get(f"/runs/{imitating.id}/mix.json").json() == {"rows": 0, "portions": []}
    say(session, imitating, ("mix", None, report))
    snapshot = f"/snapshots/{imitating.snapshot_id}"
    for page in (f"/runs/{imitating.id}", f"/rounds/{number}", snapshot):
        words = words_of(client.get(page).text)
        assert "5 rows, 100 tokens of responses." in words
        assert "maths english rejection sampling 3 75 75.0%" in words
        assert "The recipe asks for 50% of capability advice, and it is 25.0%: about 50 tokens are missing." in words
        assert "capability advice 50.0% 25.0% 50" in words
        assert "rejection sampled 75.0% 18.8%" in words
    assert client.get(f"/runs/{imitating.id}/mix.json").json() == report
    assert f"What it holds: imitation, run {imitating.id}" in client.get(snapshot).text
    sign_in(client, make_user(session, name="Charlie"))
    assert client.get(f"/runs/{imitating.id}/mix.json").status_code in {403, 404}
