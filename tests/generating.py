"""What tests of generation and serving share: settings that point at a fake engine, batches, adapters on disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.kernel.db import session_scope
from app.kernel.settings import Settings, get_settings
from app.prompts.models import Batch, BatchState, Prompt, PromptState
from app.registry import service as registry
from app.registry.models import Checkpoint, CheckpointKind, Deployment, EngineState
from tests.factories import make_batch, make_prompt
from tests.fake_engine import FakeEngine, write_tiny_model


def settings_for(monkeypatch: pytest.MonkeyPatch, engine_url: str, model: Path, **others: object) -> Settings:
    """Settings of this process that point at an engine and its base model; ``others`` by field name."""
    values = {"engine_url": engine_url, "base_model": model, **others}
    for name, value in values.items():
        monkeypatch.setenv(f"CORRAL_{name.upper()}", str(value))
    get_settings.cache_clear()
    return get_settings()


def tiny_engine(folder: Path) -> FakeEngine:
    """A fake engine with a tiny tokeniser under ``folder``, not listening yet."""
    return FakeEngine(model=write_tiny_model(folder / "tiny-base"))


def serve_base(session: Session, settings: Settings) -> Checkpoint:
    """The base with its two samplings, loaded, and an engine that answers: what the reconciler would bring about."""
    base = registry.ensure_base(session, settings.base_model_path)
    load_all(session)
    registry.note_engine(session, settings.engine_url, EngineState.READY, version="vllm 0.0-fake")
    session.commit()
    return base


def promote(session: Session, checkpoint: Checkpoint) -> Deployment:
    """A policy that has won its contest; the engine has yet to load it."""
    deployment = registry.challenge(session, checkpoint)
    registry.crown(session, checkpoint)
    return deployment


def load_all(session: Session) -> None:
    """The engine has everything that is in rotation."""
    for deployment in registry.in_rotation(session):
        registry.mark_loaded(session, deployment.id)
    session.commit()


def open_batch(session: Session, texts: list[str], *, wanted: int = 4, state: BatchState = BatchState.OPEN) -> Batch:
    """A batch of Bob's with a prompt for each of ``texts``, ``wanted`` candidates each."""
    batch = make_batch(session, state=state, candidates_per_prompt=wanted)
    for prompt in texts:
        make_prompt(session, batch, prompt)
    return batch


def write_adapter(folder: Path, content: bytes = b"weights") -> str:
    """A checkpoint folder with a valid manifest; returns the manifest's SHA-256."""
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(content)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "on another host"}')
    files = {
        file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": file.stat().st_size}
        for file in sorted(folder.iterdir())
    }
    manifest = {"format": 1, "name": folder.name, "kind": "policy", "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def at_home(folder: Path) -> None:
    """Let the data folder have the checkpoint that lies in ``folder``, under its name."""
    home = get_settings().checkpoints_dir / folder.name
    home.parent.mkdir(parents=True, exist_ok=True)
    home.unlink(missing_ok=True)
    home.symlink_to(folder)


def register_policy(session: Session, folder: Path, content: bytes = b"weights") -> Checkpoint:
    """A policy whose adapter lies in ``folder`` and whose name is the folder's."""
    sha256 = write_adapter(folder, content)
    parent = registry.ensure_base(session, get_settings().base_model_path)
    at_home(folder)
    policy = registry.register_checkpoint(
        session,
        name=folder.name,
        kind=CheckpointKind.POLICY,
        parent=parent,
        metrics={"held_out/accuracy": 0.7},
        manifest_sha256=sha256,
    )
    session.commit()
    return policy


def counts() -> dict[str, int]:
    """Prompts by state, and how many candidates and comparisons there are, as committed."""
    with session_scope() as session:
        found = {str(s): int(n) for s, n in session.execute(text("SELECT state, count(*) FROM prompts GROUP BY state"))}
        for table in ("candidates", "comparisons"):
            found[table] = session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
    return found


NOTHING_DOUBLED = """
    SELECT p.id, count(DISTINCT c.id) AS candidates, count(DISTINCT k.id) AS comparisons, b.candidates_per_prompt
      FROM prompts p JOIN batches b ON b.id = p.batch_id
      LEFT JOIN candidates c ON c.prompt_id = p.id LEFT JOIN comparisons k ON k.prompt_id = p.id
     GROUP BY p.id, b.candidates_per_prompt
    HAVING (p.state = 'ready' AND (count(DISTINCT c.id) <> b.candidates_per_prompt OR count(DISTINCT k.id) <> 1))
        OR (p.state <> 'ready' AND (count(DISTINCT c.id) <> 0 OR count(DISTINCT k.id) <> 0))
"""


def assert_nothing_lost_or_doubled() -> None:
    """Every ready prompt has exactly its candidates and one comparison; every other prompt has none."""
    with session_scope() as session:
        assert session.execute(text(NOTHING_DOUBLED)).all() == []


def batch_of(count: int, *special: str, wanted: int = 4) -> None:
    """An open batch of so many questions, and these before them."""
    with session_scope() as session:
        open_batch(session, [*special, *(f"Question number {number}?" for number in range(count))], wanted=wanted)


def let_retries_be_due() -> None:
    """What failed need not wait for its next try."""
    with session_scope() as session:
        session.execute(text("UPDATE prompts SET next_try_at = now() - interval '1 second'"))


def quarantined() -> Prompt:
    """The one prompt that was given up."""
    with session_scope() as session:
        return session.scalars(select(Prompt).where(Prompt.state == PromptState.QUARANTINED)).one()
