"""What patterns find is masked in every text of every view, or its judgement is left out; what counts characters still holds."""

from __future__ import annotations

import json
import secrets
import zipfile
from io import BytesIO
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import recording
from app.annotations.forms import Submission
from app.judgements.vocabulary import Outcome
from app.kernel.errors import Conflict
from app.kernel.settings import get_settings
from app.preferences import files, service
from app.preferences.download import snapshot_card
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter, Treatment
from app.preferences.private.kinds import Kind, Passage
from app.preferences.private.masking import Masker, masked, moved
from tests.exporting import exported
from tests.factories import make_batch, make_comparison, make_labelling, make_labels, make_prompt, make_user

MASK, LEAVE_OUT = ExportFilter(private=Treatment.MASK), ExportFilter(private=Treatment.LEAVE_OUT)
WORDS = (
    "jane@example.com",
    "+49 30 901820",
    "4111 1111 1111 1111",
    "bob@example.com",
    "kim@example.com",
    "eve@example.com",
)


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, name="Alice")


@pytest.fixture
def judged(session: Session, alice: User) -> int:
    """A judgement whose prompt, responses, edit, marked passage and comment hold private data, beside one without any."""
    batch = make_batch(session)
    prompt = make_prompt(session, batch, "给 jane@example.com 写信 👩‍👩‍👧")
    prompt.reference, prompt.extra = f"see {WORDS[1]}", {"by": WORDS[5], "big": 1}
    comparison = make_comparison(
        session, prompt=prompt, texts=[f"Card {WORDS[2]}, ok. Good.", "Rufen Sie +49 30 901820 an."]
    )
    first = recorded(
        session,
        alice,
        comparison.batch_id,
        edited_text=f"Karte {WORDS[2]}: {WORDS[3]}",
        comment=f"ask {WORDS[4]}",
        spans=[{"position": "A", "start": 0, "end": 4, "label": "good", "note": f"of {WORDS[4]}"}],
    )
    recorded(session, alice, make_comparison(session).batch_id)
    return first


def recorded(session: Session, user: User, batch_id: int, **said: Any) -> int:
    from app.annotations import service as annotating  # the name of both

    held = annotating.next_assignment(session, user, batch_id)
    assert held is not None
    fields: dict[str, Any] = {"outcome": Outcome.RANKED, "ranking": [["A"], ["B"]], "strengths": [3]} | said
    told = Submission(fencing_token=held.fencing_token, **fields)
    found = recording.submit(session, user, held.id, told, key=secrets.token_hex(8)).id
    session.commit()
    return found


@pytest.mark.parametrize("form", Format)
def test_no_view_holds_what_was_masked_and_all_keep_their_rows(session: Session, judged: int, form: Format) -> None:
    for shape in Shape:
        plain, before = exported(session, shape, form, ExportFilter())
        body, rows = exported(session, shape, form, MASK)
        assert rows == before, shape
        said = _said(body, form)
        assert [word for word in WORDS if word in said] == [], shape
        assert bool([word for word in WORDS if word in _said(plain, form)]) == bool(before), shape
        if form is not Format.ZIP:  # which holds the time
            assert exported(session, shape, form, MASK)[0] == body, "it is the same every time"


def _said(body: bytes, form: Format) -> str:
    """Everything in the file as text; a Parquet file's texts may be packed."""
    import pyarrow.parquet as pq

    if form is Format.PARQUET:
        return orjson.dumps(pq.read_table(BytesIO(body)).to_pylist(), default=str).decode()
    if form is Format.ZIP:
        with zipfile.ZipFile(BytesIO(body)) as folder:
            names = folder.namelist()
            return "".join(
                _said(folder.read(name), Format.PARQUET if name.endswith(".parquet") else Format.JSON) for name in names
            )
    return body.decode()


def test_rows_say_what_was_masked_and_what_counts_characters_still_holds(session: Session, judged: int) -> None:
    body, _ = exported(session, Shape.CANONICAL, Format.JSONL, MASK)
    first, second = (json.loads(line) for line in body.splitlines())
    assert (first["annotation_id"], first["masked"], second["masked"]) == (judged, ["card", "email", "phone"], [])
    assert first["prompt"][0]["content"] == "给 [EMAIL] 写信 👩‍👩‍👧"
    texts = {first["chosen"][0]["content"], first["rejected"][0]["content"]}
    assert texts == {"Card [CARD], ok. Good.", "Rufen Sie [PHONE] an."}
    assert first["edited"][0]["content"] == "Karte [CARD]: [EMAIL]"
    assert (first["comment"], first["reference"]) == ("ask [EMAIL]", "see [PHONE]")
    assert first["metadata"] == {"by": "[EMAIL]", "big": 1}
    assert (first["spans"][0]["start"], first["spans"][0]["end"], first["spans"][0]["note"]) == (0, 4, "of [EMAIL]")
    plain, _ = exported(session, Shape.CANONICAL, Format.JSONL, ExportFilter())
    assert json.loads(plain.splitlines()[0])["masked"] is None
    assert json.loads(plain.splitlines()[0])["prompt_hash"] == first["prompt_hash"], "the side of the split is the same"


def test_judgements_with_any_can_be_left_out(session: Session, judged: int) -> None:
    body, rows = exported(session, Shape.CANONICAL, Format.JSONL, LEAVE_OUT)
    assert rows == 1
    assert [json.loads(line)["annotation_id"] for line in body.splitlines()] != [judged]


def test_the_card_says_what_was_done_by_what_and_what_is_missed(session: Session, judged: int) -> None:
    body, _ = exported(session, Shape.TRL, Format.ZIP, ExportFilter(private=Treatment.MASK))
    with zipfile.ZipFile(BytesIO(body)) as folder:
        card = folder.read("README.md").decode()
    assert "private data that patterns find masked" in card
    assert "These were 1 judgement, with 3 payment card numbers" in card or "2 payment card numbers" in card
    for word in ("google-re2 1.", "phonenumberslite 9.", "**What that misses**", "names", "images", "other countries"):
        assert word in card
    body, _ = exported(session, Shape.TRL, Format.ZIP, ExportFilter())
    with zipfile.ZipFile(BytesIO(body)) as folder:
        assert "may hold what is private or unsafe" in folder.read("README.md").decode()


def test_snapshots_mask_their_prompts_too(session: Session, judged: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.kernel.jobs.ring", lambda *_: True)
    snapshot = service.request_snapshot(session, None, MASK)
    service.build_snapshot(session, snapshot)
    session.commit()
    folder = files.folder(snapshot)
    for file in folder.iterdir():
        assert not [word for word in WORDS if word in file.read_text()], file.name
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["private"]["judgements_or_prompts"] == manifest["private_in_prompts"]["judgements_or_prompts"] == 1
    assert manifest["filter"]["private"] == "mask"
    assert "google-re2" in manifest["private_found_by"]
    assert bytes(snapshot_card(snapshot).body) == (folder / "README.md").read_bytes()
    left = service.request_snapshot(session, None, LEAVE_OUT)
    service.build_snapshot(session, left)
    lines = (get_settings().snapshots_dir / left.name / "prompts.jsonl").read_text().splitlines()
    assert len(lines) == 1


def test_where_everything_is_left_out_there_is_nothing_to_freeze(session: Session, alice: User) -> None:
    made = make_comparison(session, texts=["a@example.com", "b"])
    recorded(session, alice, made.batch_id)
    snapshot = service.request_snapshot(session, None, LEAVE_OUT)
    with pytest.raises(Conflict, match="Nothing to freeze"):
        service.build_snapshot(session, snapshot)


def test_steps_are_cut_where_they_were(session: Session, alice: User) -> None:
    made = make_labelling(session, "Ask jane@example.com first.\n\nThen add 2 and 2.")[0]
    make_labels(session, alice, made, 1, -1, right_step="Then ask bob@example.com.")
    body, _ = exported(session, Shape.STEPWISE, Format.JSONL, MASK)
    steps = [json.loads(line)["completions"] for line in body.splitlines()]
    assert steps == [["Ask [EMAIL] first.", "Then add 2 and 2."], ["Ask [EMAIL] first.", "Then ask [EMAIL]."]]


def test_numbers_between_the_texts_of_json_stay_as_they_are() -> None:
    said = '{"n": 123456789012345678901234567890, "mail": "x \\u00fc@bb.de \\"q\\" c@dd.com", "k": ["a@bc.de"]}'
    after = Masker(None).json("metadata", said)
    assert after is not None
    assert '"n": 123456789012345678901234567890' in after
    assert json.loads(after)["mail"] == 'x [EMAIL] "q" [EMAIL]'
    assert json.loads(after)["k"] == ["[EMAIL]"]
    assert Masker(None).json("metadata", '{"a":  "b c d e f"}') == '{"a":  "b c d e f"}'


@settings(max_examples=50)
@given(
    st.text(alphabet="aé日👩\u0301 ", max_size=12), st.text(alphabet="aé日👩\u0301 ", max_size=12), st.integers(0, 60)
)
def test_places_move_with_the_text(before: str, after: str, place: int) -> None:
    text = f"{before}jane@example.com{after}"
    there = [Passage(len(before), len(before) + 16, Kind.EMAIL)]
    place = min(place, len(text))
    start, end = moved(place, there, ends=False), moved(place, there, ends=True)
    hidden = masked(text, there)
    assert hidden[end:] == after[max(0, place - len(before) - 16) :] or place <= len(before)
    assert hidden[:start] == text[:place] or place > len(before)
