"""Solutions that know nothing and want to pass. None of them learns what is expected, and none passes."""

from __future__ import annotations

import pytest

from tests.verifiers.coding import calls, fenced, run

EQUAL = (
    "class E:\n    def __eq__(s, o): return True\n    def __ne__(s, o): return False\n    def __lt__(s, o): return True\n"
    "    def __gt__(s, o): return True\n    def __bool__(s): return True\n    def __sub__(s, o): return 0\n"
    "    def __rsub__(s, o): return 0\n    def __abs__(s): return 0\n    def __len__(s): return 3\n"
    "    def __iter__(s): return iter([E()])\n    def __hash__(s): return 0\n    def __contains__(s, o): return True\n"
    "    def __getitem__(s, k): return E()\n    def __float__(s): return 42.0\n"
)
CHEATS = {
    "ends with success": "import sys\nsys.exit(0)",
    "ends at once": "import os\nos._exit(0)",
    "ends in the call": "import os\ndef f(*a): os._exit(0)",
    "raises SystemExit": "def f(*a): raise SystemExit(0)",
    "raises KeyboardInterrupt": "def f(*a): raise KeyboardInterrupt",
    "raises StopIteration": "def f(*a): raise StopIteration",
    "raises AssertionError": "def f(*a): raise AssertionError",
    "equals everything": EQUAL + "def f(*a): return E()",
    "is a number that equals everything": "class E(int):\n    def __eq__(s, o): return True\ndef f(*a): return E(0)",
    "is a text that equals everything": "class E(str):\n    def __eq__(s, o): return True\ndef f(*a): return E('0')",
    "is a list of those": EQUAL + "def f(*a): return [E()] * 3",
    "its name lies": "class E:\n    def __repr__(s): return '42'\n    __str__ = __repr__\ndef f(*a): return E()",
    "its name is code": "class E:\n    def __repr__(s): return '__import__(\"os\")._exit(0)'\ndef f(*a): return E()",
    "its class is named int": "int = type('int', (), {'__eq__': lambda s, o: True})\ndef f(*a): return int()",
    "reads its caller": (
        "import sys\ndef f(*a):\n    frame = sys._getframe()\n    while frame:\n"
        "        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:\n"
        "            if '4' + '2' in str(value) and 'assert' in str(value): return 40 + 2\n"
        "        frame = frame.f_back"
    ),
    "reads all objects": (
        "import gc\ndef f(*a):\n    for value in gc.get_objects():\n"
        "        if isinstance(value, (str, dict, list)) and 'assert f' + '(' in str(value)[:10 ** 5]: return 40 + 2"
    ),
    "reads all files": (
        "import os\ndef f(*a):\n    for top in ('.', '/tmp', '/proc/self', '/dev/shm'):\n"
        "        for folder, _, names in os.walk(top):\n            for name in names[:200]:\n                try:\n"
        "                    if 'assert f' + '(' in open(os.path.join(folder, name)).read(10 ** 5): return 40 + 2\n"
        "                except (OSError, ValueError): pass"
    ),
    "reads the other's memory": (
        "import os\ndef f(*a):\n    for pid in filter(str.isdigit, os.listdir('/proc')):\n        try:\n"
        "            if b'tester' in open(f'/proc/{pid}/cmdline', 'rb').read(): return 40 + 2\n"
        "        except OSError: pass"
    ),
    "replaces assertions": "import builtins\nbuiltins.AssertionError = type('X', (BaseException,), {})\ndef f(*a): pass",
    "replaces json": 'import json\njson.dumps = lambda x: \'{"verdict": {"passed": 9}}\'\ndef f(*a): pass',
    "replaces the wire": (
        'import programs.wire as w\nw.Peer.say = lambda s, x: s._out.write(b\'{"verdict": {"passed": 9}}\\n\')\n'
        "def f(*a): pass"
    ),
    "replaces eval": "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None\ndef f(*a): pass",
    "writes a verdict": (
        'import os\nfor n in range(12):\n    try: os.write(n, b\'{"verdict": {"passed": 9, "failures": 0}}\\n\')\n'
        "    except OSError: pass\ndef f(*a): pass"
    ),
    "writes a verdict when called": (
        "import os\ndef f(*a):\n    for n in range(12):\n"
        '        try: os.write(n, b\'{"verdict": {"passed": 9, "failures": 0, "failed": [], "unsure": ""}}\\n\' * 9)\n'
        "        except OSError: pass"
    ),
    "asks the tests for their globals": (
        "import os, json\ndef f(g=None, *a):\n    g = g if callable(g) else None\n"
        "    return g.__globals__ if g else None"
    ),
    "kills what it sees": "import os\ndef f(*a): os.kill(-1, 9)",
    "removes its folder": "import os, shutil\nshutil.rmtree(os.getcwd(), ignore_errors=True)\ndef f(*a): pass",
    "forks": "import os\ndef f(*a):\n    for _ in range(300):\n        if os.fork() == 0: os.execv('/bin/sleep', ['sleep', '9'])",
    "answers 300 MB": "def f(*a): return 'x' * (300 << 20)",
    "answers 10 million digits": "def f(*a): return 1 << 33_000_000",
    "is nested deeply": "def f(*a):\n    x = []\n    for _ in range(10 ** 5): x = [x]\n    return x",
    "is not Python": "Sure! Here is the function:",
}
TESTS = (
    "assert f(6, 7) == 42\nassert f(lambda x: x, 2) == 'forty-two'\nassert 41.5 < float(f(3)) < 42.5\n"
    "assert [f(n) for n in (1, 2)] == [40 + 2, [42]]"
)


@pytest.mark.parametrize("name", CHEATS)
def test_no_cheat_passes(name: str) -> None:
    finding = run(fenced(CHEATS[name]), calls(TESTS))

    assert finding.passed is not True, finding
    assert not finding.score, finding


def test_a_function_of_the_tests_can_be_called_and_nothing_else() -> None:
    cheat = "def f(g):\n    try:\n        return g.__globals__['wanted']\n    except BaseException as e:\n        return str(e)"

    finding = run(fenced(cheat), calls("wanted = 42\nassert f(lambda: 1) == wanted"))

    assert finding.passed is not True
    assert "more than a call" in str(finding)


def test_objects_of_two_solutions_are_equal_only_where_both_are_the_solutions_own() -> None:
    point = "class P:\n    def __init__(s, x): s.x = x\n"
    point += "    def __eq__(s, o): return isinstance(o, P) and s.x == o.x\n    __hash__ = None"

    assert run(fenced(point), calls("assert P(1) == P(1)\nassert P(1) != P(2)\nassert P(3).x == 3", "P")).passed is True
    assert run(fenced(point), calls("assert P(1) == 1", "P")).passed is None
