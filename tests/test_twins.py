"""What a page does, a program can do: every form that changes something has a route of the API beside it, or a reason why not."""

from __future__ import annotations

from fastapi import FastAPI

from tests.security.doors import SAFE, doors

BROWSER = "about this browser, or the account's own way in"
TWINS = {
    "/annotate": "POST /annotate/next",
    "/assignments/{assignment_id}/draft": "PUT /assignments/{assignment_id}/draft",
    "/batches/new": "POST /batches",
    "/batches/new/dialogues": "POST /batches/dialogues",
    "/batches/{batch_id}/close": "POST /batches/{batch_id}/state",
    "/batches/{batch_id}/open": "POST /batches/{batch_id}/state",
    "/batches/{batch_id}/pause": "POST /batches/{batch_id}/state",
    "/batches/{batch_id}/documents/{document_id}/delete": "DELETE /batches/{batch_id}/documents/{document_id}",
    "/batches/{batch_id}/assign": "PATCH /batches/{batch_id}",
    "/batches/{batch_id}/guidelines": "PATCH /batches/{batch_id}",
    "/batches/{batch_id}/settings": "PATCH /batches/{batch_id}",
    "/contests/{contest_id}/override": "POST /rounds/{number}/override",
    "/desk/rate": "PUT /desk/rate",
    "/desk/rate/remove": "DELETE /desk/rate",
    "/desk/views/{view_id}/delete": "DELETE /desk/views/{view_id}",
    "/dialogues/{dialogue_id}/turns/{turn_id}/stop": "POST /live/{generation_id}/stop",
    "/playground/{trial_id}/stop": "POST /live/{generation_id}/stop",
    "/profile/languages": "PATCH /me",
    "/profile/name": "PATCH /me",
    "/retractions/{retraction_id}/retrain": "POST /training-runs",
    "/review/annotations/{annotation_id}/accept": "POST /review/annotations/{annotation_id}/reviews",
    "/review/annotations/{annotation_id}/return": "POST /review/annotations/{annotation_id}/reviews",
    "/rounds/train": "POST /training-runs",
    "/runs/{run_id}/cancel": "POST /training-runs/{run_id}/cancel",
    "/runs/{run_id}/retry": "POST /training-runs/{run_id}/retry",
    "/sources/{source_id}/file/delete": "DELETE /sources/{source_id}/file",
    "/sources/{source_id}/weight": "PATCH /sources/{source_id}",
    "/teams/{team_id}": "PATCH /teams/{team_id}",
    "/teams/{team_id}/add": "POST /teams/{team_id}/members",
    "/teams/{team_id}/delete": "DELETE /teams/{team_id}",
    "/teams/{team_id}/remove": "POST /teams/{team_id}/members",
    "/tokens/{token_id}/revoke": "DELETE /tokens/{token_id}",
    "/webhooks/{webhook_id}/delete": "DELETE /webhooks/{webhook_id}",
    "/users/invites/{invite_id}/withdraw": "DELETE /users/invites/{invite_id}",
}
"""Where page and program call it differently; elsewhere the route is the same behind ``/api/v1``."""
ALONE = {
    "/goal": BROWSER,
    "/invite/{secret}": BROWSER,
    "/login": BROWSER,
    "/login/code": BROWSER,
    "/logout": BROWSER,
    "/theme": BROWSER,
    "/locale": BROWSER,
    "/preferences/display": BROWSER,
    "/profile/keys": BROWSER,
    "/profile/keys/reset": BROWSER,
    "/profile/password": BROWSER,
    "/profile/provider/connect": BROWSER,
    "/profile/provider/disconnect": BROWSER,
    "/profile/second-step/begin": BROWSER,
    "/profile/second-step/codes": BROWSER,
    "/profile/second-step/confirm": BROWSER,
    "/profile/second-step/off": BROWSER,
    "/profile/sessions/end-others": BROWSER,
    "/profile/sessions/{session_id}/end": BROWSER,
    "/tour/{number}": "discusses an example on its page, and stores nothing",
    "/tour/finish": "a person has read the tour, which a program cannot do for them",
    "/preview": "draws Markdown for a page",
    "/batches/new/look": "nothing is changed: how the judging page of a batch will look",
    "/uploads/{upload_id}/confirm": "POST /batches takes file and settings at once, and refuses before it stores",
    "/uploads/{upload_id}/discard": "POST /batches takes file and settings at once",
}


def _plain(path: str) -> str:
    return path.replace(":int}", "}")


def test_whatever_a_page_changes_a_program_can_change(web: FastAPI) -> None:
    all_doors = doors(web)
    api = {f"{door.method} {_plain(door.template)}".replace("/api/v1", "") for door in all_doors if door.is_api}
    pages = {_plain(door.template) for door in all_doors if not door.is_api and door.method not in SAFE}
    missing = {page for page in pages - ALONE.keys() if TWINS.get(page, f"POST {page}") not in api}
    assert missing == set()
    assert ALONE.keys() <= pages, "there is no such page any more"
    assert TWINS.keys() <= pages, "there is no such page any more"
    assert {page for page in TWINS if f"POST {page}" in api} == set(), "they are called alike now"
