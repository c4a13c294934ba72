"""The client itself: a method for each thing that a program does with Corral."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from app.client import models as m
from app.client import outcomes as o
from app.client.connection import Connection, Rows, named, sent, until
from app.client.errors import CorralError, NoAnswer


class Client(Connection):
    """Corral, as one person's token may use it. ``with Client(url, token) as corral: …`` closes it at the end."""

    def me(self) -> m.Me:
        """Whom the token belongs to."""
        return self._wire.read(m.Me, "GET", "/me")

    # ── Batches and prompts (reviewers read, admins write) ───────────────────────────────────────────────────────────
    def batches(self) -> Iterator[m.BatchJson]:
        """All batches, newest first."""
        return self._pages(m.BatchList, "/batches", "before", lambda page: page.batches)

    def batch(self, batch_id: int) -> m.BatchJson:
        """One batch with its counts."""
        return self._wire.read(m.BatchJson, "GET", f"/batches/{batch_id}")

    def create_batch(self, file: Rows, **settings: Any) -> m.ImportedJson:
        """Import prompts as a new batch, which is prepared and not open yet.

        ``file`` is the path of a file in any format that Corral reads, or rows as ``{"prompt": …}``. ``settings`` are those of
        ``POST /batches``, ``name`` among them.
        """
        return self._wire.read(m.ImportedJson, "POST", "/batches", **sent(file, settings))

    def append(self, batch_id: int, file: Rows, **settings: Any) -> m.AppendedJson:
        """Add prompts to a batch that is not closed. What it has already is skipped and counted.

        ``file`` is as for :meth:`create_batch`; ``settings`` are those of ``POST /batches/{id}/prompts``.
        """
        return self._wire.read(m.AppendedJson, "POST", f"/batches/{batch_id}/prompts", **sent(file, settings))

    def preview_append(self, batch_id: int, file: Rows, **settings: Any) -> m.AppendPreviewJson:
        """What :meth:`append` would do now, with the same arguments; nothing is added."""
        path = f"/batches/{batch_id}/prompts/preview"
        return self._wire.read(m.AppendPreviewJson, "POST", path, **sent(file, settings))

    def change_batch(self, batch_id: int, **settings: Any) -> m.BatchJson:
        """Change the settings of a batch; what is not named stays."""
        return self._wire.read(m.BatchJson, "PATCH", f"/batches/{batch_id}", json=settings)

    def teams(self) -> list[m.TeamJson]:
        """All teams, by name, with the people in them. ``teams`` of :meth:`create_batch` assign a batch to some."""
        return self._wire.read(m.TeamList, "GET", "/teams").teams

    def create_team(self, name: str, people: Sequence[int] = ()) -> m.TeamJson:
        """Make a team of people, by their ids."""
        return self._wire.read(m.TeamJson, "POST", "/teams", json={"name": name, "people": list(people)})

    def change_team(self, team_id: int, *, add: Sequence[int] = (), remove: Sequence[int] = ()) -> m.TeamJson:
        """Add people to a team and take people out, by their ids."""
        wish = {"add": list(add), "remove": list(remove)}
        return self._wire.read(m.TeamJson, "POST", f"/teams/{team_id}/members", json=wish)

    def rename_team(self, team_id: int, name: str) -> m.TeamJson:
        """Give a team another name."""
        return self._wire.read(m.TeamJson, "PATCH", f"/teams/{team_id}", json={"name": name})

    def delete_team(self, team_id: int) -> m.TeamJson:
        """Delete a team; the answer is the team as it was."""
        return self._wire.read(m.TeamJson, "DELETE", f"/teams/{team_id}")

    def set_state(self, batch_id: int, state: str) -> m.BatchJson:
        """``open``, ``paused`` or ``closed``."""
        return self._wire.read(m.BatchJson, "POST", f"/batches/{batch_id}/state", json={"state": state})

    def prompts(
        self, batch_id: int, *, state: str | None = None, origin: str | None = None, language: str | None = None
    ) -> Iterator[m.PromptJson]:
        """The prompts of a batch in the order of their file."""
        only = {"state": state, "origin": origin, "language": language}
        return self._pages(m.PromptList, f"/batches/{batch_id}/prompts", "after", lambda page: page.prompts, **only)

    def prompt(self, prompt_id: int) -> m.PromptDetail:
        """One prompt with its responses."""
        return self._wire.read(m.PromptDetail, "GET", f"/prompts/{prompt_id}")

    def withdraw(self, prompt_id: int) -> m.PromptJson:
        """Take a prompt out of its batch before anybody has judged it."""
        return self._wire.read(m.PromptJson, "POST", f"/prompts/{prompt_id}/withdraw")

    def restore(self, prompt_id: int) -> m.PromptJson:
        """Put a withdrawn prompt back."""
        return self._wire.read(m.PromptJson, "POST", f"/prompts/{prompt_id}/restore")

    def wait_for_responses(self, batch_id: int, *, seconds: float = 3600.0, every: float = 2.0) -> m.BatchJson:
        """Wait until every prompt of a batch has its responses, or has failed for good.

        Raises:
            TimeoutError: not within ``seconds``.
        """
        with self._bar("responses") as bar:

            def look() -> m.BatchJson | None:
                batch = self.batch(batch_id)
                of = batch.progress
                bar.at(of.prompts - of.pending - of.generating, of.prompts)
                return batch if of.pending + of.generating == 0 else None

            return until(look, f"the responses of batch {batch_id}", seconds, every)

    # ── Judging ──────────────────────────────────────────────────────────────────────────────────────────────────────
    def next_item(self, batch_id: int | None = None) -> m.AssignmentOut | None:
        """The next item for you, of one batch or of any; None where there is nothing to do."""
        wish = {} if batch_id is None else {"batch_id": batch_id}
        response = self._wire.send("POST", "/annotate/next", json=wish)
        return m.AssignmentOut.model_validate_json(response.content) if response.content else None

    def submit(self, item: m.AssignmentOut, *, outcome: str, **said: Any) -> m.AnnotationOut:
        """Judge an item.

        ``outcome`` is ``ranked``, ``tie`` or ``all_unacceptable``. Of ``ranked``, ``ranking`` has the positions from best to
        worst, ties together (``[["A"], ["B", "C"]]``), and ``strengths`` a number for each step down: 4 significantly, 3
        better, 2 slightly, 1 marginally. ``edited_text`` is your improved version of the best one; what else there is stands
        at ``POST /assignments/{id}/submit``.
        """
        body = {"fencing_token": item.fencing_token, "outcome": outcome, **said}
        return self._wire.read(m.AnnotationOut, "POST", f"/assignments/{item.id}/submit", json=body)

    def skip(self, item: m.AssignmentOut, reason: str) -> None:
        """Leave an item to others."""
        self._wire.send("POST", f"/assignments/{item.id}/skip", json={"reason": reason})

    # ── What came of it ──────────────────────────────────────────────────────────────────────────────────────────────
    def rows(self, **wish: Any) -> Iterator[dict[str, Any]]:
        """Preferences as they stand now, row by row. ``wish`` are the parameters of ``GET /preferences/export``.

        A connection that breaks ends it with :class:`NoAnswer`, never as if that were all.
        """
        with self._wire.stream("GET", "/preferences/export", params=wish | {"format": "jsonl"}) as response:
            try:
                yield from (json.loads(line) for line in response.iter_lines() if line)
            except httpx.TransportError as error:
                raise NoAnswer(f"The export broke off: {str(error) or type(error).__name__}. Ask again.") from error

    def export(self, file: Path | str, **wish: Any) -> Path:
        """Preferences as they stand now, into a file, which appears whole or not at all."""
        return self._download("/preferences/export", Path(file), wish)

    def private(self, **wish: Any) -> Iterator[o.PrivateJson]:
        """Search an export for private data before it leaves, a part at a time: how much, and where; stop when you like.

        ``wish`` are filters of the export and a ``shape``. Then export with ``private="mask"`` or ``private="leave_out"``.
        """
        after, searched = 0, 0
        with self._bar("search for private data", unit=" judgements") as bar:
            while True:
                part = self._wire.read(o.PrivateJson, "GET", "/preferences/private", params=wish | {"after": after})
                searched += part.searched
                bar.at(searched, part.of)
                yield part
                if part.next is None:
                    return
                after = part.next

    def snapshots(self) -> Iterator[o.SnapshotJson]:
        """Frozen exports, newest first."""
        return self._pages(o.SnapshotList, "/snapshots", "before", lambda page: page.snapshots)

    def freeze(self, *, seconds: float = 3600.0, every: float = 1.0, **filters: Any) -> o.SnapshotJson:
        """Freeze an export, and wait until it is built (admins). ``filters`` are those of ``POST /snapshots``.

        Raises:
            TimeoutError: not within ``seconds``.
            CorralError: it could not be built, with the reason.
        """
        made = self._wire.read(o.SnapshotJson, "POST", "/snapshots", json={"filter": filters})

        def look() -> o.SnapshotJson | None:
            found = self._wire.read(o.SnapshotJson, "GET", f"/snapshots/{made.id}")
            if found.state == "failed":
                raise CorralError(f"Snapshot {found.name} could not be built: {found.error}")
            return found if found.state == "ready" else None

        with self._bar("snapshot"):
            return until(look, f"snapshot {made.name}", seconds, every)

    def download_snapshot(self, snapshot_id: int, file: Path | str, **wish: Any) -> Path:
        """The rows of a snapshot into a file, which appears whole or not at all."""
        return self._download(f"/snapshots/{snapshot_id}/preferences.jsonl", Path(file), wish)

    def better(self) -> o.BetterJson:
        """Whether the model is getting better (reviewers)."""
        return self._wire.read(o.BetterJson, "GET", "/better")

    def rounds(self) -> o.RoundList:
        """The rounds, and what a training would learn from now (reviewers)."""
        return self._wire.read(o.RoundList, "GET", "/rounds")

    def contests(self) -> Iterator[o.ContestJson]:
        """Contests, newest first (reviewers)."""
        return self._pages(o.ContestList, "/contests", "before", lambda page: page.contests)

    def challenge(self, checkpoint_id: int) -> o.ContestJson:
        """Let people compare a policy that was trained elsewhere with the champion (admins)."""
        return self._wire.read(o.ContestJson, "POST", f"/checkpoints/{checkpoint_id}/challenge")

    def checkpoints(self) -> Iterator[o.CheckpointJson]:
        """Checkpoints, newest first (reviewers)."""
        return self._pages(o.CheckpointList, "/checkpoints", "before", lambda page: page.checkpoints)

    # ── Sources for training (reviewers read, admins write) ──────────────────────────────────────────────────────────
    def sources(self) -> Iterator[o.SourceJson]:
        """Files of preferences or answers from elsewhere, newest first, withdrawn ones among them."""
        return self._pages(o.SourceList, "/sources", "before", lambda page: page.sources)

    def source(self, source_id: int) -> o.SourceDetail:
        """One source with the runs that learn from it."""
        return self._wire.read(o.SourceDetail, "GET", f"/sources/{source_id}")

    def add_source(self, file: Rows, *, name: str, kind: str, origin: str, **settings: Any) -> o.SourceJson:
        """Add a file of ``kind`` ``preferences`` or ``completions``; no training learns from it until it has a weight.

        ``origin`` is ``human``, ``other_task`` or ``synthetic``; ``settings`` are the others of ``POST /sources``.
        """
        about = {"name": name, "kind": kind, "origin": origin, **settings}
        return self._wire.read(o.SourceJson, "POST", "/sources", **sent(file, about))

    def weigh_source(self, source_id: int, weight: float) -> o.SourceJson:
        """Set how many times an epoch has each of its rows, in trainings that start from now on; 0 is none."""
        return self._wire.read(o.SourceJson, "PATCH", f"/sources/{source_id}", json={"weight": weight})

    def withdraw_source(self, source_id: int) -> o.SourceJson:
        """No training that starts later learns from it; this is for good."""
        return self._wire.read(o.SourceJson, "POST", f"/sources/{source_id}/withdraw")

    def delete_source_file(self, source_id: int) -> o.SourceJson:
        """Delete the file of a withdrawn source that no unfinished run needs; its hash stays."""
        return self._wire.read(o.SourceJson, "DELETE", f"/sources/{source_id}/file")

    # ── Training (admins) ────────────────────────────────────────────────────────────────────────────────────────────
    def train(self, weights: Mapping[int, float] | None = None) -> list[o.RunJson]:
        """Freeze a snapshot, and queue the runs of a round; ``weights`` of sources, by id, hold for this training alone."""
        return self._wire.read(o.StartedRuns, "POST", "/training-runs", json={"weights": weights or {}}).training_runs

    def runs(self) -> Iterator[o.RunJson]:
        """Training runs, newest first."""
        return self._pages(o.RunList, "/training-runs", "before", lambda page: page.training_runs)

    def run(self, run_id: int) -> o.RunJson:
        """One training run."""
        return self._wire.read(o.RunJson, "GET", f"/training-runs/{run_id}")

    def wait_for_run(self, run_id: int, *, seconds: float = 86_400.0, every: float = 5.0) -> o.RunJson:
        """Wait until a run has succeeded.

        Raises:
            TimeoutError: not within ``seconds``.
            CorralError: it failed or was cancelled, with the reason and the remedy.
        """
        with self._bar(f"run {run_id}", unit=" steps") as bar:

            def look() -> o.RunJson | None:
                found = self.run(run_id)
                bar.at(found.step, found.total_steps)
                if found.state in {"failed", "cancelled"}:
                    why = " ".join(filter(None, (found.error, found.remedy)))
                    raise CorralError(f"Run {run_id} {found.state}. {why}".strip())
                return found if found.state == "succeeded" else None

            return until(look, f"run {run_id}", seconds, every)

    # ── People ───────────────────────────────────────────────────────────────────────────────────────────────────────
    def people(self) -> o.PeopleJson:
        """Everyone, and the open invitations (admins)."""
        return self._wire.read(o.PeopleJson, "GET", "/users")

    def invite(self, role: str, password: str, email: str | None = None) -> o.InviteSecret:
        """Invite somebody (admins); ``password`` is your own, because a token alone lets nobody in."""
        return self._wire.read(
            o.InviteSecret, "POST", "/users/invites", json={"role": role, "password": password, "email": email}
        )

    def invite_many(
        self, emails: Iterable[str], password: str, *, role: str = "annotator", mail: bool = False
    ) -> o.InvitesSecret:
        """Invite a list of people, all or nobody (admins); with ``mail`` the links are mailed, else they are in the answer."""
        wanted = {"role": role, "password": password, "mail": mail, "people": [{"email": each} for each in emails]}
        return self._wire.read(o.InvitesSecret, "POST", "/users/invites/many", json=wanted)

    def mail_invite(self, invite_id: int) -> o.InviteJson:
        """Mail a new link for an open invitation (admins); the earlier link ends."""
        return self._wire.read(o.InviteJson, "POST", f"/users/invites/{invite_id}/mail")

    def statistics(self) -> o.StatisticsJson:
        """What the numbers say about your own work."""
        return self._wire.read(o.StatisticsJson, "GET", "/me/statistics")

    def annotators(self) -> Iterator[o.AnnotatorJson]:
        """The same of everybody who has judged anything (reviewers)."""
        return self._pages(o.AnnotatorList, "/review/annotators", "after", lambda page: page.annotators)

    # ── The desk (reviewers) ─────────────────────────────────────────────────────────────────────────────────────────
    def search(self, text: str = "", **filters: Any) -> Iterator[o.RowOut]:
        """Annotations with all words of ``text`` and its “phrases”, newest first; filters as of ``GET /desk/annotations``."""
        return self._pages(o.DeskList, "/desk/annotations", "before", lambda page: page.annotations, q=text, **filters)

    def accept(self, rows: Iterable[o.RowOut]) -> o.DoneOut:
        """Accept up to a thousand of what was found; what has changed since is left as it is, and named."""
        return self._wire.read(o.DoneOut, "POST", "/desk/accept", json={"rows": named(rows)})

    def give_back(self, rows: Iterable[o.RowOut], note: str) -> o.DoneOut:
        """Return up to a thousand of what was found to their annotators, with one note; as :meth:`accept`."""
        return self._wire.read(o.DoneOut, "POST", "/desk/return", json={"rows": named(rows), "note": note})

    def assign(self, rows: Iterable[o.RowOut], people: Iterable[int] = (), teams: Iterable[int] = ()) -> o.DoneOut:
        """Ask for one more judgement of the items of up to a thousand, each of one of these people or teams."""
        body = {"rows": named(rows), "people": list(people), "teams": list(teams)}
        return self._wire.read(o.DoneOut, "POST", "/desk/assign", json=body)

    def unassign(self, rows: Iterable[o.RowOut]) -> o.DoneOut:
        """Take their items back from those whom they were assigned to and who have not begun them."""
        return self._wire.read(o.DoneOut, "POST", "/desk/unassign", json={"rows": named(rows)})
