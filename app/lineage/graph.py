"""The lineage as a picture: layers from left to right, each a list of links, and curves between them.

The lists are the content: they are read and walked without scripts, and stand below one another where there is no room. The
curves are drawn by the server behind them, in units of rows and of hundredths of the width, so nothing has to be measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.kernel.locales import N_, ngettext, number
from app.kernel.locales import gettext as _
from app.lineage.marks import Mark

if TYPE_CHECKING:
    from app.lineage.queries import AnnotationLineage, CheckpointLineage, SnapshotLineage
    from app.lineage.reach import Reach, Use, Voted
    from app.preferences.models import Snapshot
    from app.registry.models import Checkpoint
    from app.rounds.models import TrainingRun

SHOWN = 6
"""Links of a layer; how many more there are is said, and the JSON has them all."""
CONTESTS = {"gate": N_("Contest {id}"), "watch": N_("Watch {id}")}
ROLES = {
    "chose": N_("chose its samples"),
    "sampled": N_("wrote its samples"),
    "averaged": N_("averaged into it"),
    "measured": N_("measured"),
    "against": N_("measured against"),
}
"""What went into a checkpoint, to it."""
GIVEN = {
    "chose": N_("it chose the samples"),
    "sampled": N_("it wrote the samples"),
    "averaged": N_("it averaged into it"),
    "measured": N_("it measured"),
    "against": N_("it measured against"),
}
"""What a checkpoint went into, of itself."""


@dataclass(frozen=True)
class Node:
    """One thing of the lineage."""

    key: str
    title: str
    note: str = ""
    url: str | None = None
    tone: str = ""
    """``here`` where the reader stands; ``tainted``, ``touched`` or ``retracted`` as the note says too."""


@dataclass(frozen=True)
class Layer:
    """Things of one kind, and how many more there are."""

    title: str
    nodes: Sequence[Node]
    more: int


@dataclass(frozen=True)
class Curve:
    """From one node to another, as the path of an SVG."""

    source: str
    target: str
    path: str


@dataclass(frozen=True)
class Picture:
    """Layers, curves, and how many rows the longest layer has."""

    layers: Sequence[Layer]
    curves: Sequence[Curve]
    rows: int


@dataclass
class _Drawing:
    layers: list[Layer] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)

    def layer(self, title: str, nodes: Iterable[Node]) -> None:
        """Add a layer, unless there is nothing in it."""
        found = list({node.key: node for node in nodes}.values())
        if found:
            self.layers.append(Layer(title, found[:SHOWN], max(0, len(found) - SHOWN)))

    def picture(self) -> Picture:
        """Place every node and draw the links between those that are shown."""
        rows = max((len(layer.nodes) + bool(layer.more) for layer in self.layers), default=0)
        places: dict[str, tuple[float, float]] = {}
        for column, layer in enumerate(self.layers):
            above = (rows - len(layer.nodes) - bool(layer.more)) / 2
            for row, node in enumerate(layer.nodes):
                places[node.key] = (100 * (column + 0.5) / len(self.layers), 100 * (above + row + 0.5))
        drawn = [
            Curve(source, target, _curve(places[source], places[target]))
            for source, target in dict.fromkeys(self.links)
            if source in places and target in places
        ]
        return Picture(self.layers, drawn, rows)


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = start, end
    middle = (x + to_x) / 2
    return f"M{x:.2f} {y:.1f}C{middle:.2f} {y:.1f} {middle:.2f} {to_y:.1f} {to_x:.2f} {to_y:.1f}"


# ── Nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _annotations(count: int) -> str:
    return ngettext("{n} annotation", "{n} annotations", count)


def _responses(count: int) -> str:
    return ngettext("{n} response", "{n} responses", count)


def _snapshot(snapshot: Snapshot, annotations: int, *, here: bool = False) -> Node:
    erased = snapshot.state.value == "erased"
    count = _annotations(annotations)
    return Node(
        f"snapshot-{snapshot.id}",
        snapshot.name,
        _("{annotations}, erased", annotations=count) if erased else count,
        f"/snapshots/{snapshot.id}",
        "here" if here else "retracted" * erased,
    )


def _run(use: Use) -> Node:
    state = _("Round {n}, {state}", n=use.round, state=use.run.state.label)
    return Node(f"run-{use.run.id}", _kind_of_run(use.run), state, f"/runs/{use.run.id}")


def _kind_of_run(run: TrainingRun) -> str:
    return _("{kind} run {id}", kind=run.kind.label, id=run.id)


def _checkpoint(checkpoint: Checkpoint, note: str = "", mark: Mark | None = None, *, here: bool = False) -> Node:
    said = ", ".join(each for each in (mark.word if mark else "", note or checkpoint.kind.label) if each)
    tone = mark.value if mark else "here" if here else ""
    return Node(f"checkpoint-{checkpoint.id}", checkpoint.name, said, f"/checkpoints/{checkpoint.id}", tone)


def _contest(voted: Voted, note: str) -> Node:
    title = _(CONTESTS[voted.contest.kind.value], id=voted.contest.id)
    return Node(f"contest-{voted.contest.id}", title, note, f"/contests/{voted.contest.id}")


def _people(drawing: _Drawing, lineage: SnapshotLineage, target: str) -> None:
    drawing.layer(
        _("People"),
        [
            Node(
                f"person-{author.user_id}",
                author.pseudonym,
                _(
                    "{annotations}, {n} retracted",
                    annotations=_annotations(author.annotations),
                    n=number(author.retracted),
                )
                if author.retracted
                else _annotations(author.annotations),
                tone="retracted" if author.retracted == author.annotations else "",
            )
            for author in lineage.people
        ],
    )
    drawing.links += [(f"person-{author.user_id}", target) for author in lineage.people]


# ── Pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def of_checkpoint(checkpoint: Checkpoint, lineage: CheckpointLineage) -> Picture:
    """People, snapshot, run and models that went in; the checkpoint; what it wrote, trained, chose and contested."""
    drawing = _Drawing()
    here = f"checkpoint-{checkpoint.id}"
    into: list[Node] = []
    if lineage.run and lineage.snapshot and lineage.learnt_from and lineage.round is not None:
        snapshot = _snapshot(lineage.snapshot, lineage.annotations)
        _people(drawing, lineage.learnt_from, snapshot.key)
        drawing.layer(_("Snapshot"), [snapshot])
        which = _("Round {n}", n=lineage.round)
        run = Node(f"run-{lineage.run.id}", _kind_of_run(lineage.run), which, f"/runs/{lineage.run.id}")
        into.append(run)
        drawing.links.append((snapshot.key, run.key))
    if lineage.parent:
        into.append(_checkpoint(lineage.parent, _("trained from it")))
    into += [_checkpoint(each.checkpoint, _(ROLES[each.role.value])) for each in lineage.inputs]
    drawing.layer(_("Made from"), into)
    drawing.layer(_("This checkpoint"), [_checkpoint(checkpoint, mark=lineage.mark, here=True)])
    drawing.links += [(node.key, here) for node in into]
    after = [_checkpoint(child, _("trained from it")) for child in lineage.children]
    after += [
        _checkpoint(each.checkpoint, _(GIVEN[each.role.value]))
        if each.checkpoint
        else Node(f"run-{each.run.id}", _("Run {id}", id=each.run.id), each.run.state.label, f"/runs/{each.run.id}")
        for each in lineage.given
    ]
    after += [
        _contest(
            each,
            ngettext(
                "Round {round}, {n} observation", "Round {round}, {n} observations", each.counted, round=each.round
            ),
        )
        for each in lineage.contests
    ]
    if lineage.responses:
        after.append(Node("responses", _responses(lineage.responses), _("written by it")))
    drawing.layer(_("Used for"), after)
    drawing.links += [(here, node.key) for node in after]
    return drawing.picture()


def of_snapshot(snapshot: Snapshot, lineage: SnapshotLineage) -> Picture:
    """People, the snapshot, runs, checkpoints."""
    drawing = _Drawing()
    here = _snapshot(snapshot, lineage.annotations, here=True)
    _people(drawing, lineage, here.key)
    drawing.layer(_("This snapshot"), [here])
    _onwards(drawing, lineage.uses, {})
    return drawing.picture()


def of_annotation(lineage: AnnotationLineage) -> Picture:
    """The annotation, and all that it went into."""
    said = lineage.annotation
    states = {
        _("superseded"): not lineage.stands,
        _("returned"): lineage.returned,
        _("retracted"): lineage.retraction is not None,
    }
    note = ", ".join([lineage.annotation.annotator.pseudonym, *(word for word, holds in states.items() if holds)])
    here = Node(
        f"annotation-{said.id}", _("Annotation {id}", id=said.id), note, f"/review/annotations/{said.id}", "here"
    )
    return _of_reach(here, _("This annotation"), lineage.reach, mark=lineage.retraction is not None)


def of_retraction(words: str, found: Reach) -> Picture:
    """What is or was retracted, and all that it went into."""
    note = _annotations(found.annotations + found.earlier)
    return _of_reach(Node("target", words, note, tone="here"), _("Retracted"), found, mark=True)


def _of_reach(here: Node, title: str, found: Reach, *, mark: bool) -> Picture:
    drawing = _Drawing()
    drawing.layer(title, [here])
    held = [_snapshot(each.snapshot, each.annotations) for each in found.snapshots]
    held += [_contest(each, votes_in_words(each)) for each in found.contests]
    drawing.layer(_("Snapshots and contests"), held)
    drawing.links += [(here.key, node.key) for node in held]
    marks = {each.checkpoint.id: each.mark for each in found.marked if mark}
    _onwards(drawing, found.uses, marks)
    made = {use.checkpoint.id for use in found.uses if use.checkpoint}
    further = [
        _checkpoint(each.checkpoint, mark=each.mark if mark else None)
        for each in found.marked
        if each.checkpoint.id not in made
    ]
    if found.responses:
        further.append(Node("responses", _responses(found.responses), _("sampled from them since")))
        drawing.links += [(f"checkpoint-{each.checkpoint.id}", "responses") for each in found.tainted if each.responses]
    drawing.layer(_("Further on"), further)
    return drawing.picture()


def _onwards(drawing: _Drawing, uses: Sequence[Use], marks: dict[int, Mark]) -> None:
    drawing.layer(_("Training runs"), map(_run, uses))
    made = [use for use in uses if use.checkpoint is not None]
    drawing.layer(
        _("Checkpoints"),
        [_checkpoint(use.checkpoint, mark=marks.get(use.checkpoint.id)) for use in made if use.checkpoint],
    )
    drawing.links += [(f"snapshot-{use.run.snapshot_id}", f"run-{use.run.id}") for use in uses]
    drawing.links += [(f"run-{use.run.id}", f"checkpoint-{use.checkpoint.id}") for use in made if use.checkpoint]


def votes_in_words(voted: Voted) -> str:
    """Such as "vote 37 of 143"; how many where there are several."""
    if voted.votes > 1:
        return ngettext(
            "{k} of {n} observation", "{k} of {n} observations", voted.contest.counted, k=number(voted.counted)
        )
    if not voted.seq:
        return _("not counted")
    return _("vote {k} of {n}", k=number(voted.seq), n=number(voted.contest.counted))
