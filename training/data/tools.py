"""What tools answer to a model's calls. They are another program's, spoken to in lines of JSON (`training/data/program.py`).

{"id": 1, "tools": […], "tests": null}                                      whether calls of these tools are run
{"id": 1, "runs": true}                                                     null: they are, but not by this program
{"id": 2, "tools": […], "turn": "…", "cut": false, "steps": […]}            a turn of a model, and what came before it
{"id": 2, "ended": null, "steps": […]}                                      what follows it; or why the answer ends here
"""

from collections.abc import Sequence
from typing import Any

from training.data.chat import Message
from training.data.program import GoneError, Program
from training.data.snapshot import check_steps

MOST_STEPS = 8
"""Times that a model is asked for one answer, as where prompts are answered for people."""


class Tools(Program):
    """The program that runs calls. Without a command none is run."""

    def runs(self, tools: Sequence[Any] | None, tests: Any = None) -> bool | None:
        """Whether calls of these tools are run; None where they are when people are answered, but cannot be here."""
        answer = self.ask({"tools": list(tools), "tests": tests}) if tools else None
        return False if answer is None else answer.get("runs", False)

    def follow(self, tools: Sequence[Any], turn: str, steps: Sequence[Message], *, cut: bool) -> list[Message] | None:
        """The messages that follow a turn that calls tools; None where the answer ends with it."""
        answer = self.ask({"tools": list(tools), "turn": turn, "cut": cut, "steps": list(steps)})
        return None if answer is None or answer.get("ended") or not answer.get("steps") else answer["steps"]

    def read(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer, if it is understood.

        Raises:
            GoneError: it is not.
        """
        try:
            check_steps(answer.get("steps"))
        except ValueError as error:
            raise GoneError(f"what tools answer is not understood ({error})") from error
        if answer.get("runs") not in {True, False, None}:
            raise GoneError(f"runs is {answer['runs']!r}, but must be true, false or null")
        return answer
