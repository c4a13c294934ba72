"""Hold the checks of tool calls to BFCL: right calls are taken, and calls with one thing wrong are refused.

    python -m benchmarks.tool_calls [FOLDER]

FOLDER holds bfcl_*.jsonl with their bfcl_*.answer.jsonl; a file that is missing is skipped by name. A right call takes the first
of the values that BFCL accepts for each argument; a few of BFCL's own answers break their own schemas.
"""

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.kernel.settings import ROOT
from benchmarks.budget import Budget, verdict
from workers.verifiers.protocol import Case, checked
from workers.verifiers.tool_calls import ToolCalls

FOLDER = ROOT.parent / "shared" / "data" / "capabilities"
FILES = ("simple_python", "multiple", "parallel", "parallel_multiple")
RIGHT_WANTED, MUTANTS_WANTED = 99, 99.9
"""Per cent."""
Row = dict[str, Any]


def first_of(accepted: Any) -> Any:
    """The first accepted value; inside of an object each key has its own list of them."""
    if isinstance(accepted, dict):
        return {key: first_of(values[0]) for key, values in accepted.items() if values and values[0] != ""}
    return [first_of(each) for each in accepted] if isinstance(accepted, list) else accepted


def right_call(answer: Row) -> Row:
    """The call of one entry of BFCL's ground truth."""
    ((name, arguments),) = answer.items()
    chosen = {key: first_of(values[0]) for key, values in arguments.items() if values and values[0] != ""}
    return {"name": name, "arguments": chosen}


def mutants(call: Row, functions: list[Row]) -> Iterator[tuple[str, Row]]:
    """The call with one thing wrong, and what it is."""
    arguments = call["arguments"]
    required = next(each for each in functions if each["name"] == call["name"])["parameters"].get("required", [])
    yield "no such tool", {**call, "name": call["name"] + "_x"}
    yield "an argument made up", {**call, "arguments": {**arguments, "made_up": 1}}
    yield "arguments as a text", {**call, "arguments": json.dumps(arguments)}
    for key in required[:1]:
        yield "a required one left out", {**call, "arguments": {k: v for k, v in arguments.items() if k != key}}
    for key, value in list(arguments.items())[:1]:
        wrong: Any = "x" if isinstance(value, dict) else {"a": 1}
        yield "a value of another type", {**call, "arguments": {**arguments, key: wrong}}


def says(functions: list[Row], calls: list[Row], wanted: list[Row] | None) -> bool | None:
    """What the verifier says of these calls, with BFCL's test or with the schemas alone."""
    response = "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)
    tests = [] if wanted is None else [{"kind": "tool_calls", "calls": wanted}]
    return checked(ToolCalls(), Case(prompt=[], response=response, tools=functions, tests=tests)).passed


def measure(name: str, questions: Path, answers: Path) -> tuple[int, int, int, int]:
    """Right calls taken, right calls, mutants refused, mutants; of one file."""
    truth = {row["id"]: row["ground_truth"] for row in rows_of(answers)}
    taken = right = refused = wrong = 0
    for row in rows_of(questions):
        wanted, functions = truth[row["id"]], row["function"]
        calls = [right_call(answer) for answer in wanted]
        right += len(calls)
        if not says(functions, calls, wanted):
            print(f"  {row['id']}: a right call is refused")
            taken += sum(bool(says(functions, [call], None)) for call in calls)
            continue
        taken += len(calls)
        for number, call in enumerate(calls):
            for what, mutant in mutants(copy.deepcopy(call), functions):
                for test in (wanted, None):
                    wrong += 1
                    caught = says(functions, [*calls[:number], mutant, *calls[number + 1 :]], test) is False
                    refused += caught
                    if not caught:
                        print(f"  {row['id']}: {what} is taken")
    print(f"tools: {name:18} right calls taken {taken}/{right}, mutants refused {refused}/{wrong}")
    return taken, right, refused, wrong


def rows_of(file: Path) -> list[Row]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def budgets(folder: Path) -> list[Budget]:
    """What was measured of the files that are there, beside what it may be; nothing where none is."""
    counts = []
    for name in FILES:
        questions, answers = folder / f"bfcl_{name}.jsonl", folder / f"bfcl_{name}.answer.jsonl"
        if questions.is_file() and answers.is_file():
            counts.append(measure(name, questions, answers))
        else:
            print(f"tools: {name}: skipped, {questions.name} or {answers.name} is missing")
    if not counts:
        return []
    taken, right, refused, wrong = (sum(column) for column in zip(*counts, strict=True))
    return [
        Budget(f"right calls of {right:,} taken", 100 * taken / right, RIGHT_WANTED, "%", at_least=True),
        Budget(f"mutants of {wrong:,} refused", 100 * refused / wrong, MUTANTS_WANTED, "%", at_least=True),
    ]


def main() -> int:
    """Print the table; 1 where the bar is missed."""
    return verdict(*budgets(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))


if __name__ == "__main__":
    sys.exit(main())
