"""A checking process with two trivial verifiers: whether the response holds the reference, and whether it shouts."""

from __future__ import annotations

from workers.verifiers import child, registry
from workers.verifiers.protocol import Case, Finding


class Holds:
    """Passes where the reference is part of the response; cannot tell of one that says "unsure", and not yet of "away"."""

    name, version, limit_s = "holds", "1", 30.0

    def applies(self, case: Case) -> bool:
        return bool(case.reference)

    def check(self, case: Case) -> Finding:
        if "unsure" in case.response:
            return Finding(self.name, self.version, None, "could not be read")
        if "away" in case.response:
            return Finding(self.name, self.version, None, "the service is away", again=True)
        passed = str(case.reference) in case.response
        message = "1 of 1 tests" if passed else f"{case.reference} wanted"
        return Finding(self.name, self.version, passed, message, float(passed), {"wanted": case.reference})


class Quiet:
    """Passes where nothing is shouted; looks where a test says so."""

    name, version, limit_s = "quiet", "1", 30.0

    def applies(self, case: Case) -> bool:
        return bool(case.tests_of("quiet"))

    def check(self, case: Case) -> Finding:
        return Finding(self.name, self.version, not case.response.isupper(), "nothing is shouted")


ALL = {each.name: each() for each in (Holds, Quiet)}

if __name__ == "__main__":
    registry.VERIFIERS._places.clear()
    registry.VERIFIERS._places.update(dict.fromkeys(ALL, ""))
    registry.VERIFIERS._found.update(ALL)
    child.main()
