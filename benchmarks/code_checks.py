"""Whether checks of code tell right from wrong, and how many a second: HumanEval where its file is given, a few made tasks else.

python -m benchmarks.code_checks [human_eval.jsonl.gz] [--mutants 2] [--cheats 6] [--threads 2] [--kind landlock]

canonical   the reference of every task passes, and is no error to ruff
nothing     `return None` fails every task
cheats      solutions that know nothing and want to pass: none does
mutants     the reference with one operator or constant changed: at least 89 % fail (some change nothing)
speed       tests and ruff, without the checker of types: the median of one check, its processor time (behind bubblewrap the
            system does not count what the program itself took), and checks a second
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.budget import Budget, verdict
from tests.verifiers.test_code_cheats import CHEATS
from workers.sandbox.__main__ import KINDS
from workers.verifiers.code.running import CodeTests
from workers.verifiers.code.static import Static
from workers.verifiers.protocol import Case, Finding, checked

Task = dict[str, Any]
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Mod: ast.FloorDiv,
    ast.FloorDiv: ast.Div,
    ast.In: ast.NotIn,
}
MADE = [
    {
        "entry_point": "runs",
        "prompt": 'def runs(text: str) -> list:\n    """Letters of text with the lengths of their runs."""\n',
        "canonical_solution": "    found = []\n    for letter in text:\n        if found and found[-1][0] == letter:\n"
        "            found[-1] = (letter, found[-1][1] + 1)\n        else:\n            found.append((letter, 1))\n"
        "    return found\n",
        "test": "def check(candidate):\n    assert candidate('aab') == [('a', 2), ('b', 1)]\n    assert candidate('') == []\n"
        "    assert candidate('aba') == [('a', 1), ('b', 1), ('a', 1)]\n",
    },
    {
        "entry_point": "primes",
        "prompt": 'def primes(n: int) -> list:\n    """The primes below n."""\n',
        "canonical_solution": "    return [x for x in range(2, n) if all(x % y != 0 for y in range(2, x))]\n",
        "test": "def check(candidate):\n    assert candidate(12) == [2, 3, 5, 7, 11]\n    assert candidate(2) == []\n"
        "    assert candidate(3) == [2]\n",
    },
    {
        "entry_point": "mean",
        "prompt": 'def mean(numbers: list) -> float:\n    """Their mean, 0 of none."""\n',
        "canonical_solution": "    if len(numbers) == 0:\n        return 0\n    return sum(numbers) / len(numbers)\n",
        "test": "def check(candidate):\n    assert abs(candidate([1, 2, 4]) - 7 / 3) < 1e-9\n    assert candidate([]) == 0\n",
    },
]


def case_of(task: Task, code: str) -> Case:
    """A response with that code to a task."""
    told = {
        "kind": "calls",
        "language": "python",
        "names": [task["entry_point"]],
        "given": task["prompt"],
        "code": task["test"],
        "check": True,
    }
    return Case([{"role": "user", "content": task["prompt"]}], f"```python\n{code}\n```", tests=[told])


def mutants(tasks: Sequence[Task], each: int) -> Iterator[tuple[Task, str]]:
    """References with one thing changed."""
    draw = random.Random(7)
    for task in tasks:
        for _ in range(each):
            tree = ast.parse(task["prompt"] + task["canonical_solution"])
            functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
            places = list(_places(next(node for node in functions if node.name == task["entry_point"])))
            if places:
                _change(*draw.choice(places))
                yield task, ast.unparse(ast.fix_missing_locations(tree))


def _places(function: ast.FunctionDef) -> Iterator[tuple[Any, str]]:
    for node in ast.walk(function):
        if isinstance(node, ast.BoolOp) or (isinstance(node, ast.BinOp) and type(node.op) in SWAPS):
            yield node, "op"
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            yield node, "ops"
        elif isinstance(node, ast.Constant) and type(node.value) in {int, bool}:
            yield node, "value"


def _change(node: Any, what: str) -> None:
    if what == "op":
        node.op = SWAPS[type(node.op)]()
    elif what == "ops":
        node.ops[0] = SWAPS[type(node.ops[0])]()
    else:
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1


class Bench:
    """Runs checks on some threads."""

    def __init__(self, threads: int, kind: str | None) -> None:
        self.threads = threads
        sandbox = KINDS[kind]() if kind else None
        self.tests, self.static = CodeTests(sandbox), Static(sandbox, types=False)

    def run(self, name: str, cases: Sequence[Case]) -> list[Finding]:
        """The findings, and a line that counts them."""
        began = time.perf_counter()
        with ThreadPoolExecutor(self.threads) as pool:
            found = list(pool.map(lambda case: checked(self.tests, case), cases))
        took = time.perf_counter() - began
        passed, failed, unsure = (sum(each.passed is one for each in found) for one in (True, False, None))
        print(f"{name}: {passed} pass, {failed} fail, {unsure} could not be said; {took:.1f} s")
        return found

    def timed(self, case: Case) -> tuple[float, bool]:
        """Seconds of one check with tests and ruff, and whether ruff found nothing."""
        began = time.perf_counter()
        read = checked(self.static, case)
        checked(self.tests, case)
        return time.perf_counter() - began, read.passed is True


def processor_s() -> float:
    """Seconds of processor time of this process and of all its children that have ended."""
    used = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def tasks_in(path: Path | None) -> list[Task]:
    """The tasks of a file in HumanEval's form, or those made here."""
    if path is None or not path.is_file():
        print("skipped: human_eval.jsonl.gz: give its path; the tasks are made here")
        return MADE
    raw = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).splitlines()]


def budgets(
    tasks: Sequence[Task], *, mutants_each: int = 2, cheats_on: int = 6, threads: int = 2, kind: str | None = None
) -> list[Budget]:
    """What was measured of these tasks, beside what it may be."""
    bench = Bench(threads, kind)
    right = [case_of(task, task["prompt"] + task["canonical_solution"]) for task in tasks]
    canonical = bench.run("canonical", right)
    nothing = bench.run("return None", [case_of(task, f"{task['prompt']}    return None\n") for task in tasks])
    tried = [
        case_of(task, f"{cheat}\ntry: {task['entry_point']} = f\nexcept NameError: pass")
        for cheat in CHEATS.values()
        for task in tasks[:cheats_on]
    ]
    cheats = bench.run("cheats", tried)
    changed = bench.run("mutants", [case_of(task, code) for task, code in mutants(tasks, mutants_each)])

    before = processor_s()
    alone = [bench.timed(case) for case in right]
    processor = (processor_s() - before) / len(right)
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(bench.timed, right))
    rate = len(right) / (time.perf_counter() - began)
    failing = 100 * sum(each.passed is False for each in changed) / max(len(changed), 1)
    return [
        Budget(f"references of {len(right)} that do not pass", sum(each.passed is not True for each in canonical), 0),
        Budget("references in which ruff finds an error", sum(not clean for _, clean in alone), 0),
        Budget(f"`return None` of {len(nothing)} that does not fail", sum(e.passed is not False for e in nothing), 0),
        Budget(f"cheats of {len(cheats)} that pass", sum(each.passed is True for each in cheats), 0),
        Budget(f"mutants of {len(changed)} that fail", failing, 89, "%", at_least=True),
        Budget("median of a check", 1000 * statistics.median(took for took, _ in alone), 150, "ms"),
        Budget("processor time of a check", 1000 * processor, 150, "ms"),
        Budget("checks a second", rate, 10, at_least=True),
    ]


def main() -> int:
    """Print the table; 1 where a budget was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("human_eval", nargs="?", type=Path, default=os.environ.get("HUMAN_EVAL"))
    parser.add_argument("--mutants", type=int, default=2, help="of each task")
    parser.add_argument("--cheats", type=int, default=6, help="tasks that each cheat tries")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kind", choices=KINDS, help="that sandbox instead of the one that would be taken")
    given = parser.parse_args()
    tasks = tasks_in(given.human_eval and Path(given.human_eval))
    found = budgets(tasks, mutants_each=given.mutants, cheats_on=given.cheats, threads=given.threads, kind=given.kind)
    return verdict(*found)


if __name__ == "__main__":
    sys.exit(main())
