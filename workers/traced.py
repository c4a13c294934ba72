"""A span for each job, in the trace of whoever rang for it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from celery.signals import task_postrun, task_prerun, worker_process_shutdown, worker_shutdown

from app.kernel import tracing

_open: dict[str, ExitStack] = {}
"""Task id → its span."""


@task_prerun.connect
def begin(task_id: str = "", task: Any = None, **_: Any) -> None:
    """Open the span; what the job does belongs to it."""
    if not tracing.wanted():
        return
    given = getattr(task.request, tracing.HEADER, None) or (task.request.headers or {}).get(tracing.HEADER)
    _open[task_id] = stack = ExitStack()
    carrier = {tracing.HEADER: given} if given else None
    stack.enter_context(tracing.span(task.name, "consumer", carrier, messaging_message_id=task_id))


@task_postrun.connect
def end(task_id: str = "", retval: Any = None, **_: Any) -> None:
    """Close it, with the kind of the error that ended the job; the log has its words."""
    stack = _open.pop(task_id, None)
    if stack is not None:
        failed = retval if isinstance(retval, Exception) else None
        stack.__exit__(type(failed) if failed else None, failed, None)


@worker_process_shutdown.connect
@worker_shutdown.connect
def send_the_rest(**_: Any) -> None:
    """A pool's child ends without its clean-up."""
    tracing.flush()
