"""The OpenAPI document and the application agree: whatever is sent, the answer is one that the document knows.

schemathesis makes the requests from the document: valid and invalid ones, by enumeration and at random, with an id that there is
in every other path. ``CORRAL_CONTRACT_EXAMPLES`` asks for more of them than continuous integration has time for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi import checks
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import Role, User
from app.candidates import live
from app.playground import service as playground
from app.playground.forms import Ask
from tests.factories import make_user
from tests.talking import begin_dialogue, judge_turn, say, write_replies

EXAMPLES = int(os.environ.get("CORRAL_CONTRACT_EXAMPLES", "2"))
"""Random requests of each kind to an operation; ten times as many are enumerated."""
STREAMS = [
    "/api/v1/live/{generation_id}/events",
    "/api/v1/dialogues/{dialogue_id}/turns/{turn_id}/events",
    "/api/v1/playground/{trial_id}/events",
]
"""They are answered until a text ends, and none ends here: ``tests/workers/test_live_pace.py`` follows them."""
EXCLUDED = [checks.positive_data_acceptance, checks.ignored_auth]
"""What the schema allows may still be refused, for what the rows say; strangers knock in ``tests/security/test_doors.py``."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    # schemathesis hands bytes to the client as data
    pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning"),
]


@dataclass(frozen=True)
class Caller:
    """Whose token is sent, and an id that they know for each parameter of a path."""

    token: str
    ids: dict[str, int]


@pytest.fixture(params=[Role.ADMIN, Role.ANNOTATOR])
def caller(session: Session, request: pytest.FixtureRequest) -> Caller:
    """Bob or Alice, in an installation in which there is one of each thing."""
    user: User = make_user(session, request.param, "Somebody")
    dialogue = begin_dialogue(session, user)
    turn = say(session, user, dialogue, "One")
    generation = live.replies(session, turn.id)[0]
    write_replies(session, turn, "a", "b")
    annotation = judge_turn(session, user, turn)
    trial = playground.ask(session, user, Ask(message="Two?", key="trial"))
    _, secret = accounts.issue_token(session, user, "contract", accounts.allowed_scopes(user))
    spare, _ = accounts.issue_token(session, user, "spare", ["read"])
    session.commit()
    ids = {
        "assignment_id": annotation.assignment_id,
        "annotation_id": annotation.id,
        "batch_id": dialogue.batch_id,
        "comparison_id": annotation.comparison_id,
        "checkpoint_id": generation.deployment.checkpoint_id,
        "dialogue_id": dialogue.id,
        "turn_id": turn.id,
        "generation_id": generation.id,
        "trial_id": trial.id,
        "user_id": user.id,
        "token_id": spare.id,
    }
    return Caller(secret, ids)


@pytest.fixture(scope="module")
def document(web: FastAPI) -> BaseSchema:
    """What schemathesis reads off the document."""
    return schemathesis.openapi.from_dict(web.openapi()).exclude(path=STREAMS)


class Knocker:
    """Sends requests, each to the same installation, and notes which answers the document does not know."""

    def __init__(self, client: TestClient, connection: Connection, caller: Caller) -> None:
        self.client, self.connection, self.caller = client, connection, caller
        self.sent = 0
        self.found: dict[str, str] = {}

    def send(self, case: Case) -> None:
        self.sent += 1
        if self.sent % 2 and case.meta and case.meta.generation.mode is GenerationMode.POSITIVE:
            for name in case.path_parameters.keys() & self.caller.ids.keys():
                case.path_parameters[name] = self.caller.ids[name]
        headers = {"authorization": f"Bearer {self.caller.token}"}
        options = case.as_transport_kwargs(base_url="http://testserver", headers=headers)
        if options.get("files"):  # a file that is a number is sent as its digits
            options["files"] = [(name, _part(value)) for name, value in dict(options["files"]).items()]
        for name, value in (options.pop("cookies", None) or {}).items():
            options["headers"]["cookie"] = f"{name}={value}"
        with self.connection.begin_nested() as before:
            response = self.client.request(**options)
            before.rollback()
        response.request.read()  # a form of several parts is a stream
        try:
            case.validate_response(response, excluded_checks=EXCLUDED)
        except (Failure, FailureGroup) as failed:
            for each in failed.exceptions if isinstance(failed, FailureGroup) else [failed]:
                name = f"{case.operation.label}: {getattr(each, 'title', '')} ({case.method} {response.status_code})"
                self.found.setdefault(name, str(failed))


def _part(value: object) -> object:
    """A part of a form as the client takes it."""
    if isinstance(value, tuple):
        return (value[0], *(each if isinstance(each, str | bytes) else str(each) for each in value[1:2]), *value[2:])
    return value if isinstance(value, str | bytes) else str(value)


def enumerated(operation: APIOperation) -> Iterator[Case]:
    """What the document's own limits suggest."""
    cases = operation.schema.iter_coverage_cases(
        operation,
        generation_modes=list(GenerationMode),
        generation_config=operation.schema.config.generation_for(operation=operation),
    )
    yield from (case for at, case in enumerate(cases) if at < 10 * EXAMPLES)


def test_every_answer_is_one_that_the_document_knows(
    document: BaseSchema, client: TestClient, connection: Connection, caller: Caller
) -> None:
    knocker = Knocker(client, connection, caller)
    few = settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for result in document.get_all_operations():
        operation = result.ok()
        for case in enumerated(operation):
            knocker.send(case)
        for mode in GenerationMode:
            few(given(operation.as_strategy(generation_mode=mode))(knocker.send))()  # type: ignore[no-untyped-call]
    assert knocker.sent > 500
    assert not knocker.found, "\n\n".join(f"{name}\n{said}" for name, said in knocker.found.items())


def test_a_method_that_an_address_does_not_take_is_answered_with_those_that_it_takes(
    web: FastAPI, client: TestClient, caller: Caller
) -> None:
    headers = {"authorization": f"Bearer {caller.token}"}
    for path, operations in web.openapi()["paths"].items():
        taken = {method.upper() for method in operations}
        url = re.sub(r"{(\w+)}", lambda name: str(caller.ids.get(name[1], 1)), path)
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - taken:
            answer = client.request(method, url, headers=headers)
            allowed = {each.strip() for each in answer.headers.get("allow", "").split(",")} - {"HEAD"}
            assert (answer.status_code, allowed) == (405, taken), f"{method} {path}"
