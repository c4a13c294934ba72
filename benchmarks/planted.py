"""Whether training finds a rule that is known, and nothing where there is none: planted, shuffled and flipped labels.

    python -m benchmarks.planted                 three seeds
    python -m benchmarks.planted --seeds 1       one, where time is short

Annotations follow a fixed rule: the answer that is shorter and polite wins over the one that is longer and curt. What they
are about is drawn at random and tells nothing. A reward model (`python -m training.reward`, the laptop recipe) learns

    planted    from labels by the rule,
    shuffled   from labels of which a random half is turned round, on held-out prompts, too: a permutation test,
    flipped    from labels that are all turned round, and is measured on prompts that are labelled by the rule.

Then `python -m training.dpo` learns from the planted labels and from the shuffled ones, and `python -m training.evaluate`
compares greedy answers to unseen prompts with those of the base model. A policy of shuffled labels would be worth promoting
if the interval of its held-out accuracy lay above a half.
"""

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.budget import Budget, verdict
from training import base_model

ROOT = Path(__file__).parents[1]
HELD_OUT = 100
ASKED = 24
MINUTES = 30
PLAINLY = 1.2  # times as long
LABELS = ("planted", "shuffled", "flipped")
SUBJECTS = (
    "a kettle", "the tide", "compost", "a bicycle chain", "sourdough", "a lighthouse", "paper", "a compass", "soap",
    "a violin", "glass", "a sundial", "cheese", "a canal lock", "felt", "a water mill", "ink", "a kite", "honey",
    "a pendulum", "salt", "a loom", "charcoal", "a telescope", "chalk", "a hinge", "yeast", "a bellows", "rope", "a prism",
)  # fmt: skip
QUESTIONS = (
    "How does {} work?", "Why do people use {}?", "What should I know about {}?", "Who first thought of {}?",
    "What goes wrong with {} most often?", "How would you describe {} to a child?", "Is {} hard to understand?",
    "What is the history of {}?", "How do I look after {}?", "What makes {} good or bad?", "Where is {} found?",
    "How has {} changed over time?", "What do experts say about {}?", "When does {} fail?", "What is {} made from?",
    "How is {} tested?",
)  # fmt: skip
CLAIMS = (
    "heat moves from where there is more of it to where there is less", "small parts push on each other until it turns",
    "water finds its way down and takes fine sand along", "patience matters more than the tools",
    "the first makers wrote down what went wrong", "most of it depends on the weather", "it wears out at the edges first",
    "a dry room keeps it in good order", "the older kinds were heavier", "many towns had one near the market",
    "the surface has to be smooth", "nothing works without a steady hand", "it was copied from nature",
    "the price of wood decided the rest", "two thin layers hold better than a thick one", "it sounds dull when it is broken",
    "sailors knew it long before", "the colour says how old it is", "it takes about a day to settle",
    "the secret lies in the mixture", "a little oil does no harm", "the measure is taken from above",
    "schools still teach it", "the best ones come from the north",
)  # fmt: skip
POLITE = (
    "With pleasure:",
    "Gladly, and thank you for asking:",
    "Of course, happy to help:",
    "A lovely question, thank you:",
)
CURT = ("Obviously,", "Look it up next time:", "As everybody knows,", "What a question:")


def main() -> int:
    """Print the table; exit with 1 where something is not as it was planted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=96)
    options = parser.parse_args()
    began = time.monotonic()
    rows = []
    print(f"{options.pairs} pairs, {HELD_OUT} held out, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before\n")
    print(
        f"{'seed':<6}{'planted':>9}{'shuffled':>10}{'flipped':>9}{'dpo':>7}{'tokens':>14}{'polite':>14}{'shuffled dpo':>22}"
    )
    with tempfile.TemporaryDirectory() as name:
        base_model.convert(Path(name) / "base")
        for seed in range(1, options.seeds + 1):
            rows.append(found := one_seed(Path(name), seed, options.pairs))
            print(
                f"{seed:<6}{found['planted']:>9.3f}{found['shuffled']:>10.3f}{found['flipped']:>9.3f}{found['dpo']:>7.3f}"
                f"{found['tokens_before']:>7.1f} ->{found['tokens_after']:>5.1f}"
                f"{found['polite_before']:>7.2f} ->{found['polite_after']:>5.2f}"
                f"{found['shuffled_dpo']:>8.3f} from {found['shuffled_dpo_low']:.3f}",
                flush=True,
            )
    shuffled = statistics.mean(row["shuffled"] for row in rows)
    return verdict(
        Budget("planted labels, least accuracy", min(row["planted"] for row in rows), 0.95, at_least=True),
        Budget("shuffled labels, mean accuracy", shuffled, 0.45, at_least=True),
        Budget("shuffled labels, mean accuracy", shuffled, 0.55),
        Budget("flipped labels, largest accuracy", max(row["flipped"] for row in rows), 0.5),
        Budget("greedy answers, longest after over before", max(row["tokens_ratio"] for row in rows), 0.999),
        Budget(
            "greedy answers, least gain in politeness", min(row["polite_gain"] for row in rows), 0.001, at_least=True
        ),
        Budget("shuffled policies that would be promoted", sum(row["shuffled_dpo_low"] > 0.5 for row in rows), 0),
        Budget("all of it", (time.monotonic() - began) / 60, MINUTES, "min"),
    )


def one_seed(folder: Path, seed: int, pairs: int) -> dict[str, float]:
    """Train and measure everything with the data of one seed."""
    place = folder / f"seed-{seed}"
    drawn = draw(seed, pairs + HELD_OUT)
    for labels in LABELS:
        write_snapshot(place / labels / "snapshot", relabel(drawn, labels, seed, pairs), pairs)
    found = {labels: trained(place / labels, "reward", seed)["held_out/accuracy"] for labels in LABELS}
    found["dpo"] = trained(place / "planted", "dpo", seed)["held_out/accuracy"]
    nothing = trained(place / "shuffled", "dpo", seed)
    found |= {
        "shuffled_dpo": nothing["held_out/accuracy"],
        "shuffled_dpo_low": nothing["held_out/accuracy/low"],
    }
    return found | answers(place / "planted")


def draw(seed: int, count: int) -> list[tuple[str, str, str]]:
    """Prompts, each with two answers, the better one by the rule first."""
    dice = random.Random(seed)
    prompts = [question.format(subject) for subject in SUBJECTS for question in QUESTIONS]
    found: list[tuple[str, str, str]] = []
    for prompt in dice.sample(prompts, count):
        better = worse = ""
        while len(worse) <= PLAINLY * len(better):
            better, worse = (
                f"{dice.choice(openers)} {answer(dice, sentences)}" for openers, sentences in ((POLITE, 1), (CURT, 2))
            )
        found.append((prompt, better, worse))
    return found


def answer(dice: random.Random, sentences: int) -> str:
    """So many sentences about nothing in particular."""
    first, *others = dice.sample(CLAIMS, sentences)
    return " ".join([f"{first}.", *(f"{claim[0].upper()}{claim[1:]}." for claim in others)])


def is_polite(text: str) -> bool:
    """Whether it has a word that only polite openings have."""
    return any(word in text.lower() for word in ("pleasure", "gladly", "happy to help", "lovely", "thank"))


def relabel(drawn: list[tuple[str, str, str]], labels: str, seed: int, pairs: int) -> list[tuple[str, str, str]]:
    """Turn labels round: none, a random half of either side, or all that are trained on."""
    dice = random.Random(seed)
    halves = [dice.sample(range(pairs), pairs // 2), dice.sample(range(pairs, len(drawn)), (len(drawn) - pairs) // 2)]
    wrong = set({"planted": [], "shuffled": halves[0] + halves[1], "flipped": range(pairs)}[labels])
    return [
        (prompt, worse, better) if at in wrong else (prompt, better, worse)
        for at, (prompt, better, worse) in enumerate(drawn)
    ]


def write_snapshot(folder: Path, drawn: list[tuple[str, str, str]], pairs: int) -> None:
    """A snapshot as the application exports one; the first `pairs` are for training."""
    folder.mkdir(parents=True)
    rows = [
        {
            "id": f"{number}:a:b",
            "annotation_id": number,
            "prompt": [{"role": "user", "content": prompt}],
            "prompt_hash": hashlib.sha256(prompt.encode()).hexdigest(),
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
            "edited": None,
            "strength": 4,
            "outcome": "ranked",
            "split": "train" if number < pairs else "held_out",
            "tools": None,
        }
        for number, (prompt, chosen, rejected) in enumerate(drawn)
    ]
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (folder / "preferences.jsonl").write_bytes(body)
    facts = {"rows": len(rows), "sha256": hashlib.sha256(body).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(facts))


def trained(folder: Path, kind: str, seed: int) -> dict[str, float]:
    """Run `python -m training.<kind>` and return its held-out metrics."""
    settings = {
        "seed": seed,
        "snapshot": "../snapshot",
        "base_model": "../../../base",
        "output": "final",
        "name": f"{kind}-{seed}",
    }
    run(
        folder / kind,
        kind,
        settings,
        {"evaluation": {"every_steps": 0, "max_pairs": HELD_OUT}},
    )
    metrics: dict[str, float] = json.loads((folder / kind / "final" / "metrics.json").read_text())["final"]
    return metrics


def answers(folder: Path) -> dict[str, float]:
    """Greedy answers of base and policy to unseen prompts, as `python -m training.evaluate` finds them."""
    settings = {
        "kind": "policy",
        "checkpoint": "../dpo/final",
        "reward_model": "../reward/final",
        "data": "../snapshot",
        "output": "report",
        "temperature": 0.0,
        "max_prompts": ASKED,
        "max_new_tokens": 96,
    }
    run(folder / "evaluation", "evaluate", settings, {})
    lines = (folder / "evaluation" / "report" / "answers.jsonl").read_text().splitlines()
    report: dict[str, Any] = json.loads((folder / "evaluation" / "report" / "report.json").read_text())
    bodies = [json.loads(line) for line in lines]
    polite = [statistics.mean(is_polite(body[side]) for body in bodies) for side in ("before", "after")]
    tokens = [report[f"{side}_metrics"]["tokens"]["value"] for side in ("before", "after")]
    return {
        "tokens_before": tokens[0],
        "tokens_after": tokens[1],
        "tokens_ratio": tokens[1] / tokens[0],
        "polite_before": polite[0],
        "polite_after": polite[1],
        "polite_gain": polite[1] - polite[0],
    }


def run(folder: Path, module: str, settings: dict[str, Any], tables: dict[str, dict[str, Any]]) -> None:
    """`python -m training.<module>` on a run file; its own words are shown where it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    (folder / "run.toml").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", f"training.{module}", str(folder / "run.toml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"training.{module} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")


if __name__ == "__main__":
    sys.exit(main())
