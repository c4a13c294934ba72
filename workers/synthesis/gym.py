"""Tasks of reasoning-gym whose answers are numbers: endless problems, each with the one right answer.

reasoning-gym grades answers by itself, task by task; Corral's own check grades these, so only tasks are taken whose right answer
the check ``answer`` takes and whose answer it can tell from another. The package is optional.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from workers.synthesis.protocol import Dropped, Impossible, Made, Order, asked
from workers.verifiers.protocol import Case
from workers.verifiers.registry import find

TASKS: Final = (
    "basic_arithmetic",
    "chain_sum",
    "count_primes",
    "decimal_chain_sum",
    "gcd",
    "lcm",
    "leg_counting",
    "letter_counting",
    "number_sequence",
    "products",
    "simple_equations",
    "simple_geometry",
)
"""What is drawn from where the order names none."""
ANSWER: Final = "End with a line that says “Answer:” and the number."
MISSING: Final = (
    "The package reasoning-gym is not installed where prompts are made: install Corral with the extra “synthesis”."
)


class Gym:
    """Numbers to be found."""

    version = "1"

    async def make(self, order: Order, number: int) -> Made:
        """One problem; tasks take turns."""
        if find_spec("reasoning_gym") is None:
            raise Impossible(MISSING)
        tasks = tuple(order.options.get("tasks") or TASKS)
        task = tasks[number % len(tasks)]
        try:
            item = _items(task, order.seed)[number]
        except (ValueError, KeyError) as error:
            raise Impossible(f"reasoning-gym has no task “{task}”: {error}"[:300]) from None
        question, answer = str(item["question"]).strip(), str(item["answer"]).strip()
        tests = [{"kind": "answer", "value": answer}]
        _gradable(question, answer, tests)
        return Made(
            messages=asked(f"{question}\n\n{ANSWER}"),
            capability="reasoning",
            source={"task": task},
            reference=answer,
            tests=tests,
            language="en",
        )


def _gradable(question: str, answer: str, tests: list[dict[str, Any]]) -> None:
    """Raises Dropped: the check does not take the right answer, or takes another."""
    for said, wanted in ((answer, True), (f"{answer}17", False)):
        case = Case(prompt=asked(question), response=f"Answer: {said}", reference=answer, tests=tests)
        if find("answer").check(case).passed is not wanted:
            raise Dropped(
                f"its answer “{answer[:60]}” is none that can be checked: choose tasks with numbers as answers"
            )


@cache
def _items(task: str, seed: int) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(task, seed=seed, size=10**9)
