"""Is a model a judge of facts that may decide alone? Measured on LLMBar, beside a coin, which must be refused, and an oracle.

    python -m benchmarks.judge LLMBAR.json [--url http://…/v1 --model NAME]

``JUDGE_KEY`` in the environment is its key, where it asks for one. LLMBar (Zeng et al. 2023, arXiv:2310.07641) has two answers to
an instruction and the one that people say is right. A judge is shown both as the source, and told that the first is the better.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from workers.verifiers.judging import Agreement, Labelled, Verdict, asked, measured


def labelled(file: Path) -> list[Labelled]:
    """LLMBar's pairs as answers with the verdict of people."""
    return [
        Labelled(
            source=f"Answer 1: {pair['output_1']}\n\nAnswer 2: {pair['output_2']}",
            question=f"Which answer follows this instruction better? {pair['input']}",
            answer="Answer 1.",
            verdict=Verdict.CORRECT if pair["label"] == 1 else Verdict.INCORRECT,
        )
        for pair in json.loads(file.read_text(encoding="utf-8"))
    ]


def oracle(labels: list[Labelled]) -> Callable[[str], str]:
    """A judge that says what people said."""
    truth = {asked(each.source, each.question, each.answer): each.verdict for each in labels}
    return lambda question: json.dumps({"verdict": truth[question], "informative": True})


def coin(seed: int) -> Callable[[str], str]:
    """A judge that tosses one."""
    dice = random.Random(seed)
    return lambda _: json.dumps({"verdict": dice.choice(["correct", "incorrect"]), "informative": True})


def endpoint(url: str, model: str) -> Callable[[str], str]:
    """A model behind an OpenAI-compatible endpoint; an error is an answer without a verdict."""
    key = os.environ.get("JUDGE_KEY")
    client = httpx.Client(timeout=300, headers={"authorization": f"Bearer {key}"} if key else {})

    def ask(question: str) -> str:
        body = {
            "model": model,
            "temperature": 0,
            "max_tokens": 200,
            "messages": [{"role": "user", "content": question}],
        }
        try:
            answer = client.post(f"{url.rstrip('/')}/chat/completions", json=body)
            return str(answer.json()["choices"][0]["message"]["content"])
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            return ""

    return ask


def main() -> int:
    """Print each judge's agreement; status 1 where a coin is admitted or an oracle refused."""
    parser = argparse.ArgumentParser(description="Agreement of judges with people on LLMBar.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--url")
    parser.add_argument("--model", default="")
    given = parser.parse_args()
    labels = labelled(given.file)
    judges = {"coin": coin(7), "oracle": oracle(labels)}
    if given.url:
        judges[given.model or given.url] = endpoint(given.url, given.model)
    found: dict[str, Agreement] = {name: measured(judge, labels) for name, judge in judges.items()}
    for name, agreement in found.items():
        print(f"{name:20} {agreement.words()}")
    return 0 if found["oracle"].decides_alone and not found["coin"].decides_alone else 1


if __name__ == "__main__":
    sys.exit(main())
