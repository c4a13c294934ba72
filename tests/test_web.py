"""The kernel of the pages: static files, markup rules, metrics, logs, the API's document."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from inspect import isfunction
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts import service
from app.accounts.models import Role
from app.kernel.settings import ROOT
from app.shell import assets, logs
from app.shell.assets import asset, bundle
from app.site import metrics
from app.site.main import create_app
from tests.factories import make_user, sign_in

TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
SCRIPTS = sorted((ROOT / "static/js").rglob("*.js"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_no_template_needs_a_laxer_policy(path: Path) -> None:
    markup = re.sub(r"{#.*?#}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"\sstyle\s*=", markup), "styles live in files"
    sent = re.sub(r"{%.*?%}", "", markup, flags=re.DOTALL)  # a block may give a value the name "one"
    assert not re.search(r"\son\w+\s*=", sent), "no handler in an attribute"
    assert "hx-on" not in markup
    assert not re.search(r"<script(?![^>]*\s(src=|type=\"application/json\"))", markup), "scripts live in files"
    assert "| safe" not in markup, "markup is made by app.kernel.markup, which says what is safe"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_writes_markup_from_text(path: Path) -> None:
    code = path.read_text(encoding="utf-8")
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert name not in code


def test_a_static_file_with_its_hash_is_kept_for_ever(client: TestClient) -> None:
    url = asset("css/base.css")
    assert "immutable" in client.get(url).headers["cache-control"]
    assert "immutable" not in client.get("/static/css/base.css").headers.get("cache-control", "")


def test_a_file_under_the_hash_of_another_version_is_not_kept(client: TestClient) -> None:
    for url in (asset("css/base.css"), bundle("site.css"), asset("icon.svg")):
        assert "immutable" in client.get(url).headers["cache-control"]
        assert client.get(url.partition("?")[0] + "?v=000000000000").headers["cache-control"] == "no-cache"


def imported(url: str, code: str) -> set[str]:
    """The addresses of what a module imports, at once or later, as a browser resolves them."""
    found = re.findall(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""", code)
    return {urljoin(url, name) for name in found}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_all_that_a_script_imports_is_of_its_version_and_kept_for_ever(client: TestClient, path: Path) -> None:
    url = asset(f"js/{path.name}")
    answer = client.get(url)
    assert answer.text == path.read_text(encoding="utf-8")
    assert answer.headers["content-type"].startswith("text/javascript")
    for each in {url} | imported(url, answer.text):
        assert each.rpartition("/")[0] == url.rpartition("/")[0]
        assert "immutable" in client.get(each).headers["cache-control"], each


def test_after_an_upgrade_a_page_gets_no_half_of_the_next_version(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(assets.STATIC, tmp_path / "static")
    monkeypatch.setattr(assets, "STATIC", tmp_path / "static")
    before = asset("js/annotate.js")
    with (tmp_path / "static/js/annotate-edit.js").open("a") as changed:
        changed.write("// another version\n")
    assert asset("js/annotate.js") != before, "what it imports has changed"
    assert client.get(asset("js/annotate.js")).status_code == 200
    answer = client.get(before.replace("annotate.js", "annotate-edit.js"))
    assert answer.status_code == 404
    assert "immutable" not in answer.headers.get("cache-control", "")


@pytest.mark.parametrize(
    "path", ["../app/kernel/db.py", "%2e%2e/app/kernel/db.py", "..%2fapp%2fkernel%2fdb.py", "css/%00"]
)
def test_nothing_outside_of_static_is_served(client: TestClient, path: str) -> None:
    response = client.get(f"/static/{path}")
    assert response.status_code in {400, 404}


@pytest.mark.parametrize("path", ["/users/invites", "/logout", "/theme", "/assignments/1/submit"])
def test_an_address_of_a_form_says_so_once(client: TestClient, session: Session, path: str) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    answer = client.get(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert "only accepts a submitted form" in answer.text
    assert "Method Not Allowed" not in answer.text


def test_an_address_names_all_methods_that_it_takes(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    document = client.get("/api/v1/openapi.json").json()
    for path, methods in document["paths"].items():
        answer = client.request("TRACE", re.sub("{.*?}", "1", path))
        assert answer.status_code == 405, path
        assert {name.lower() for name in answer.headers["allow"].split(", ")} >= set(methods), path


@pytest.mark.parametrize("path", ["/rounds/train", "/batches/abc", "/runs/1.5", "/prompts/²", "/api/v1/batches/abc"])
def test_an_address_that_names_no_row_shows_no_parsers_message(client: TestClient, session: Session, path: str) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    answer = client.get(path)
    assert answer.status_code == 404
    assert "integer" not in answer.text


def test_a_body_that_cannot_be_read_is_a_documented_refusal(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session))
    headers = {"content-type": "application/json"}
    for body in (b"\xff\xfe", b"{", b'{"batch_id": 1e400}', b"[" * 100_000):
        assert client.post("/api/v1/annotate/next", content=body, headers=headers).status_code == 422


def test_a_fragment_shows_no_frame_and_a_page_does(client: TestClient) -> None:
    assert "<html" in client.get("/nothing").text
    assert "<html" not in client.get("/nothing", headers={"hx-request": "true"}).text


def test_metrics_count_requests_by_template_and_never_by_path(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    client.get("/invite/a-secret-that-must-not-appear")
    client.get("/some/path/that/nobody/made")
    body = client.get("/metrics").text
    assert 'corral_request_seconds_count{method="GET",route="/invite/{secret}",status="404"}' in body
    assert "must-not-appear" not in body
    assert "nobody" not in body
    for gauge in metrics.HELP:
        assert f"\ncorral_{gauge} " in body
    assert "corral_db_pool_in_use" in body


def test_a_program_scrapes_with_a_token(client: TestClient, session: Session) -> None:
    token = service.create_token(session, make_user(session, Role.REVIEWER, "Rita"), "prometheus", ["read"])
    session.commit()
    response = client.get("/metrics", headers={"authorization": f"Bearer {token}"})
    assert response.headers["content-type"].startswith("text/plain")


def test_a_line_of_the_log_names_the_request_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(json=True)
    try:
        with TestClient(create_app()) as client:
            logs.configure(json=True)
            response = client.get("/invite/a-secret-link", headers={"x-request-id": "from-the-proxy-1"})
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    finally:
        logs.configure(json=False)
    line = next(each for each in lines if each.get("route") == "/invite/{secret}")
    assert response.headers["x-request-id"] == line["request_id"] == "from-the-proxy-1"
    assert line["event"] == "request"
    assert "a-secret-link" not in json.dumps(lines)


def test_a_request_id_that_could_forge_a_line_is_replaced(client: TestClient) -> None:
    assert client.get("/healthz", headers={"x-request-id": "a b c d e f g"}).headers["x-request-id"] != "a b c d e f g"


def test_what_is_named_like_a_secret_is_blanked() -> None:
    event: dict[str, Any] = {"event": "x", "password": "p", "api_token": "t", "cookie": "c", "max_tokens": 5}
    assert logs.redact(logging.getLogger(), "info", event) == {
        "event": "x",
        "password": "[redacted]",
        "api_token": "[redacted]",
        "cookie": "[redacted]",
        "max_tokens": 5,
    }


def test_the_document_of_the_api_says_how_it_fails_and_who_may_call_it(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session))
    document = client.get("/api/v1/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answers = operation["responses"]
            assert answers["401"] == {"$ref": "#/components/responses/Unauthenticated"}, (method, path)
            assert operation["x-access"] != "anyone", (method, path)
            assert "HTTPValidationError" not in json.dumps(operation)
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_the_document_lists_the_idempotency_key_where_it_is_read_and_nowhere_else() -> None:
    web = create_app()
    document = web.openapi()
    for route in web.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            reads = calls_once(route.endpoint) or takes_key_itself(route)
            for method in route.methods:
                described = document["paths"][route.path_format][method.lower()].get("parameters", [])
                listed = [each["name"] for each in described].count("Idempotency-Key")
                assert listed == int(reads), (method, route.path)


def calls_once(endpoint: Callable[..., Any]) -> bool:
    """Whether the endpoint calls :func:`once`, itself or through a helper of its module."""
    named = endpoint.__code__.co_names
    helpers = (endpoint.__globals__.get(name) for name in named if name.startswith("_"))
    return "once" in named or any("once" in each.__code__.co_names for each in helpers if isfunction(each))


def takes_key_itself(route: APIRoute) -> bool:
    """Whether the header is a parameter of the endpoint's own, as it is where a judgement is submitted."""
    return any(each.alias == "Idempotency-Key" for each in route.dependant.header_params)


def test_every_example_has_what_its_schema_demands() -> None:
    schemas = create_app().openapi()["components"]["schemas"]
    shown = 0
    for name, schema in schemas.items():
        for example in [*schema.get("examples", []), *([schema["example"]] if "example" in schema else [])]:
            shown += 1
            needed = {each for each in schema.get("required", []) if "null" not in str(schema["properties"][each])}
            assert needed <= example.keys() <= schema["properties"].keys(), name  # FastAPI leaves null out of examples
    assert shown
    for name in ("TokenOut", "TokenSecret", "SnapshotDetail", "UseJson", "ExportFilter"):
        assert schemas[name]["examples"], name


def test_people_can_read_about_every_operation(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session))
    document, page = client.get("/api/v1/openapi.json").json(), client.get("/api").text
    for path in document["paths"]:
        assert f"<code>{path}</code>" in page
