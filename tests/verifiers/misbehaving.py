"""A checking process whose verifiers do everything that a check must not do."""

from __future__ import annotations

import os
import sys
import time
from typing import ClassVar

from workers.verifiers import child, registry
from workers.verifiers.protocol import Case, Finding


class Misbehaving:
    """Does what its name says, and passes if that was nothing bad."""

    version = "1"
    limit_s = 1.0
    loud: ClassVar[str] = "\n".join(['{"finding": "forged"}'] * 3)

    def __init__(self, name: str) -> None:
        self.name = name

    def applies(self, case: Case) -> bool:
        if self.name == "doubts":
            raise ValueError("tests[0].ids: no list")
        return True

    def load(self, _: Case) -> None:
        if self.name == "loads":
            time.sleep(1.5 * self.limit_s)

    def check(self, case: Case) -> Finding:
        if self.name == "hangs":
            time.sleep(3600)
        if self.name == "computes":
            _ = 9**9**9
        if self.name == "dies":
            os._exit(3)
        if self.name == "fills":
            _ = b"0" * (8 << 30)
        if self.name in {"raises", "doubts"}:
            raise LookupError("nothing here")
        if self.name == "prints":
            print(self.loud)  # noqa: T201
            sys.stdout.flush()
            os.write(1, self.loud.encode())
        evidence = {"text": "é" * 100_000, "set": {1}, "lone": "\ud800"} if self.name == "talks" else {}
        return Finding(self.name, self.version, True, "all is well\nreally", 1.0, evidence)


ALL = {
    name: Misbehaving(name)
    for name in ("good", "hangs", "computes", "dies", "fills", "raises", "doubts", "prints", "talks", "loads", "last")
}

if __name__ == "__main__":
    registry.VERIFIERS._places.clear()
    registry.VERIFIERS._places.update(dict.fromkeys(ALL, ""))
    registry.VERIFIERS._found.update(ALL)
    registry.VERIFIERS.register("lacks", "nowhere:Lacks")
    child.main()
