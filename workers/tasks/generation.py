"""Generation: keep the engine full, record each prompt the moment it is done, and lose nothing whatever ends.

1. Claim just as many prompts as keep ``engine_concurrency`` requests open, and a few beyond (the ledger is
   ``app.candidates.service``). There is no barrier between prompts: whoever is done makes room for the next.
2. Ask the engine. No database session is open meanwhile.
3. Record answers and comparison in one short transaction, guarded by the claim's fencing token.
4. When the engine goes away: give everything back untried, say so in ``engine_status``, and end. The reconciler's probe
   rings when it is back. When an external model goes away, only that one leaves the rotation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ParamSpec, TypeVar

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app.candidates import service as ledger
from app.candidates.policy import Draw, draw, sampling_of
from app.candidates.service import Claim, SampledText
from app.comparisons.service import await_choice, create_comparison
from app.findings.orders import order_responses
from app.kernel.db import session_scope
from app.kernel.failpoints import failpoint
from app.kernel.jobs import Job, enqueue
from app.kernel.settings import Settings, get_settings
from app.prompts.documents import NO_DOCUMENTS
from app.prompts.models import PairSelection, Prompt
from app.registry import service as registry
from app.registry.models import Deployment, EngineState
from app.registry.queries import engine_view
from app.registry.rotation import Rotation
from app.rounds import pair_selection
from workers import stopping
from workers.celery_app import app
from workers.engines.external import ExternalEngines
from workers.engines.openai import OpenAIEngine
from workers.engines.protocol import Ask, Engine, EngineAway, ModelMissing, PromptRefused, Reply
from workers.engines.replies import EngineReplyError
from workers.engines.stepwise import Stepped, answered
from workers.toolbox import NoDocuments, Toolbox
from workers.tools.protocol import Tool

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

DATABASE_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
REQUESTS = 2
"""Requests that most prompts take: one asks the champion for its half, one the other."""
AHEAD = 4
"""Requests queued beyond the limit, so that the engine never waits for a claim."""
LOOK_INTERVAL = 1.0
"""Seconds after which a waiting pump looks at shutdown and leases even if no answer came."""


@app.task(name=Job.GENERATE.value)
def generate() -> int:
    """Generate until nothing is due; returns how many prompts became ready."""
    settings = get_settings()
    with session_scope() as session:
        ready = engine_view(session, settings.engine_url).ready and ledger.work_is_due(session)
    return asyncio.run(run(settings)) if ready else 0


async def run(settings: Settings, engine: Engine | None = None) -> int:
    """One pump over one engine, until nothing is due, the engine goes away or the worker stops."""
    engine = engine or OpenAIEngine(settings)
    try:
        return await Pump(settings, engine).run()
    finally:
        await engine.aclose()


class Pump:
    """The prompts in flight of one worker."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._externals = ExternalEngines(settings)
        self._toolbox = Toolbox(settings)
        self._kits: dict[int, list[Tool]] = {}
        self._writer: Deployment | None = None
        self._requests = asyncio.Semaphore(settings.engine_concurrency)
        self._open = 0
        self._progress = asyncio.Event()
        self._claims: dict[asyncio.Task[None], Claim] = {}
        self._last_try = False
        self._halt: str | None = None
        self._gone: str | None = None
        self._renewed = 0.0
        self.ready = 0

    async def run(self) -> int:
        """Until nothing is due; see :func:`run`."""
        self._renewed = asyncio.get_running_loop().time()
        try:
            await self._engine.describe()
        except EngineAway as error:
            self._away(error)
            await self._tell()
            return 0
        try:
            while not self._stopping():
                if not await self._fill() and not self._claims:
                    break
                await self._wait()
        finally:
            await self._put_down()
            await self._externals.aclose()
            self._toolbox.close()
        return self.ready

    def _stopping(self) -> bool:
        return self._halt is not None or stopping.requested()

    # ── Claiming ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def _fill(self) -> bool:
        """Start as many prompts as there is room for; whether any was started."""
        room = self._settings.engine_concurrency + AHEAD - self._open
        if room <= 0 or (self._last_try and self._claims):
            return False
        rotation, found, self._last_try = await _patiently(_claim, room, not self._claims, self._toolbox)
        self._writer = rotation.writer
        for claim, kit in found:
            if kit is not None:
                self._kits[claim.prompt_id] = kit
            draws = draw(claim.prompt_id, claim.wanted, rotation)
            self._open += len(draws)
            task = asyncio.create_task(self._prompt(claim, draws))
            self._claims[task] = claim
            task.add_done_callback(self._done)
        return bool(found)

    def _done(self, task: asyncio.Task[None]) -> None:
        claim = self._claims.pop(task, None)
        self._kits.pop(claim.prompt_id if claim else 0, None)
        self._progress.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._halt = self._halt or f"{type(error).__name__}: {error}"
            log.error("generation_failed", exc_info=error)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_INTERVAL):
                await self._progress.wait()
        except TimeoutError:
            pass
        self._progress.clear()
        now = asyncio.get_running_loop().time()
        if now - self._renewed > self._settings.generation_lease / 3:
            self._renewed = now
            await _patiently(_renew, list(self._claims.values()))

    async def _put_down(self) -> None:
        """Cancel what is in flight and give its prompts back untried."""
        left = dict(self._claims)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if left:
            await _patiently(_release, list(left.values()))
        await self._tell()
        if self._halt is not None or left:
            log.warning("generation_paused", released=len(left), ready=self.ready, reason=self._halt)

    # ── One prompt ───────────────────────────────────────────────────────────────────────────────────────────────
    async def _prompt(self, claim: Claim, draws: Sequence[Draw]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(self._ask(claim, one)) for one in draws]
        except* _ExternalAway as errors:
            away = errors.exceptions[0]
            assert isinstance(away, _ExternalAway)  # noqa: S101  # what except* lets through
            await _patiently(_without, claim, away.deployment_id, str(away))
        except* EngineAway as errors:
            await _patiently(_release, [claim])
            self._away(errors.exceptions[0])
        except* ModelMissing as errors:
            await _patiently(_missing, claim)
            self._halt = str(errors.exceptions[0])
        except* PromptRefused as errors:
            await _patiently(_fail, claim, str(errors.exceptions[0]), None)
        except* EngineReplyError as errors:
            await _patiently(_fail, claim, str(errors.exceptions[0]), ledger.backoff(claim.attempts))
        except* Exception as errors:  # a mistake of ours: it costs this prompt a try, not all prompts the worker
            log.exception("prompt_failed", prompt=claim.prompt_id)
            reason = f"Corral failed on this prompt: {errors.exceptions[0]!r}. Please report it."
            await _patiently(_fail, claim, reason, ledger.backoff(claim.attempts))
        else:
            samples = [sample for task in asked for sample in task.result()]
            stored = await _patiently(_record, claim, samples)
            self.ready += stored  # not in one line: the old value would be read before the wait

    async def _ask(self, claim: Claim, one: Draw) -> list[SampledText]:
        try:
            async with self._requests:
                failpoint("generation.asked", claim.external_id)
                return await self._sample(claim, one)
        finally:
            self._open -= 1
            self._progress.set()

    async def _sample(self, claim: Claim, one: Draw) -> list[SampledText]:
        external = one.deployment.checkpoint.external
        if external is None:
            return await self._answers(self._engine, claim, one)
        try:
            return await self._answers(self._externals.of(external), claim, one)
        except (EngineAway, ModelMissing) as error:
            raise _ExternalAway(one.deployment.id, str(error)) from error
        except (PromptRefused, EngineReplyError) as error:
            # Other houses have other rules: what a rival will not answer is no fault of the prompt.
            log.info("external_refused", prompt=claim.prompt_id, model=external.model, reason=str(error))
            assert self._writer is not None  # noqa: S101  # nothing is claimed while there is no champion
            return await self._sample(claim, Draw(self._writer, one.n))

    async def _answers(self, engine: Engine, claim: Claim, one: Draw) -> list[SampledText]:
        """What one model says, step by step where it has tools that are run here."""
        kit = self._kits.get(claim.prompt_id)
        reply, found = await answered(engine.sample, _asked(claim, one), kit, self._toolbox.at_once)
        return [_sample(one.deployment, reply, each) for each in found]

    def _away(self, error: Exception) -> None:
        self._halt = self._gone = str(error)
        self._progress.set()

    async def _tell(self) -> None:
        """Note that the engine is away. Not where it is found out: that task is one of those that are cancelled then."""
        if self._gone is not None:
            await _patiently(_note_away, self._settings.engine_url, self._gone)


class _ExternalAway(Exception):
    """Somebody else's model does not answer: it leaves the rotation until it does, and nothing else waits for it."""

    def __init__(self, deployment_id: int, why: str) -> None:
        super().__init__(why)
        self.deployment_id = deployment_id


def _asked(claim: Claim, one: Draw) -> Ask:
    checkpoint = one.deployment.checkpoint
    return Ask(
        messages=claim.messages,
        tools=claim.tools,
        model=checkpoint.name if checkpoint.is_adapter else None,
        n=one.n,
        max_tokens=claim.max_tokens,
        sampling=sampling_of(one.deployment, claim.sampling),
    )


def _sample(deployment: Deployment, reply: Reply, found: Stepped) -> SampledText:
    answer = found.answer
    return SampledText(
        checkpoint_id=deployment.checkpoint_id,
        deployment_id=deployment.id,
        text=answer.text,
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        sampling=reply.sampling,
        engine_version=reply.engine_version,
        steps=found.steps or None,
    )


# ── Short transactions, run in threads beside the event loop ─────────────────────────────────────────────────────────
async def _patiently(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Run ``function`` in a thread, again and again while the database restarts: answers cost more than waiting does.

    Repeating is safe, for the fencing token lets only one attempt through.
    """
    for delay in DATABASE_DELAYS:
        try:
            return await asyncio.to_thread(function, *args, **options)
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            log.warning("database_away", error=str(error).splitlines()[0], again_in=delay)
            await asyncio.sleep(delay)
    return await asyncio.to_thread(function, *args, **options)


Found = tuple[Claim, list[Tool] | None]


def _claim(room: int, idle: bool, toolbox: Toolbox) -> tuple[Rotation, list[Found], bool]:  # noqa: FBT001 - called through threads
    """The rotation, prompts for about ``room`` requests, and whether that is one on its last try, to be made alone.

    Each prompt comes with what runs the calls of its tools; one that has nothing to search in is refused by name.
    """
    with session_scope() as session:
        rotation = registry.serving(session)
        if rotation.champion is None:
            return rotation, [], False
        while True:
            claims = ledger.claim_prompts(session, max(1, room // REQUESTS))
            last = ledger.claim_last_try(session) if idle and not claims else None
            found = [last] if last else claims
            equipped = [each for claim in found if (each := _equipped(session, claim, toolbox))]
            if equipped or not found:
                return rotation, equipped, last is not None


def _equipped(session: Session, claim: Claim, toolbox: Toolbox) -> Found | None:
    try:
        kit = toolbox.of(session, claim.tools, claim.tests, [claim.batch_id])
    except NoDocuments:
        ledger.fail_prompt(session, claim, NO_DOCUMENTS, retry_in=None)
        return None
    return _more_to_choose_from(session, claim), kit


def _more_to_choose_from(session: Session, claim: Claim) -> Claim:
    """What of it is shown is chosen of more responses, where it is chosen. What came with it is shown in any case."""
    if claim.imported:
        return replace(claim, selection=PairSelection.RANDOM, wanted=max(1, claim.wanted - claim.imported))
    by = pair_selection.selection(session, claim.selection, claim.prompt_id, claim.content_hash)
    wanted = claim.wanted if by is PairSelection.RANDOM else max(claim.wanted, claim.sampled)
    return replace(claim, selection=by, wanted=wanted)


def _record(claim: Claim, samples: list[SampledText]) -> bool:
    with session_scope() as session:
        failpoint("generation.recording", claim.external_id)
        ready = ledger.record_candidates(session, claim, samples)
        if ready:
            prompt = session.get_one(Prompt, claim.prompt_id)
            make = create_comparison if claim.selection is PairSelection.RANDOM else await_choice
            make(session, prompt)
        order_responses(session, claim.prompt_id)
    failpoint("generation.recorded", claim.external_id)
    return ready


def _fail(claim: Claim, reason: str, retry_in: float | None) -> None:
    with session_scope() as session:
        ledger.fail_prompt(session, claim, reason, retry_in=retry_in)


def _renew(claims: list[Claim]) -> None:
    with session_scope() as session:
        ledger.renew(session, claims)


def _release(claims: list[Claim]) -> None:
    with session_scope() as session:
        ledger.release(session, claims)


def _without(claim: Claim, deployment_id: int, reason: str) -> None:
    """Give the prompt back untried; whoever takes it next draws among those that answer."""
    with session_scope() as session:
        registry.mark_failed(session, deployment_id, reason)
        ledger.release(session, [claim])


def _missing(claim: Claim) -> None:
    with session_scope() as session:
        ledger.release(session, [claim])
        enqueue(session, Job.RECONCILE_SERVING)


def _note_away(url: str, error: str) -> None:
    with session_scope() as session:
        registry.note_engine(session, url, EngineState.AWAY, error=error)
