"""A solution's functions are called from another sandbox: what passes, what fails, and what cannot be said."""

from __future__ import annotations

import pytest

from tests.verifiers.coding import calls, fenced, first, run
from workers.verifiers.code import calls as relay

PAIR = "from collections import namedtuple\nPair = namedtuple('Pair', 'a b')\n"
NODE = "class Node:\n    def __init__(self, value, next=None):\n        self.value, self.next = value, next\n"


def test_a_right_answer_passes_every_test_and_a_wrong_one_is_told_which_it_fails() -> None:
    tests = calls("assert f(1) == 2\nassert f(2) == 3\nassert f([1]) == [1, 1]")

    right = run(fenced("def f(x):\n    return x + (1 if isinstance(x, int) else [1])"), tests)
    wrong = run(fenced("def f(x):\n    return 2"), tests)

    assert (right.passed, right.score, right.message) == (True, 1.0, "3 of 3 tests passed")
    assert (wrong.passed, wrong.message) == (False, "1 of 3 tests passed: f(2) gave 2, 3 expected")
    assert wrong.score == pytest.approx(1 / 3)
    assert first(wrong) == {"test": "assert f(2) == 3", "input": "f(2)", "got": "2", "expected": "3"}


def test_an_error_of_the_solution_is_shown_in_its_words() -> None:
    finding = run(fenced("def f(x):\n    return 1 / x"), calls("assert f(0) == 0\nassert f(1) == 1"))

    assert finding.message == "1 of 2 tests passed: f(0) raised ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("solution", "tests"),
    {
        "tuples stay tuples": ("def f():\n    return (1, [2, (3,)])", "assert f() == (1, [2, (3,)])"),
        "lists are no tuples": ("def f(x):\n    return type(x).__name__", "assert f([1]) == 'list'"),
        "keys of any kind": ("def f():\n    return {1: 'a', (1, 2): {3}}", "assert f() == {1: 'a', (1, 2): {3}}"),
        "infinity": ("def f():\n    return [float('inf'), -float('inf')]", "assert f()[0] == float('inf') > f()[1]"),
        "not a number": ("def f():\n    return [float('nan')]", "import math\nassert math.isnan(f()[0])"),
        "bytes": ("def f(b):\n    return bytearray(b)", "assert f(b'x\\x00') == bytearray(b'x\\x00')"),
        "complex numbers": ("def f():\n    return 1 + 2j", "assert f() == 1 + 2j"),
        "5,000 digits": ("def f(n):\n    return 10 ** n + 1", "assert f(5000) == 10 ** 5000 + 1"),
        "fractions": ("from fractions import Fraction as F\ndef f():\n    return F(1, 3)", "assert f() * 3 == 1"),
        "dates": (
            "import datetime\ndef f(d):\n    return d + datetime.timedelta(1)",
            "import datetime as d\nassert f(d.date(2024, 2, 28)) == d.date(2024, 2, 29)",
        ),
        "counters": ("from collections import Counter as f", "assert f('aab').most_common(1) == [('a', 2)]"),
        "deques": ("from collections import deque\ndef f():\n    return deque([1])", "assert f().popleft() == 1"),
        "ranges": ("def f():\n    return range(3)", "assert f() == range(3)"),
        "named tuples": (PAIR + "def f():\n    return Pair(1, 2)", "assert f() == (1, 2) and f().b == 2"),
        "views": ("def f(d):\n    return d.keys()", "assert f({'a': 1}) == {'a'}"),
        "generators": ("def f():\n    yield 1\n    yield 2", "assert list(f()) == [1, 2]\nassert next(f()) == 1"),
        "surrogates": ("def f():\n    return '\\ud800'", "assert f() == '\\ud800'"),
        "changed in place": ("def f(a):\n    a.sort()", "a = [2, 1]\nf(a)\nassert a == [1, 2]"),
        "changed inside": ("def f(a):\n    a[0].append(1)", "inner = []\nf([inner])\nassert inner == [1]"),
        "changed by name": ("def f(a):\n    a['k'] = 1", "a = {}\nf(a=a)\nassert a == {'k': 1}"),
        "functions given": ("def f(g, x):\n    return g(g(x))", "assert f(lambda x: x * 3, 2) == 18"),
        "functions returned": ("def f(n):\n    return lambda x: x + n", "assert f(1)(2) == 3"),
        "calls back and forth": (
            "def f(g, n):\n    return n if n < 2 else g(n - 1) + 1",
            "assert f(lambda n: f(lambda m: m, n), 5) == 5",
        ),
        "coroutines": ("async def f(x):\n    return x", "import asyncio\nassert asyncio.run(f(1)) == 1"),
        "errors": (
            "def f():\n    raise KeyError('a')",
            "try:\n    f()\nexcept KeyError as e:\n    assert 'a' in str(e)",
        ),
        "raises": (
            "def f():\n    raise ValueError",
            "ok = False\ntry:\n    f()\nexcept ValueError:\n    ok = True\nassert ok",
        ),
        "tests as functions": ("def f():\n    return 1", "def test_one():\n    assert f() == 1"),
    }.values(),
    ids=lambda value: value.splitlines()[0],
)
def test_values_arrive_as_what_they_are(solution: str, tests: str) -> None:
    finding = run(fenced(solution), calls(tests))

    assert finding.passed is True, finding


def test_objects_of_a_class_that_is_asked_for_are_used_where_they_are() -> None:
    stack = (
        "class Empty(LookupError):\n    pass\n\nclass Stack:\n    def __init__(self):\n        self.items = []\n"
        "    def push(self, x):\n        self.items.append(x)\n"
        "    def pop(self):\n        if not self.items:\n            raise Empty('nothing')\n        return self.items.pop()\n"
        "    def __len__(self):\n        return len(self.items)\n    def __getitem__(self, n):\n        return self.items[n]\n"
    )
    tests = (
        "s = Stack()\ns.push(1)\ns.push((2,))\nassert len(s) == 2\nassert s[0] == 1\nassert s.pop() == (2,)\n"
        "assert s.items == [1]\ns.pop()\ncaught = False\ntry:\n    s.pop()\nexcept Empty:\n    caught = True\nassert caught\n"
        "assert not s\nassert s != Stack()"
    )

    finding = run(fenced(stack), calls(tests, "Stack", "Empty"))

    assert (finding.passed, finding.score) == (True, 1.0), finding


def test_objects_of_a_class_that_the_prompt_gives_are_copied() -> None:
    reverse = "def f(n):\n    back = None\n    while n:\n        back, n = Node(n.value, back), n.next\n    return back"
    tests = "n = f(Node(1, Node(2)))\nassert isinstance(n, Node)\nassert (n.value, n.next.value, n.next.next) == (2, 1, None)"

    assert run(fenced(reverse), calls(tests, given=NODE)).passed is True
    assert run(fenced(NODE + reverse), calls(tests, given=NODE)).passed is True


def test_a_response_may_go_on_where_the_prompt_ended() -> None:
    given = 'from math import sqrt\n\ndef f(x):\n    """The root."""\n'
    tests = calls("def check(candidate):\n    assert candidate(9) == 3", given=given, check=True)

    assert run("    return sqrt(x)\n", tests).passed is True
    assert run(fenced("    return sqrt(x)"), tests).passed is True
    assert run(fenced("def f(x):\n    return sqrt(x)"), tests).passed is True
    assert run("    return None\n", tests).passed is False


def test_what_the_prompt_gives_is_no_answer() -> None:
    given = "def f(x):\n    return x\n"

    finding = run(fenced("print('see above')"), calls("assert f(1) == 1", given=given))

    assert (finding.passed, finding.message) == (False, "The code does not define f")


@pytest.mark.parametrize(
    ("solution", "says"),
    [
        ("def g():\n    pass", "The code does not define f"),
        ("def f(:\n    pass", "The code does not load: SyntaxError in line 1"),
        ("import sys\nsys.exit(0)", "The code does not load: SystemExit in line 2: 0"),
        ("raise ValueError('no')", "The code does not load: ValueError in line 1: no"),
        ("import os\nos._exit(0)", "The code ended itself before it answered while it was loaded"),
        ("import os\ndef f():\n    os._exit(0)", "f() ended itself before it answered"),
        ("def f():\n    return b'x' * (1 << 30)", "0 of 1 test passed: f() raised MemoryError"),
    ],
)
def test_a_solution_that_cannot_be_called_fails_and_says_why(solution: str, says: str) -> None:
    finding = run(fenced(solution), calls("assert f() == 1"))

    assert (finding.passed, finding.score) == (False, 0.0)
    assert finding.message.startswith(says)


@pytest.mark.parametrize(
    "response", ["I would rather not.", "", "```\n```", "```text\nnone\n```", "```ruby\nputs 1\n```"]
)
def test_a_response_without_code_fails(response: str) -> None:
    assert run(response, calls("assert f() == 1")).passed is False


@pytest.mark.parametrize(
    ("tests", "says"),
    [
        ("assert g() == 1", "the tests are wrong in line 1: NameError"),
        ("assert f( == 1", "the tests are wrong in line 1: SyntaxError"),
        ("This is prose.", "the tests are wrong in line 1: SyntaxError"),
        ("import nowhere", "the tests are wrong in line 1: ModuleNotFoundError"),
        ("assert True", "the tests never call the solution"),
        ("x = 1", "the tests test nothing"),
        ("f()\nimport os\nos._exit(0)", "they ended themselves before they answered"),
        ("f()\nraise SystemExit", "the tests ended themselves before their end"),
        ("f(object())", "the tests pass a object, which cannot be sent"),
        ("f()\nx = [0] * (1 << 28)", "MemoryError"),
        ("a = []\na.append(a)\nf(a)", "a value holds itself"),
    ],
)
def test_tests_that_are_no_tests_say_nothing_of_the_solution(tests: str, says: str) -> None:
    finding = run(fenced("def f(*x):\n    return 1"), calls(tests))

    assert finding.passed is None, finding
    assert says in finding.message


@pytest.mark.parametrize(
    "test",
    [
        {"kind": "calls", "language": "cobol", "names": ["f"], "code": "x"},
        {"kind": "calls", "names": [], "code": "assert f() == 1"},
        {"kind": "calls", "names": ["f()"], "code": "assert f() == 1"},
        {"kind": "calls", "names": "f", "code": "assert f() == 1"},
        {"kind": "calls", "names": [1], "code": "assert f() == 1"},
        {"kind": "calls", "names": ["f"], "code": ""},
        {"kind": "calls", "names": ["f"]},
        {"kind": "calls", "names": ["f"], "code": 3, "given": 4},
        {"kind": "calls", "language": "sql", "names": ["f"], "code": "SELECT 1"},
        {"kind": "calls", "names": ["f"], "code": "def other(): f()", "check": True},
        {"kind": "calls", "names": ["f"], "code": "assert f() == 1", "given": "def ("},
        {"kind": "io", "cases": []},
        {"kind": "io", "cases": [{"input": "x"}]},
        {"kind": "io", "cases": [{"output": 3}]},
        {"kind": "io"},
    ],
    ids=str,
)
def test_a_test_that_is_written_wrongly_says_nothing_of_the_solution(test: dict[str, object]) -> None:
    finding = run(fenced("def f():\n    return 1", str(test.get("language", "python"))), test)

    assert finding.passed is None, finding
    assert finding.message.startswith("The tests could not be run: ")


@pytest.mark.parametrize(
    "raised", ["NameError('x')", "ImportError('x')", "SyntaxError('x')", "MemoryError('x')", "SystemExit('x')"]
)
def test_an_error_of_the_solution_is_never_taken_for_one_of_the_tests(raised: str) -> None:
    for tests in ("assert f() == 1", "x = f()"):
        finding = run(fenced(f"def f():\n    raise {raised}"), calls(tests))
        assert (finding.passed, raised[:5] in finding.message) == (False, True), finding


def test_a_module_that_is_missing_here_is_nobodys_mistake() -> None:
    loaded = run(fenced("import pandas as pd\ndef f():\n    return 1"), calls("assert f() == 1"))
    called = run(fenced("def f():\n    import pandas\n    return 1"), calls("assert f() == 1"))

    assert (loaded.passed, called.passed) == (None, None)
    assert "it needs the module pandas, which the sandbox does not have" in loaded.message + called.message


def test_one_failure_is_enough_whatever_else_could_not_be_run() -> None:
    response = fenced("def f():\n    return 2")

    finding = run(response, calls("assert g() == 1"), calls("assert f() == 1"), calls("assert f() == 2"))

    assert (finding.passed, finding.score) == (False, 0.5)
    assert run(response, calls("assert g() == 1"), calls("assert f() == 2")).passed is None


# ── Without end ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "WALL_S", 2.0)


LOOP = "while True:\n        pass"


@pytest.mark.usefixtures("soon")
def test_a_solution_that_never_ends_fails_and_tests_that_never_end_say_nothing() -> None:
    solution = run(fenced(f"def f():\n    {LOOP}"), calls("assert f() == 1"))
    loading = run(fenced("while True:\n    pass"), calls("assert f() == 1"))
    tests = run(fenced("def f():\n    return 1"), calls("f()\nwhile True:\n    pass"))
    asking = run(fenced("def f():\n    return (x for x in iter(int, 1))"), calls("assert list(f()) == []"))

    assert (solution.passed, solution.message[:25]) == (False, "f() did not end within 5 ")
    assert (loading.passed, loading.message[:27]) == (False, "The code did not end within")
    assert (tests.passed, "they did not end within" in tests.message) == (None, True)
    assert (asking.passed, "more than 10,000 values" in asking.message) == (None, True)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    "printed", ["print('x' * 10 ** 6)", "sys.stderr.write('x' * 10 ** 6)", "os.write(2, b'x' * 10 ** 6)"]
)
def test_what_prints_without_end_is_stopped_on_either_side(printed: str) -> None:
    loop = f"import os, sys\nwhile True:\n    {printed}"
    in_call = loop.replace("\n", "\n    ")

    assert run(fenced(f"def f():\n    {in_call}"), calls("assert f() == 1")).passed is False
    assert run(fenced("def f():\n    return 1"), calls(f"f()\n{loop}")).passed is None


def test_what_is_printed_on_the_way_does_no_harm() -> None:
    finding = run(
        fenced("print('loaded')\ndef f():\n    print('called')\n    return 1"), calls("print('t')\nassert f() == 1")
    )

    assert finding.passed is True
