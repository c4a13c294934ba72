"""What a checkpoint is, on one page beside its weights: `README.md` and `curves.svg`.

Everything on it comes from the manifest, the metrics and the events of the run, so the same run gives the same bytes. It
says where each number comes from, what stands beside it for comparison, and where the recipe leaves the paper.

    python -m training.model_card CHECKPOINT     prints the card of a checkpoint
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.data.left_out import UNUSABLE
from training.formats import files
from training.formats.checkpoints import Manifest
from training.formats.trainers import words
from training.formats.words import STRENGTHS
from training.measure.plots import Line, Panel, panels

CARD, CURVES = "README.md", "curves.svg"
KINDS = {"reward": "A reward model", "policy": "A policy", "sft": "A fine-tuned policy", "base": "A base model"}
# What the data counts of a run mean; those that are not here are not for people.
COUNTS = {
    "rows": "preferences read",
    "train_rows": "of them for training",
    "held_out_rows": "of them held out",
    "prompts": "prompts trained on",
    "checked_prompts": "prompts learnt from by checks of answers to them",
    "checked_held_out": "held-out prompts whose answers are checked",
    "prompts_contaminated": "left out: prompts that repeat a held-out one",
    "prompts_too_long": "left out: prompts that leave no room for an answer",
    "prompts_unrenderable": "left out: prompts that the base model’s template cannot render",
    "prompts_run_tools": "left out: prompts whose tools need documents or servers",
    "responses": "responses trained on",
    "pairs": "pairs trained on",
    "pairs/edited_over_chosen": "edited over chosen",
    "pairs/edited_over_rejected": "edited over rejected",
    "pairs/chosen_over_rejected": "chosen over rejected",
    "source_rows": "rows of sources, as often as their weights say",
    "source_held_out": "left out: rows of sources whose prompt is held out",
    "source_contaminated": "left out: rows of sources whose prompt repeats a held-out one",
    "source_weak": "left out: rows of sources weaker than the run asks for",
    "written_answers": "answers that people wrote from scratch",
    "tokens": "tokens of an epoch, each prompt once",
    "ties": "left out: ties",
    "all_unacceptable": "left out: no response was acceptable",
    "written": "left out: answers written from scratch, which are in no pair",
    "empty_responses": "left out: a response is empty",
    "same_text": "left out: both responses are the same",
    **{reason: f"left out: rows that {words}" for reason, words in UNUSABLE.items()},
    "dropped_unrenderable": "left out: the base model’s template cannot render them",
    "filtered_by_strength": "left out: weaker than the run asks for",
    "merged_weak": "left out: pairs that most annotators found weaker",
    "dropped_contradictory": "left out: pairs that contradict each other",
    "left_out_by_checkpoint": "left out: answers of external models that may not be trained on",
    "dropped_contaminated": "left out: prompts that repeat a held-out one",
    "dropped_too_long": "left out: longer than the run allows",
    "held_out_pairs": "held-out pairs measured on",
    "held_out_ties": "held-out rows left out: ties",
    "held_out_all_unacceptable": "held-out rows left out: no response was acceptable",
    "held_out_written": "held-out rows left out: answers written from scratch",
    "held_out_empty_responses": "held-out rows left out: a response is empty",
    "held_out_same_text": "held-out rows left out: both responses are the same",
    "held_out_dropped_too_long": "held-out pairs left out: too long",
    "held_out_dropped_unrenderable": "held-out pairs left out: the base model’s template cannot render them",
}
METRICS = {
    "held_out/accuracy": "Accuracy",
    **{f"held_out/accuracy/strength_{level}": f"… of {words}" for level, words in STRENGTHS.items()},
    "held_out/logp_accuracy": "Accuracy by likelihood",
    "held_out/longer_wins_accuracy": "“The longer answer wins”",
    "held_out/shorter_wins_accuracy": "“The shorter answer wins”",
    "held_out/length_correlation": "Correlation of reward and length",
    "held_out/reward_margin": "Mean reward of chosen less rejected",
    "held_out/rewards/margins": "Mean implicit reward of chosen less rejected",
    "held_out/verified": "Solved, as checks find",
}
HOW = {
    "held_out/accuracy": "**Accuracy**: how often the preferred response of a held-out pair scores higher, each pair "
    "counting once and a draw one half. A reward model scores with its head, a policy with beta times the log-ratio to its "
    "reference. In brackets the 95% interval by bootstrap over prompts.",
    "held_out/logp_accuracy": "**Accuracy by likelihood**: how often the policy finds the preferred response likelier.",
    "held_out/longer_wins_accuracy": "**“The longer answer wins”**: what that rule alone reaches on the same pairs. A model "
    "that is no better may have learnt only length.",
    "held_out/length_correlation": "**Correlation of reward and length**: over all held-out responses, in tokens.",
    "held_out/verified": "**Solved**: of the held-out prompts that say what an answer must come to, one answer each, those whose "
    "answer passes its checks. In brackets the 95% interval by bootstrap over prompts.",
}
BEFORE_AND_AFTER = (
    "- **Before** is the model before training, **after** the trained one, both on prompts of which no round trains on any. "
    "`python -m training.evaluate` measures the saved files, with best-of-4 and a bag of words beside it."
)


def write(
    folder: Path, manifest: Manifest, metrics: Mapping[str, Any], events: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write the card, and the curves where the run had steps, into a checkpoint that is not sealed yet.

    Args:
        folder: The checkpoint's draft.
        manifest: Its manifest, without files.
        metrics: `baseline`, `final` and `data`, as they stand in metrics.json; each may be missing.
        events: The run's, in their order.
    """
    curves = _curves(events)
    if curves:
        files.write_text(folder / CURVES, panels(curves))
    files.write_text(folder / CARD, card(manifest, metrics, with_curves=bool(curves)))


def card(manifest: Manifest, metrics: Mapping[str, Any], *, with_curves: bool = False) -> str:
    """The page as Markdown."""
    parts = [f"# {manifest.name}", _summary(manifest), "## Where it comes from", _lineage(manifest)]
    baseline, final, data = (metrics.get(name) or {} for name in ("baseline", "final", "data"))
    if final:
        parts += ["## What was measured", _results(baseline, final)]
        parts += [f"- {sentence}" for name, sentence in HOW.items() if name in final]
        parts.append(BEFORE_AND_AFTER)
    elif data and not data.get("held_out_rows"):
        parts += [
            "## What was measured",
            "Nothing: the data has no held-out prompts, so whether this model is better cannot be measured.",
        ]
    if with_curves:
        parts += ["## While it trained", f"![Loss, accuracy and margins by step]({CURVES})"]
    if data:
        rows = [(words, f"{data[name]:,}") for name, words in COUNTS.items() if data.get(name)]
        parts += ["## Data", table(("", "count"), rows)]
    if manifest.config.get("kind") in {"reward", "dpo", "sft", "grpo"}:
        parts += ["## Deviations from Llama 3", *(f"- {sentence}" for sentence in deviations(manifest.config))]
        parts += ["## Settings", table(("setting", "value"), list(_flat(manifest.config)))]
    return "\n\n".join(_tight(parts)) + "\n"


def deviations(config: Mapping[str, Any]) -> Iterator[str]:
    """Where a run's settings differ from what the paper says (arXiv 2407.21783, section 4.1)."""
    kind, optim, data = config["kind"], config.get("optim", {}), config.get("data", {})
    if kind == "grpo":
        yield "Llama 3 has no such stage: it uses checks to keep and to correct answers, and learns from these."
        yield "Answers are compared within a prompt (GRPO, arXiv 2402.03300); an adapter is trained."
        return
    if config.get("model", {}).get("trains", "adapter") == "adapter":
        yield f"An adapter of rank {config['lora']['r']} is trained; the paper trains all weights."
    if optim.get("learning_rate") != 1e-5:
        yield f"The learning rate is {optim.get('learning_rate'):g}; the paper has 1e-05, for very large models."
    if kind == "reward":
        if config.get("trainer") == "trl":
            yield "Every pair is a row of its own; the paper puts a prompt and its responses in one."
        else:
            yield (
                "A row of a prompt with its responses is exact: each response sees the prompt and itself. The paper puts "
                "them behind one another, which it calls an approximation."
            )
        yield "The base is instruction-tuned; the paper starts from the pre-trained checkpoint."
        yield from _reward_deviations(config.get("reward") or {})
    if kind == "dpo":
        yield from _dpo_deviations(config.get("dpo") or {})
        yield from _round_deviations(data)
        yield "Edits and best responses are paired with those that lost; the paper's edited over chosen is left out."
        if not config.get("parent_adapter"):
            yield "It starts from the base model; the paper starts from a model fine-tuned in the same round."
    if kind in {"reward", "dpo"} and data.get("min_strength", 3) != 3:
        yield f"Preferences from strength {data['min_strength']} on are used; the paper takes the two strongest of four."
    if data.get("conflicts", "keep_all") != "keep_all":
        yield f"Annotators who contradict each other are resolved by “{data['conflicts']}”; the paper says nothing of it."
    yield "Nothing is averaged over variants; `python -m training.average` does it where there are some."


def _round_deviations(data: Mapping[str, Any]) -> Iterator[str]:
    if not data.get("latest_rounds") and not data.get("batches"):
        yield "The snapshot decides which batches are learnt from; the paper takes the latest only."
    if data.get("newest_weight", 1.0) != 1.0:
        yield f"What was judged in the newest round counts {data['newest_weight']:g} times; the paper weighs none."


def _reward_deviations(settings: Mapping[str, Any]) -> Iterator[str]:
    if settings.get("center_rewards"):
        yield f"Rewards are centred with weight {settings['center_rewards']:g}; the paper does not."
    if settings.get("margins"):
        yield "A margin by strength is subtracted, as in Llama 2; Llama 3 leaves it out."
    if settings.get("heads", 1) > 1:
        yield f"{settings['heads']} heads answer together ({settings['aggregate']}); the paper has one."


def _dpo_deviations(settings: Mapping[str, Any]) -> Iterator[str]:
    if settings.get("loss_type", "sigmoid") != "sigmoid":
        yield f"The loss is {settings['loss_type']}; the paper's is sigmoid."
    if settings.get("beta") != 0.1:
        yield f"Beta is {settings.get('beta')}; the paper has 0.1."
    if settings.get("nll_weight") != 0.2:
        yield f"The weight of the likelihood of chosen responses is {settings.get('nll_weight')}; the paper has 0.2."
    if not settings.get("mask_format_tokens", True):
        yield "Tokens that end a turn take part in the preference term; the paper masks them."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; bars within a cell stay part of it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _summary(manifest: Manifest) -> str:
    config = manifest.config
    what = KINDS.get(manifest.kind, manifest.kind)
    if "average_of" in config:
        return f"{what}, the average of {len(config['average_of'])} checkpoints in float32. It was not measured by this step."
    how = (
        f", trained by `training.{config['kind']}` with the recipe `{config.get('recipe')}`" if "kind" in config else ""
    )
    if config.get("trainer") == "trl":
        loss = (config.get("dpo") or {}).get("loss_type")
        how += f" and {words('trl', config['kind'], loss)} {manifest.versions.get('trl', '')}".rstrip()
    return f"{what} on {_base_name(manifest)}{how}."


def _lineage(manifest: Manifest) -> str:
    rows = [("base model", _base_name(manifest))]
    if manifest.parent:
        rows.append(("parent", f"{manifest.parent['name']} (`{manifest.parent['manifest_sha256'][:16]}`)"))
    rows += [
        (f"{one['weight']:.4f} of", f"{one['name']} (`{one['manifest_sha256'][:16]}`)")
        for one in manifest.config.get("average_of", ())
    ]
    if manifest.snapshot_sha256:
        rows.append(("snapshot", f"`{manifest.snapshot_sha256}`"))
    if manifest.seed is not None:
        rows.append(("seed", str(manifest.seed)))
    rows.append(("made with", ", ".join(f"{name} {number}" for name, number in sorted(manifest.versions.items()))))
    return table(("", ""), rows)


def _base_name(manifest: Manifest) -> str:
    """A folder's own name: where it lies means nothing on another machine."""
    return Path(manifest.base_model).name if manifest.base_model.startswith("/") else manifest.base_model


def _results(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    by_capability = ("/accuracy/capability/", "held_out/verified/")
    extra = {
        name: f"… of {name.rpartition('/')[2]}" for name in sorted(after) if any(part in name for part in by_capability)
    }
    rows = [
        (words, _value(before, name), _value(after, name))
        for name, words in (METRICS | extra).items()
        if name in after and not name.endswith(("/low", "/high"))
    ]
    pairs, prompts = after.get("held_out/pairs"), after.get("held_out/prompts")
    measured = f"On {pairs:,.0f} held-out pairs" if pairs is not None else "On held-out pairs"
    of = f" of {prompts:,.0f} prompts" if prompts is not None else ""
    if pairs is None and "held_out/verified" in after:
        measured = f"On {after['held_out/verified_prompts']:,.0f} held-out prompts whose answers can be checked"
    return f"{measured}{of}:\n\n" + table(("", "before", "after"), rows)


def _value(metrics: Mapping[str, float], name: str) -> str:
    if name not in metrics:
        return "—"
    low, high = metrics.get(f"{name}/low"), metrics.get(f"{name}/high")
    return f"{metrics[name]:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else "")


def _curves(events: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """A step that was taken twice, because the run was killed in between, counts as it was taken last."""
    steps = {event["step"]: event["metrics"] for event in events if event["event"] == "step"}
    measured = {event["step"]: event["metrics"] for event in events if event["event"] in {"evaluation", "final"}}
    start = next((event["metrics"] for event in events if event["event"] == "baseline"), None)
    measured = ({0: start} if start else {}) | measured

    def line(name: str, points: Mapping[int, Mapping[str, Any]], metric: str) -> Line:
        known = [(step, values[metric]) for step, values in sorted(points.items()) if values.get(metric) is not None]
        return Line(name, tuple((float(step), float(value)) for step, value in known))

    found = [
        Panel("Loss", (line("training", steps, "loss"),)),
        Panel(
            "Accuracy",
            (line("training", steps, "rewards/accuracies"), line("held-out", measured, "held_out/accuracy")),
            floor=0.5,
            ceiling=1.0,
        ),
        Panel("Margin", (line("training", steps, "rewards/margins"),)),
        Panel("Reward by checks", (line("answers of a step", steps, "reward"),), floor=0.0, ceiling=1.0),
        Panel("Gradient norm", (line("training", steps, "grad_norm"),), floor=0.0),
    ]
    return [panel for panel in found if any(line.points for line in panel.lines)]


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in sorted(config.items()):
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None and not _is_path(value):
            yield f"`{prefix}{name}`", f"`{json.dumps(value, ensure_ascii=False)}`"


def _is_path(value: Any) -> bool:
    """Where a file lay says nothing to whom the card is handed, and may say too much."""
    return isinstance(value, str) and value.startswith("/")


def _tight(parts: Sequence[str]) -> Iterator[str]:
    """Points of one list without blank lines between them."""
    points: list[str] = []
    for part in [*parts, ""]:
        if part.startswith("- "):
            points.append(part)
            continue
        if points:
            yield "\n".join(points)
            points = []
        if part:
            yield part
