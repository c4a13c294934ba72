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
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.kernel import launchers, weak_secrets
from app.kernel.addresses import host_of
from app.kernel.data_folder import ROOT, DataFolder
from app.kernel.endpoints import Endpoint, ToolServer
from app.kernel.providing import IdentityProvider

__all__ = ["ROOT"]  # beside what is defined here


class EngineKind(StrEnum):
    """What stands behind ``engine_url``."""

    VLLM = "vllm"
    OPENAI = "openai"


class Settings(DataFolder, BaseSettings):
    """What an installation can set. Durations are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="CORRAL_", frozen=True, extra="ignore", hide_input_in_errors=True)

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
    hosts: str = ""
    """Further names, separated by commas, by which requests may call this server; those of ``public_url``, ``host`` and of
    this machine always may. See :mod:`app.shell.hosts`."""
    proxies: str = ""
    """Addresses or networks, separated by commas, of the proxies that say for whom they ask. Nobody else is believed."""
    webhook_hosts: str = ""
    """Hosts of the own network, separated by commas, that webhooks may reach, by http as well. Others are reached by https, where
    their name leads to an address of the internet."""
    smtp_url: SecretStr = SecretStr("")
    """The mail server that carries invites: ``smtp://`` (STARTTLS), ``smtps://``, or ``smtp+plain://`` in the own network."""
    mail_from: str = ""
    """The address that these mails come from."""
    connections: int = Field(default=1000, ge=8)
    """Connections of the web server in all; who comes later takes the place of the one that waits longest for its client."""
    connections_per_address: int = Field(default=250, ge=2)
    """Of those, from one address: an office of thirty browsers, each with the six that it opens, fits."""
    request_seconds: float = Field(default=10, gt=0)
    """Seconds for a request's head, and those over which the pace of its body is measured."""
    body_bytes_per_second: int = Field(default=1024, ge=1)
    """The slowest pace of a body."""
    downloads: int = Field(default=40, ge=1)
    """Exports whose clients have not read them to their end; one more is told to come back."""
    downloads_disk_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the free disk space under ``data_dir`` that the files of these take together."""
    uploads: int = Field(default=4, ge=1)
    """Uploads of the largest size whose bytes may be under way at once; smaller ones are that many more."""
    log_json: bool = False
    refuse_weak_secrets: bool = False
    """Set by a deployment: nothing starts while a password or key is empty, short or known from an example."""

    engine_url: str = "http://127.0.0.1:8001/v1"
    """An OpenAI-compatible endpoint; ``corral up`` overrides it with the engine that it starts."""
    engine_urls: str = ""
    """The addresses of several engines, separated by commas. Each is probed; requests go to ``engine_url`` where that is set (a
    load balancer), else to these in turn. Empty: every address that the name in ``engine_url`` has."""
    engine_kind: EngineKind = EngineKind.VLLM
    """``vllm``: ours; it is sent token ids (text stays text) and loads adapters. ``openai``: any other endpoint; it is sent
    messages, and only the base can be sampled."""
    engine_adapters: int = Field(default=8, ge=3)
    """Adapters that the engine holds (its ``--max-cpu-loras``); no more are ever loaded. The champion, the one before it and
    the challenger need three."""
    engine_max_loras: int = Field(default=2, ge=1)
    """Different adapters in one batch of the engine (its ``--max-loras``); requests for a further one wait a moment."""
    engine_api_key: SecretStr = SecretStr("")
    engine_accepts_seed: bool = False
    """vLLM's CPU engine dies on a request with a seed, so seeds are stripped unless this is set."""
    engine_constrains_calls: bool = False
    """Whether the engine is held to calls that can be read, where a prompt has tools (:mod:`workers.engines.constraining`)."""
    engine_gpu_memory: float = Field(default=0, ge=0, le=1)
    """Share of a GPU's memory that the engine of ``corral up`` takes. 0: half, which leaves the rest to training; 0.85 where it
    sleeps for that."""
    engine_context: int = Field(default=0, ge=0)
    """Tokens of prompt and answer together that the engine of ``corral up`` takes. 0: 4,096, or what the model can; on a GPU as
    many of what it can as the memory has room for, unless it is the bundled model."""
    engine_tensor_parallel: int = Field(default=1, ge=1)
    """GPUs over which the engine of ``corral up`` spreads one copy of the model: for one that a single GPU cannot hold."""
    engine_data_parallel: int = Field(default=1, ge=1)
    """Copies of the model that the engine of ``corral up`` spreads requests over, each on as many GPUs as the setting above."""
    engine_sleeps: bool = False
    """Whether the engine gives its GPU's memory to a training while that computes; what is asked meanwhile waits."""
    engine_concurrency: int = 16
    """Requests in flight from one generation worker."""
    engine_timeout: float = 300.0
    endpoints: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")], Endpoint] = {}
    """Other endpoints by name, as JSON: admins add models of theirs to the rotation (:mod:`app.registry.externals`)."""
    tool_servers: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,19}$")], ToolServer] = {}
    """Servers of tools by name, as JSON: a prompt's tool ``NAME__TOOL`` is called there (:mod:`workers.toolbox`)."""
    judge: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9_-]{0,39}/\S{1,160})?$")
    """The judge of facts, as ``ENDPOINT/MODEL``: one of ``endpoints``, and a model there. Empty: nobody is asked."""
    base_model: str = ""
    """A folder or a hub id. Empty: the bundled SmolLM2-135M-Instruct, converted once under ``data_dir``."""
    max_lora_rank: int = 16

    assignment_lease: int = 1800
    generation_lease: int = 60
    """Seconds after which the prompts of a silent generation worker are given to another; a living one renews at each third."""
    generation_tries: int = 3
    generation_ahead: int = Field(default=200, ge=1)
    """Comparisons of a batch that nobody has begun, beyond which no more of its prompts are answered until people take some:
    the sooner a new challenger is met."""
    challenger_percent: int = Field(default=80, ge=1, le=100)
    """Of the prompts, on how many a challenger stands beside the champion; base and previous champion share the others."""
    check_lease: int = Field(default=60, ge=3)
    """Seconds after which the check of a silent worker is given to another; a living one renews at each third."""
    check_tries: int = Field(default=3, ge=1)
    """Times that a worker may be lost over a check, after which it says that the text could not be checked."""
    sandbox_socket: str = ""
    """Where the service answers that runs code which models wrote (:mod:`workers.sandbox`). Empty: each worker runs it in a
    sandbox of its own."""
    edit_checks_per_minute: int = Field(default=10, ge=1)
    """Checks of an edit before it is submitted that one person may ask for within a minute."""
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
    """maximum number of API tokens per person."""
    second_step: Literal["optional", "admins", "everybody"] = "optional"
    """Who has to set up a second step for signing in by password (:mod:`app.accounts.second_step`) before anything else."""
    secrets_key: SecretStr = SecretStr("")
    """Seals what is stored and has to be read again (:mod:`app.accounts.sealed`). Empty: a file under ``data_dir``."""
    oidc: IdentityProvider | None = None
    """The identity provider by which people sign in, as JSON; None: there is none."""
    audit_days: int = Field(default=730, ge=0)
    """Days for which events of the audit log are kept, 30 at least; 0: for ever."""

    nightly_at: str = "02:30"
    """Local time, ``HH:MM``, at which beat starts the nightly round; empty turns it off."""
    nightly_min_annotations: int = 50
    training_recipe: str = "laptop"
    training_launch: str = ""
    """What starts the processes of one training, as the beginning of a command: ``torchrun``, ``accelerate launch`` or ``srun``
    with their arguments (:mod:`app.kernel.launchers`). Empty: one process, on one GPU."""
    training_samples: int = Field(default=10, ge=0, le=64)
    """Answers of the champion to each sampled prompt, of which the reward model picks what the next one imitates before
    it learns preferences (Llama 3 takes 10 to 30); 0: it learns preferences only."""
    training_sample_prompts: int = Field(default=50, ge=1)
    """Training prompts that are sampled in a round, at most; each round draws others."""
    training_sample_tokens: int = Field(default=256, ge=1)
    """Tokens of each of these answers, at most; those that are cut off are not imitated."""
    training_steps_model: Path | None = None
    """A folder with a stepwise reward model (``python -m training.steps``): sampled answers to maths are dropped by their worst
    step. None: none is."""
    training_steps_floor: float = Field(default=0.5, ge=0, le=1)
    """How probably right the worst step of such an answer has to be."""
    training_engine_wait: float = Field(default=900.0, ge=0)
    """Seconds for which a stage of a training that samples waits for an engine that is away; then it fails, with the reason."""
    training_solutions: str = Field(default="", pattern=r"^(champion|[a-z0-9][a-z0-9_-]{0,39}/\S{1,160})?$")
    """Who writes steps and programs to prompts of which only the answer is known: ``ENDPOINT/MODEL``, or ``champion``. Empty:
    nobody."""
    training_refusals: bool = False
    """Whether it imitates a refusal where all of these answers claim what is wrong, as the judge of facts finds."""
    training_checked_steps: int = Field(default=0, ge=0, le=100_000)
    """Steps in which the policy, once it has learnt preferences, goes on with what can be checked (GRPO); 0: none."""
    training_average: bool = True
    """Whether a round has one candidate more: the average of the new policy with the champion and the one before."""
    check_prompts: int = Field(default=60, ge=1)
    """Held-out prompts, at most, that the new policy and the champion both answer before people see the new one."""
    check_tokens: int = Field(default=128, ge=1)
    """Tokens of each of these answers, at most."""
    training_private: Literal["keep", "mask", "leave_out"] = "keep"
    """What becomes of private data that patterns find in what a round trains on (:mod:`app.preferences.trainable`)."""
    training_without: str = Field(default="", pattern=r"^((unsafe|private_data)(,(unsafe|private_data))*)?$")
    """Of which prompts a round learns nothing, because people flagged them or a response: ``unsafe``, ``private_data``, or both,
    separated by a comma."""
    training_min_pairs: int = 8
    """Pairs that a training needs to start, as Rounds counts them: of the two strongest levels, edits among them, on prompts
    that are not held out."""
    contest_budget: int = Field(default=400, ge=10, le=10_000)
    """Prompts that people judge before a contest ends without a result; of one that is open it stays what it was."""
    training_lease: int = 60
    """A running training that has not reported for this long is taken over by another worker."""
    training_stall: int = Field(default=1800, ge=1)
    """A training process that has said nothing for this long hangs: it is ended, and resumed from its last saved step."""
    held_out_percent: int = 10
    """Share of prompts, by hash of their content, that no training run ever sees."""

    @field_validator("hosts")
    @classmethod
    def _hosts(cls, value: str) -> str:
        for each in _listed(value):
            host_of(each)
        return value

    @field_validator("public_url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        if value and not (value.startswith(("http://", "https://")) and urlsplit(value).hostname):
            raise ValueError("write the full address that browsers use, e.g. https://corral.example")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _a_mail_server(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if url and not (url.startswith(("smtp://", "smtps://", "smtp+plain://")) and urlsplit(url).hostname):
            raise ValueError("write it as smtp://NAME:PASSWORD@HOST:587, or smtps:// or smtp+plain://")
        return value

    @field_validator("engine_urls")
    @classmethod
    def _engine_addresses(cls, value: str) -> str:
        for each in _listed(value):
            if not (each.startswith(("http://", "https://")) and urlsplit(each).hostname):
                raise ValueError("write full addresses, separated by commas, e.g. http://10.0.0.5:8000/v1")
        return value

    @field_validator("proxies")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for each in _listed(value):
            try:
                ip_network(each)
            except ValueError as error:
                raise ValueError(f"{error}: write addresses or networks, e.g. 172.30.253.6 or 10.0.0.0/8") from None
        return value

    @field_validator("nightly_at")
    @classmethod
    def _a_time_of_day(cls, value: str) -> str:
        if value and not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", value):
            raise ValueError(
                "write a time of day as HH:MM, e.g. 02:30, or leave it empty to turn the nightly training off"
            )
        return value

    @field_validator("training_launch")
    @classmethod
    def _a_launcher(cls, value: str) -> str:
        launchers.words(value)
        return value

    @field_validator("audit_days")
    @classmethod
    def _long_enough(cls, value: int) -> int:
        if 0 < value < 30:
            raise ValueError("audit events are kept for at least 30 days; write 30 or more, or 0 to keep them forever")
        return value

    @model_validator(mode="after")
    def _a_batch_fits(self) -> Self:
        if self.engine_max_loras > self.engine_adapters:
            raise ValueError(
                "CORRAL_ENGINE_MAX_LORAS is larger than CORRAL_ENGINE_ADAPTERS: raise CORRAL_ENGINE_ADAPTERS"
            )
        return self

    @field_validator("secrets_key")
    @classmethod
    def _a_long_key(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < 32:
            raise ValueError(
                "write at least 32 random characters, e.g. from `openssl rand -base64 32`, or leave it empty"
            )
        return value

    @model_validator(mode="after")
    def _the_provider_knows_where_to_answer(self) -> Self:
        if self.oidc and not self.public_url:
            raise ValueError("CORRAL_OIDC needs CORRAL_PUBLIC_URL: the provider sends people back to it")
        return self

    @model_validator(mode="after")
    def _mails_have_a_sender(self) -> Self:
        if self.smtp_url.get_secret_value() and not ("@" in self.mail_from and self.public_url):
            raise ValueError("CORRAL_SMTP_URL needs CORRAL_MAIL_FROM, an address, and CORRAL_PUBLIC_URL for the links")
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
                | {
                    f"the key of {name} in CORRAL_ENDPOINTS": endpoint.key.get_secret_value()
                    for name, endpoint in self.endpoints.items()
                    if endpoint.key.get_secret_value()  # one that asks for none is its owner's business
                }
                | {
                    f"the key of {name} in CORRAL_TOOL_SERVERS": server.key.get_secret_value()
                    for name, server in self.tool_servers.items()
                    if server.key.get_secret_value()
                }
            )
        return self

    @property
    def host_list(self) -> list[str]:
        """``hosts``, one by one."""
        return _listed(self.hosts)

    @property
    def reachable_hosts(self) -> list[str]:
        """``webhook_hosts``, one by one."""
        return _listed(self.webhook_hosts)

    @property
    def proxy_list(self) -> list[str]:
        """``proxies``, one by one."""
        return _listed(self.proxies)

    @property
    def engine_url_list(self) -> list[str]:
        """``engine_urls``, one by one."""
        return _listed(self.engine_urls)

    @property
    def is_balanced(self) -> bool:
        """Whether requests go to ``engine_url``, rather than to each of ``engine_urls`` in turn."""
        return "engine_url" in self.model_fields_set or not self.engine_url_list

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
