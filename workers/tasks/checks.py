"""Checks: run the verifiers over what waits in the ledger, one text after the other, and lose nothing whatever ends.

The ledger is :mod:`app.findings.service`. The verifiers run in a process of their own (:mod:`workers.verifiers.checker`), which
is ended where one takes too long; this task only waits for it, and renews its lease meanwhile. No database session is open
while something is checked. That process has no network; the judge of facts is asked from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache

import structlog

from app.findings import judging
from app.findings import service as ledger
from app.findings.service import Claim, Found, Work
from app.kernel.db import session_scope
from app.kernel.failpoints import failpoint
from app.kernel.jobs import Job
from app.kernel.settings import get_settings
from workers import stopping
from workers.celery_app import app
from workers.engines.judge import Judge
from workers.verifiers import facts
from workers.verifiers.checker import Checker, CheckerBroken, WrongCase
from workers.verifiers.judging import Agreement
from workers.verifiers.protocol import Case, Finding, case_of

log = structlog.get_logger()

RETRY_S = 5.0
"""Seconds until a text is checked again whose check could not be made."""


@cache
def checker() -> Checker:
    """The process of this worker that makes checks; it is kept, because loading what it needs takes longer than a check."""
    return Checker()


@app.task(name=Job.CHECK.value)
def check() -> int:
    """Check until nothing is due; returns how many texts were checked."""
    done = 0
    while not stopping.requested():
        with session_scope() as session:
            claim = ledger.claim(session)
            work = ledger.work_of(session, claim) if claim else None
        if claim is None or work is None:
            break
        with _kept(claim):
            done += _check(claim, work)
    return done


def _check(claim: Claim, work: Work) -> bool:
    key = str(claim.check_id)
    failpoint("checks.claimed", key)
    try:
        case = case_of(work.case)
        findings = [_judged(case, each) for each in checker().check(case, work.verifiers)]
        found, case_hash = [_found(each) for each in findings], case.hash
    except (
        ValueError,
        WrongCase,
    ) as error:  # the prompt's own tests, or the batch's settings, are wrong: no try mends them
        findings, case_hash, found = [], "", [Found(ledger.CHECKER, "1", None, f"Could not be checked: {error}"[:500])]
    except CheckerBroken as error:
        return _fail(claim, str(error))
    except Exception as error:  # a mistake of ours costs this text a try, not all texts the worker
        log.exception("check_failed", check=claim.check_id)
        return _fail(claim, f"Corral failed on this text: {error!r}. Please report it.")
    lacking = next((each.message for each in findings if each.again), "")
    with session_scope() as session:
        if lacking and ledger.put_off(session, claim, lacking):
            return False
        failpoint("checks.recording", key)
        stored = ledger.record(session, claim, case_hash, found, lacking=lacking)
    failpoint("checks.recorded", key)
    return stored


def _judged(case: Case, finding: Finding) -> Finding:
    """The word of the judge in place of a finding of facts; any other as it is."""
    if finding.verifier != facts.NAME:
        return finding
    judge = Judge.of(get_settings())
    if judge is None:
        return facts.not_judged("No judge of facts is set up (CORRAL_JUDGE)")
    with session_scope() as session:
        standing = Agreement(*judging.agreement(session, judge.name))
    return asyncio.run(judge.finding(case, standing))


def _found(finding: Finding) -> Found:
    said = asdict(finding)
    del said["again"]
    return Found(**said)


def _fail(claim: Claim, reason: str) -> bool:
    with session_scope() as session:
        ledger.fail(session, claim, reason, retry_in=RETRY_S)
    return False


@contextlib.contextmanager
def _kept(claim: Claim) -> Iterator[None]:
    """Renew the lease beside the block, as long as it takes."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(get_settings().check_lease / 3):
            try:
                with session_scope() as session:
                    ledger.renew(session, claim)
            except Exception as error:  # noqa: BLE001 - the database may be away for a moment; the next third tries again
                log.warning("check_not_renewed", check=claim.check_id, error=str(error).splitlines()[0])

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
