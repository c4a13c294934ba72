"""Settings: one frozen class, read once from the environment (prefix ``CORRAL_``).

``DATABASE_URL`` and ``BROKER_URL`` keep their customary names. Left empty, ``corral up`` starts an embedded
PostgreSQL and Valkey under ``data_dir`` and hands their addresses to its children through these two variables.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app import weak_secrets

ROOT = Path(__file__).resolve().parent.parent


class EngineKind(StrEnum):
    """What stands behind ``engine_url``."""

    VLLM = "vllm"
    OPENAI = "openai"


class Settings(BaseSettings):
    """What an installation can set. Durations are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="CORRAL_", frozen=True, extra="ignore", hide_input_in_errors=True)

    data_dir: Path = ROOT / "var"
    database_url: Annotated[
        str, Field(validation_alias=AliasChoices("DATABASE_URL", "CORRAL_DATABASE_URL", "database_url"))
    ] = ""
    broker_url: Annotated[
        str, Field(validation_alias=AliasChoices("BROKER_URL", "CORRAL_BROKER_URL", "broker_url"))
    ] = ""
    database_pool_size: int = 10

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    public_url: str = ""
    """The address that browsers use, e.g. ``https://corral.example``; decides cookies and links. Empty: the request's own."""
    proxies: str = ""
    """Addresses or networks, separated by commas, of the proxies that say for whom they ask. Nobody else is believed."""
    connections: int = Field(default=1000, ge=8)
    """Connections of the web server in all; who comes later takes the place of the one that waits longest for its client."""
    connections_per_address: int = Field(default=250, ge=2)
    """Of those, from one address: an office of thirty browsers, each with the six that it opens, fits."""
    request_seconds: float = Field(default=10, gt=0)
    """Seconds for a request's head, and those over which the pace of its body is measured."""
    body_bytes_per_second: int = Field(default=1024, ge=1)
    """The slowest pace of a body."""
    log_json: bool = False
    refuse_weak_secrets: bool = False
    """Set by a deployment: nothing starts while a password or key is empty, short or known from an example."""

    engine_url: str = "http://127.0.0.1:8001/v1"
    """An OpenAI-compatible endpoint; ``corral up`` overrides it with the engine that it starts."""
    engine_kind: EngineKind = EngineKind.VLLM
    """``vllm``: ours; it is sent token ids (text stays text) and loads adapters. ``openai``: any other endpoint; it is sent
    messages, and only the base can be sampled."""
    engine_adapters: int = Field(default=8, ge=3)
    """Adapters that the engine holds (its ``--max-cpu-loras``); no more are ever loaded. Two policies in rotation and the
    next one, which takes a place before another leaves, need three."""
    engine_max_loras: int = Field(default=2, ge=1)
    """Different adapters in one batch of the engine (its ``--max-loras``); requests for a further one wait a moment."""
    engine_api_key: SecretStr = SecretStr("")
    engine_accepts_seed: bool = False
    """vLLM's CPU engine dies on a request with a seed, so seeds are stripped unless this is set."""
    engine_gpu_memory: float = Field(default=0.5, gt=0, le=1)
    """Share of a GPU's memory that the engine of ``corral up`` takes; training needs the rest, where both share one."""
    engine_concurrency: int = 16
    """Requests in flight from one generation worker."""
    engine_timeout: float = 300.0
    base_model: str = ""
    """A folder or a hub id. Empty: the bundled SmolLM2-135M-Instruct, converted once under ``data_dir``."""
    max_lora_rank: int = 16

    assignment_lease: int = 1800
    generation_lease: int = 60
    """Seconds after which the prompts of a silent generation worker are given to another; a living one renews at each third."""
    generation_tries: int = 3
    sweep_interval: int = 15

    live_max_tokens: int = Field(default=1024, ge=1)
    """Tokens of one text that is generated while somebody waits, whatever is asked for."""
    live_tokens_per_day: int = Field(default=300_000, ge=1)
    """Tokens that one person may have read and written in 24 hours: prompts count with their length until the engine has
    counted them, what is under way with all that it may become."""
    live_at_once: int = Field(default=4, ge=2)
    """Texts under way for one person; a turn of a dialogue takes two."""
    live_lease: int = 20
    """Seconds after which a live generation whose worker is silent is given to another."""
    live_wait: int = Field(default=600, ge=1)
    """Seconds for which a live generation waits for an engine that is away, or for its model; then it fails, with the reason."""

    sample_batch: bool = True
    """Whether the first start loads a batch of sample prompts, so that there is something to annotate."""
    upload_limit_bytes: int = 64 * 1024 * 1024
    prompt_limit_chars: int = 200_000
    session_days: int = Field(default=14, ge=1)
    """Days after which a browser has to sign in again, however much it is used."""
    session_idle_hours: int = Field(default=72, ge=1)
    """Hours after which a browser that is not used has to sign in again."""
    token_days: int = Field(default=90, ge=1, le=3650)
    """Days for which an API token works where its maker does not say; a year, or this where it is more, is the most."""
    tokens_per_person: int = Field(default=20, ge=1)
    """API tokens that one person may have at a time."""
    audit_days: int = Field(default=730, ge=0)
    """Days for which events of the audit log are kept, 30 at least; 0: for ever."""

    nightly_at: str = "02:30"
    """Local time, ``HH:MM``, at which beat starts the nightly round; empty turns it off."""
    nightly_min_annotations: int = 50
    training_recipe: str = "laptop"
    training_samples: int = Field(default=0, ge=0, le=64)
    """Answers of the newest policy to each training prompt, of which the reward model picks what the next one imitates before
    it learns preferences (Llama 3 takes 10 to 30); 0: it learns preferences only."""
    training_min_pairs: int = 8
    """Pairs that a training needs to start, as Rounds counts them: of the two strongest levels, edits among them, on prompts
    that are not held out."""
    round_min_pairs: int = 60
    """The policy learns from the batches of its own round when they give this many pairs, else from all rounds."""
    training_lease: int = 60
    """A running training that has not reported for this long is taken over by another worker."""
    training_stall: int = Field(default=1800, ge=1)
    """A training process that has said nothing for this long hangs: it is ended, and resumed from its last saved step."""
    held_out_percent: int = 10
    """Share of prompts, by hash of their content, that no training run ever sees."""

    @field_validator("proxies")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for each in _listed(value):
            try:
                ip_network(each)
            except ValueError as error:
                raise ValueError(f"{error}: write addresses or networks, e.g. 172.30.253.2 or 10.0.0.0/8") from None
        return value

    @field_validator("nightly_at")
    @classmethod
    def _a_time_of_day(cls, value: str) -> str:
        if value and not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", value):
            raise ValueError(
                "write a time of day as HH:MM, e.g. 02:30, or leave it empty to turn the nightly training off"
            )
        return value

    @field_validator("audit_days")
    @classmethod
    def _long_enough(cls, value: int) -> int:
        if 0 < value < 30:
            raise ValueError("audit events are kept for at least 30 days; write 30 or more, or 0 to keep them for ever")
        return value

    @model_validator(mode="after")
    def _a_batch_fits(self) -> Self:
        if self.engine_max_loras > self.engine_adapters:
            raise ValueError("CORRAL_ENGINE_MAX_LORAS is larger than CORRAL_ENGINE_ADAPTERS: raise the second one")
        return self

    @model_validator(mode="after")
    def _secrets_are_secret(self) -> Self:
        if self.refuse_weak_secrets:
            weak_secrets.refuse(
                {
                    "the password in DATABASE_URL": weak_secrets.password_of(self.database_url),
                    "the password in BROKER_URL": weak_secrets.password_of(self.broker_url),
                    "CORRAL_ENGINE_API_KEY": self.engine_api_key.get_secret_value(),
                }
            )
        return self

    @property
    def proxy_list(self) -> list[str]:
        """``proxies``, one by one."""
        return _listed(self.proxies)

    @property
    def models_dir(self) -> Path:
        """Where converted base models lie."""
        return self.data_dir / "models"

    @property
    def checkpoints_dir(self) -> Path:
        """Where trained adapters lie; the engine and the trainer see the same folder."""
        return self.data_dir / "checkpoints"

    @property
    def snapshots_dir(self) -> Path:
        """Where frozen exports lie."""
        return self.data_dir / "snapshots"

    @property
    def runs_dir(self) -> Path:
        """Where training runs keep their configuration, events and resumable state."""
        return self.data_dir / "runs"

    @property
    def base_model_path(self) -> str:
        """The folder or hub id that the engine serves and that training starts from."""
        return self.base_model or str(self.models_dir / "SmolLM2-135M-Instruct")


def _listed(value: str) -> list[str]:
    return [each.strip() for each in value.split(",") if each.strip()]


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process; tests clear the cache (``get_settings.cache_clear()``)."""
    return Settings()
