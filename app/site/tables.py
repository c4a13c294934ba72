"""Imports every domain's tables, so that foreign keys between domains resolve; the first import of every process."""

from __future__ import annotations

import app.accounts.models
import app.annotations.models
import app.board.models
import app.candidates.models
import app.comparisons.models
import app.desk.models
import app.dialogues.models
import app.findings.models
import app.loops.models
import app.playground.models
import app.preferences.models
import app.prompts.models
import app.registry.models
import app.rounds.models
import app.sources.models
import app.synthesis.models
import app.webhooks.models  # noqa: F401 - imported for the tables
from app.kernel.db import Base

metadata = Base.metadata
