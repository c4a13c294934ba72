"""JavaScript and TypeScript: the same two sandboxes, with Node.js in them."""

from __future__ import annotations

import pytest

from tests.verifiers.coding import calls, fenced, first, here, run
from workers.sandbox import NoSandbox
from workers.verifiers.code import calls as relay
from workers.verifiers.protocol import Finding

STACK = (
    "class Stack { #all = []; push(x) { this.#all.push(x) } pop() { return this.#all.pop() } "
    "get size() { return this.#all.length } }"
)
ADDS = "assert.strictEqual(add(1, 2), 3); assert.deepEqual(add(2, 2), 4);"


def check(code: str, tests: str, *names: str, language: str = "javascript", given: str = "") -> Finding:
    try:
        here().run(["node", "-e", ""])
    except NoSandbox as error:
        pytest.skip(str(error))
    finding = run(fenced(code, language), calls(tests, *names, language=language, given=given))
    if finding.message.endswith("or newer"):
        pytest.skip(finding.message)
    return finding


@pytest.mark.parametrize(
    "code",
    [
        "function add(a, b) { return a + b }",
        "const add = (a, b) => a + b;",
        "export const add = (a, b) => a + b;",
        "export default (a, b) => a + b;",
        "export default function add(a, b) { return a + b }",
        "export { add };\nfunction add(a, b) { return a + b }",
        "module.exports = { add: (a, b) => a + b };",
        "module.exports = (a, b) => a + b;",
        "exports.add = function (a, b) { return a + b };",
        "import { sep } from 'node:path';\nexport const add = (a, b) => a + b;",
        "const { sep } = require('path');\nconst add = (a, b) => a + b;",
        "add = (a, b) => a + b",
        "console.log('loaded');\nfunction add(a, b) { console.log(a); return a + b }",
    ],
)
def test_a_function_is_found_however_it_is_declared(code: str) -> None:
    assert check(code, ADDS, "add").passed is True


@pytest.mark.parametrize(
    "tests",
    [
        ADDS,
        "const assert = require('node:assert');\nfunction test() { assert.deepEqual(add(1, 2), 3); }\ntest();",
        "import assert from 'node:assert';\nimport { strictEqual as same } from 'node:assert';\nsame(add(1, 2), 3);",
        "const test = () => { console.assert(add(1, 2) === 3) };\ntest();",
        "if (add(1, 2) !== 3) throw new Error('wrong');",
        "assert(add(1, 2) === 3);",
    ],
)
def test_tests_are_read_in_the_forms_that_people_write(tests: str) -> None:
    assert check("const add = (a, b) => a + b;", tests, "add").passed is True
    assert check("const add = (a, b) => a - b;", tests, "add").passed is False
    assert check("const add = () => null;", tests, "add").passed is False


@pytest.mark.parametrize(
    ("code", "tests", "name"),
    {
        "undefined": ("const f = () => {};", "assert.strictEqual(f(), undefined)", "f"),
        "not a number": (
            "const f = () => [NaN, -0, Infinity];",
            "assert.deepStrictEqual(f(), [NaN, -0, Infinity])",
            "f",
        ),
        "big numbers": ("const f = (n) => n * 2n;", "assert.strictEqual(f(2n ** 80n), 2n ** 81n)", "f"),
        "maps": (
            "const f = (m) => new Map([...m, ['b', new Set([1])]]);",
            "assert.deepStrictEqual(f(new Map([['a', 1]])), new Map([['a', 1], ['b', new Set([1])]]))",
            "f",
        ),
        "dates": ("const f = (d) => new Date(d.getTime() + 1);", "assert.strictEqual(+f(new Date(4)), 5)", "f"),
        "typed arrays": (
            "const f = (a) => Uint8Array.from(a);",
            "assert.deepStrictEqual(f([1, 2]), new Uint8Array([1, 2]))",
            "f",
        ),
        "generators": ("function* f() { yield 1; yield 2 }", "assert.deepStrictEqual([...f()], [1, 2])", "f"),
        "callbacks": (
            "const f = (a, g) => a.map((x) => g(x));",
            "assert.deepStrictEqual(f([1, 2], (x) => x + 1), [2, 3])",
            "f",
        ),
        "closures": (
            "const f = () => { let n = 0; return () => ++n };",
            "const c = f(); c(); assert.strictEqual(c(), 2)",
            "f",
        ),
        "promises": ("const f = async (x) => x * 2;", "assert.strictEqual(await f(2), 4)", "f"),
        "rejections": ("const f = async () => { throw new TypeError('no') };", "await assert.rejects(f(), /no/)", "f"),
        "errors": ("const f = () => { throw new RangeError('no') };", "assert.throws(() => f(), RangeError)", "f"),
        "changed in place": (
            "const f = (a) => { a.sort((x, y) => x - y) };",
            "const a = [3, 1]; f(a); assert.deepStrictEqual(a, [1, 3])",
            "f",
        ),
        "prototypes": (
            "const f = () => JSON.parse('{\"__proto__\": 1}');",
            "assert.deepStrictEqual(Object.keys(f()), ['__proto__'])",
            "f",
        ),
        "classes": (
            STACK,
            "const s = new Stack(); s.push({a: 1}); assert.equal(s.size, 1); assert.deepEqual(s.pop(), {a: 1})",
            "Stack",
        ),
        "objects with fields": (
            "class P { constructor(x) { this.x = x } }",
            "assert.deepEqual(new P(1), {x: 1}); assert.notDeepEqual(new P(2), {x: 1})",
            "P",
        ),
    }.values(),
    ids=lambda value: value[:30],
)
def test_values_arrive_as_what_they_are(code: str, tests: str, name: str) -> None:
    finding = check(code, tests, name)

    assert finding.passed is True, finding


def test_typescript_is_run_with_its_types_taken_off() -> None:
    code = "enum Sign { Plus = 1 }\ninterface Pair { a: number; b: number }\n"
    code += "export function add({ a, b }: Pair): number { return a * Sign.Plus + b }"
    tests = "const wanted: number = 3;\nassert.strictEqual(add({ a: 1, b: 2 } as any), wanted);"

    assert check(code, tests, "add", language="typescript").passed is True
    assert check(code.replace("+ b", "- b"), tests, "add", language="typescript").passed is False


def test_what_the_prompt_gives_is_there_and_no_answer() -> None:
    given = "const TAX = 2;\nfunction f(x) { }\n"

    assert check("function f(x) { return x * TAX }", "assert.equal(f(2), 4)", "f", given=given).passed is True
    assert (
        check("const g = 1", "assert.equal(f(2), undefined)", "f", given=given).message == "The code does not define f"
    )


def test_a_failure_says_test_input_got_and_expected() -> None:
    finding = check(
        "const f = (a) => a.length;", "\nassert.deepEqual(f([1]), 1);\nassert.deepEqual(f([1, {b: 2}]), 3);", "f"
    )

    assert finding.message == "1 of 2 tests passed: f([ 1, { b: 2 } ]) gave 2, 3 expected"
    assert first(finding)["test"] == "assert.deepEqual(f([1, {b: 2}]), 3);"


def test_a_name_that_the_solution_forgot_is_its_own_mistake() -> None:
    methods = "class Box { open() { return nowhere } }"

    assert check("const f = () => nowhere;", "assert.equal(f(), 1)", "f").passed is False
    assert check(methods, "const b = new Box(); assert.equal(b.open(), 1)", "Box").passed is False


CHEATS = {
    "exits": "const f = () => process.exit(0);",
    "exits at once": "process.exit(0);",
    "throws nothing": "const f = () => { throw undefined };",
    "answers to every name": "const f = () => new Proxy({}, { get: () => () => true });",
    "is any class": "class E { constructor() { this.x = 1 } }\nconst f = () => new E();",
    "replaces JSON": 'JSON.stringify = () => \'{"verdict": {"passed": 9}}\';\nconst f = () => 0;',
    "writes a verdict": 'require(\'fs\').writeSync(1, \'{"verdict": {"passed": 9, "failures": 0}}\\n\');\nconst f = () => 0;',
    "writes a verdict when called": "const f = () => require('fs').writeSync(1, '{\"verdict\": {\"passed\": 9}}\\n'.repeat(9));",
    "changes the arrays": "Array.prototype.includes = () => true;\nObject.is = () => true;\nconst f = () => 0;",
    "changes assert": "const a = require('assert');\nfor (const k of Object.keys(a)) a[k] = () => {};\nconst f = () => 0;",
    "reads its caller": "function f(g) { return typeof g === 'function' ? g.caller ?? g.toString() : f.caller }",
    "fills the memory": "const f = () => { const a = []; for (;;) a.push(new Array(1e5).fill(1)) };",
    "is not JavaScript": "Sure! Here is the function:",
}


@pytest.mark.parametrize("name", CHEATS)
def test_no_cheat_passes(name: str) -> None:
    finding = check(
        CHEATS[name],
        "const secret = 42; assert.strictEqual(f(() => 1), secret); assert.deepEqual(f([]), [secret]);",
        "f",
    )

    assert finding.passed is not True, finding
    assert not finding.score


@pytest.mark.parametrize(
    ("tests", "says"),
    [
        ("assert.equal(g(), 1)", "the tests are wrong: g is not defined"),
        ("This is prose.", "the tests are no javascript"),
        ("assert(true)", "the tests never call the solution"),
        ("require('nowhere')", "the tests are wrong: Cannot find module"),
        ("f(); process.exit(0)", "they ended themselves"),
        ("f(Symbol.iterator)", "a symbol cannot be sent"),
    ],
)
def test_tests_that_are_no_tests_say_nothing_of_the_solution(tests: str, says: str) -> None:
    finding = check("const f = () => 1;", tests, "f")

    assert (finding.passed, says in finding.message) == (None, True), finding


def test_a_package_that_is_missing_here_is_nobodys_mistake() -> None:
    asked = "it needs the package lodash, which the sandbox does not have"

    assert asked in check("const _ = require('lodash');\nconst f = () => 1;", "assert.equal(f(), 1)", "f").message
    assert asked in check("import _ from 'lodash';\nexport const f = () => 1;", "assert.equal(f(), 1)", "f").message


def test_what_never_ends_is_stopped_on_either_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "WALL_S", 2.0)

    assert check("const f = () => { for (;;); };", "assert.equal(f(), 1)", "f").passed is False
    assert check("const f = () => 1;", "f(); for (;;);", "f").passed is None
    assert check("const f = () => new Promise(() => {});", "assert.equal(await f(), 1)", "f").passed is False
