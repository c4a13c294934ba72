"""Does the loop improve a model, and does it leave one alone where there is nothing to learn? Three real rounds, twice.

    python -m benchmarks.three_rounds --folder FOLDER                     both twins; given again, it goes on where it was
    python -m benchmarks.three_rounds --folder FOLDER --twin planted      one of them
    python -m benchmarks.three_rounds --folder FOLDER --write docs/evaluation.md    what is finished, into the page

Each twin is an installation of its own (``corral up`` over a fresh folder: PostgreSQL, broker, workers, engine) that a program
uses over HTTP. It uploads prompts, judges all pairs (``benchmarks.three_rounds_annotator``), starts a training and waits for the
verdict: reward model, imitation of the best of many samples, DPO, check and contest are the product's, and so is the decision.
Sizes are settings of the product. The twins differ in one thing: *planted* judges by a rule, *shuffled* by a coin.

Afterwards base model and champion answer held-out prompts through the engine, and the rule says which answer is better. The
interval is by bootstrap over prompts; a twin whose champion is still the base answers with it twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import httpx

from benchmarks import three_rounds_page as page
from benchmarks.budget import Budget, verdict
from benchmarks.real_rounds import Site, settings_of
from benchmarks.rounds_add_up import begin, once
from benchmarks.rules import Answer
from benchmarks.three_rounds_annotator import TWINS, judgement, prompts
from training.formats import files

PROMPTS, ROUNDS, ASKED, TOKENS, TEMPERATURE, SEED = 80, 3, 300, 64, 0.7, 17
SAMPLES, SAMPLED, CHECKED, HELD_OUT = 10, 12, 24, 20
LOOKS = 180.0
"""Seconds in which a verdict has to follow the last judgement; after it, the votes were too few."""
AT_ONCE = 16


@dataclass(frozen=True)
class Sizes:
    """What a folder was begun with; results of other sizes are not put beside each other."""

    rounds: int
    prompts: int
    asked: int
    tokens: int
    sampled: int
    seed: int

    @property
    def settings(self) -> dict[str, str]:
        """Those of the installation. A contest may count four fifths of a round's prompts, so that its votes suffice."""
        return settings_of(
            held_out=HELD_OUT,
            samples=SAMPLES if self.sampled else 0,
            sampled=max(1, self.sampled),
            checked=CHECKED,
            tokens=self.tokens,
            CHALLENGER_PERCENT=100,
            CONTEST_BUDGET=max(10, self.prompts * 4 // 5),
        )


def main() -> int:
    """Play what is missing, then print what came of it; exit with 1 where the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("var/three-rounds"), help="what is finished is kept here")
    parser.add_argument("--twin", choices=TWINS, help="only this one")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--prompts", type=int, default=PROMPTS, help="of each round")
    parser.add_argument("--asked", type=int, default=ASKED, help="held-out prompts at the end")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of an answer, at most")
    parser.add_argument(
        "--sampled", type=int, default=SAMPLED, help="prompts of a round that are sampled for imitation; 0: none"
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="only put what is finished into a page")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    if options.write:
        page.write(options.write, folder)
        return 0
    sizes = Sizes(**{size.name: getattr(options, size.name) for size in fields(Sizes)})
    begin(folder, sizes)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the installation is stopped, too
    print(f"{sizes.prompts} prompts a round, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before", flush=True)
    for twin in [options.twin] if options.twin else TWINS:
        Play(folder / twin, twin, sizes).play()
        print(f"\n{page.report(folder)}\n", flush=True)
    return verdict(*_claims(folder))


def _claims(folder: Path) -> list[Budget]:
    found = {twin: page.over_base(folder / twin) for twin in TWINS}
    planted, shuffled = (None if each is None else each.low for each in found.values())
    return [
        *([Budget("planted: lower end over the base", planted, 0.5, at_least=True)] if planted is not None else []),
        *([Budget("shuffled: lower end over the base", shuffled, 0.5)] if shuffled is not None else []),
    ]


class Play(Site):
    """One twin: an installation, and the programs that use it."""

    def __init__(self, place: Path, twin: str, sizes: Sizes) -> None:
        super().__init__(place, sizes.settings)
        self.twin, self.sizes = twin, sizes
        drawn = prompts(sizes.seed)
        if len(drawn) < sizes.asked + (sizes.rounds + 1) * sizes.prompts:
            raise SystemExit(f"three rounds: there are {len(drawn)} prompts, too few for these sizes")
        self.asked, self.judged = drawn[: sizes.asked], drawn[sizes.asked :]

    def play(self) -> None:
        """All that is not finished yet."""
        if (self.place / page.SAID).exists():
            return
        with self.up():
            for night in range(1, self.sizes.rounds + 1):
                if not (self.place / page.night(night)).exists():
                    self._night(night)
            once(self.place / page.SAID, self.place, self._ask_both)

    # ── One round ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _night(self, night: int) -> None:
        """Judge, train, and judge again until there is a verdict: the judgements of a contest are the next round's."""
        if night == 1:
            self._collect(1)
        self.timed(f"{night} training", lambda: self.train(night))
        last = night == self.sizes.rounds
        if self.round(night)["state"] == "challenging":
            self.timed(f"{night} serving", self._served)
            self._collect(night + 1)
            self.timed(f"{night} verdict", lambda: self._verdict(night))
        elif not last:
            self._collect(night + 1)
        files.write_json(self.place / page.night(night), self._facts(night))

    def _collect(self, number: int) -> None:
        size = self.sizes.prompts
        records = [{"prompt": each} for each in self.judged[(number - 1) * size : number * size]]
        settings = {"max_tokens": self.sizes.tokens, "temperature": TEMPERATURE}
        self.collect(number, records, settings, self._judgement)

    def _judgement(self, item: dict[str, Any]) -> dict[str, Any]:
        dice = random.Random(f"{self.sizes.seed} {self.twin} {item['id']}")
        return judgement(self.twin, [each["text"] for each in item["responses"]], dice)

    def _served(self) -> None:
        query = """SELECT count(*) FROM contests c JOIN deployments d ON d.checkpoint_id = c.challenger_id
            WHERE c.kind = 'gate' AND c.verdict IS NULL AND d.load_state = 'loaded'"""
        self.wait(lambda: self.scalar(query), "the challenger in the engine")

    def _verdict(self, night: int) -> None:
        """The product's; where the votes did not suffice, an admin takes the policy out of the contest and says so."""
        decided = lambda: self.round(night)["verdict"] is not None  # noqa: E731
        if not self.wait(decided, "a verdict", within=LOOKS, must=False):
            reason = {"reason": "All of its prompts are judged, and there are no more."}
            self.admin.call("POST", f"/contests/{self._contest_id(night)}/withdraw", json=reason)

    # ── What came of it ──────────────────────────────────────────────────────────────────────────────────────────────
    def _facts(self, night: int) -> dict[str, Any]:
        contest = self._contest_id(night)
        of = self.round(night)
        return {
            "round": of["number"],
            "verdict": of["verdict"] or "refused in training",
            "reason": of["verdict_reason"] or self.refused(night),
            "contest": self.admin.call("GET", f"/contests/{contest}").json() if contest else None,
            "runs": [{**run, "log_tail": ""} for run in self.runs(night)],
            "findings": [{"findings": each} for each in self.found(night)],
            "champion": self._champion(),
        }

    def _contest_id(self, night: int) -> object:
        query = "SELECT id FROM contests WHERE kind = 'gate' AND round_id = :round"
        return self.scalar(query, round=self.round(night)["id"])

    def _champion(self) -> dict[str, Any]:
        query = """SELECT c.name, c.kind FROM appointments a JOIN checkpoints c ON c.id = a.checkpoint_id
            WHERE a.role = 'champion'"""
        return self.rows(query)[0]

    # ── Asking both ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _ask_both(self) -> dict[str, list[Answer]]:
        """An answer of the base and one of the champion to each held-out prompt, from the engine."""
        champion = self._champion()
        names = ["base", "base" if champion["kind"] == "base" else champion["name"]]
        self.wait(lambda: set(names) <= self._models(), f"{names} in the engine")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            base, ours = ([*pool.map(lambda prompt: self._said(name, prompt), self.asked)] for name in names)  # noqa: B023
        return {prompt: [*both] for prompt, *both in zip(self.asked, base, ours, strict=True)}

    def _engine(self, method: str, path: str, **rest: Any) -> dict[str, Any]:
        told = json.loads((self.corral.data_dir / "running.json").read_text())
        headers = {"authorization": f"Bearer {told['engine_api_key']}"}
        answer = httpx.request(method, f"{told['engine_url']}{path}", headers=headers, timeout=600, **rest)
        body: dict[str, Any] = answer.raise_for_status().json()
        return body

    def _models(self) -> set[str]:
        try:
            return {each["id"] for each in self._engine("GET", "/models")["data"]}
        except (httpx.HTTPError, OSError):
            return set()

    def _said(self, model: str, prompt: str) -> Answer:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        asked = body | {"temperature": TEMPERATURE, "max_tokens": self.sizes.tokens}
        found = self._engine("POST", "/chat/completions", json=asked)
        choice = found["choices"][0]
        tokens = int(found["usage"]["completion_tokens"])
        return Answer(choice["message"]["content"].strip(), tokens, choice["finish_reason"] == "stop")


if __name__ == "__main__":
    sys.exit(main())
