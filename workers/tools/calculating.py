"""The calculator's process: an expression on standard input, what it comes to on standard output.

It is started alone and killed when it takes too long (``9**9**9`` never ends). An expression is read as Python's grammar and
made of the named functions alone: sympy's own parser would run whatever is written.
"""

from __future__ import annotations

import ast
import re
import resource
import sys
from typing import Any, Final

import sympy

_SYMPYS: Final = (
    "sqrt cbrt exp log sin cos tan asin acos atan sinh cosh tanh floor factorial binomial gcd lcm isprime factorint "
    "solve diff integrate limit factor expand simplify summation product Min Max"
)
FUNCTIONS: Final[dict[str, Any]] = {name: getattr(sympy, name) for name in _SYMPYS.split()} | {
    "ln": sympy.log, "abs": sympy.Abs, "ceil": sympy.ceiling, "ceiling": sympy.ceiling, "min": sympy.Min, "max": sympy.Max,
    "sum": sympy.summation, "round": lambda value, digits=0: round(sympy.N(value, 30), int(digits)),
}  # fmt: skip
CONSTANTS: Final = {"pi": sympy.pi, "e": sympy.E, "E": sympy.E, "I": sympy.I, "oo": sympy.oo, "inf": sympy.oo}
_MEMORY: Final = 1 << 30
_UNITS: Final = re.compile(r"^(?P<amount>.+?)\s+(?:to|in|as)\s+(?P<unit>[^\d].*)$")
_OPERATIONS: Final[dict[type[ast.operator], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
    ast.BitXor: lambda a, b: a**b,
    ast.Mod: lambda a, b: a % b,
    ast.FloorDiv: lambda a, b: sympy.floor(a / b),
}


def calculated(text: str) -> str:
    """What the expression comes to, exactly and as a decimal; "3 miles to km" is converted.

    Raises:
        Exception: it is no expression that is known here.
    """
    asked = _UNITS.match(text.strip())
    if asked is not None:
        return _converted(asked["amount"], asked["unit"])
    value = _made(ast.parse(text.strip(), mode="eval").body)
    exact = str(value)
    if isinstance(value, sympy.Expr) and value.is_number and not value.is_Integer and not value.is_Float:
        return f"{exact} = {sympy.N(value, 15)}"
    return exact


def _converted(amount: str, unit: str) -> str:
    import pint

    registry: Any = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    number = re.match(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(.*)", amount)
    quantity = (
        registry.Quantity(float(number[1]), number[2]) if number and number[2] else registry.parse_expression(amount)
    )
    return f"{quantity.to(unit.strip()):.12g}"


def _made(node: ast.expr) -> Any:
    """The value of a node; whatever is not named here is refused."""
    if isinstance(node, ast.Constant | ast.Name):
        return _leaf(node)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_made(node.left), _made(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        return -_made(node.operand) if isinstance(node.op, ast.USub) else _made(node.operand)
    if isinstance(node, ast.Tuple | ast.List):
        return sympy.Tuple(*map(_made, node.elts)) if isinstance(node, ast.Tuple) else list(map(_made, node.elts))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
        return sympy.Eq(_made(node.left), _made(node.comparators[0]))
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in FUNCTIONS
        and not node.keywords
    ):
        return FUNCTIONS[node.func.id](*map(_made, node.args))
    raise ValueError(f"“{ast.unparse(node)[:80]}” is nothing that can be calculated here")


def _leaf(node: ast.Constant | ast.Name) -> Any:
    if isinstance(node, ast.Name):
        return CONSTANTS.get(node.id, sympy.Symbol(node.id))
    if isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return sympy.Rational(str(node.value))
    raise ValueError(f"{node.value!r:.80} is no number")


def main() -> None:
    """Answer the one expression that was sent."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    sys.set_int_max_str_digits(20_000)
    try:
        sys.stdout.write(calculated(sys.stdin.read()))
    except Exception as error:  # noqa: BLE001  # whatever is wrong with an expression is an answer
        sys.stdout.write(f"{type(error).__name__}: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
