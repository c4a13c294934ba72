"""In a sandbox: makes tables from the input, then runs a response's SQL and writes the rows that it gives.

Rows stand as SQLite's command line writes them: ``|`` between columns, nothing for NULL. With ``--syntax`` each statement is only
read: tables that are not there are no mistake then.
"""

import re
import sqlite3
import sys
from collections.abc import Iterator


def statements(text: str) -> Iterator[str]:
    """The statements of a script, one by one."""
    begun = ""
    for piece in text.split(";"):
        begun += piece + ";"
        if sqlite3.complete_statement(begun):
            if _says_something(begun):
                yield begun
            begun = ""
    if _says_something(begun):
        yield begun.rstrip(";")


def _says_something(statement: str) -> bool:
    return bool(re.sub(r"--[^\n]*|/\*.*?\*/", "", statement, flags=re.DOTALL).strip("; \t\r\n"))


def shown(value: object) -> str:
    """A column as text."""
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def script() -> str:
    """The response's SQL."""
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123  # pathlib takes longer to load than the query
        return file.read()


def syntax(database: sqlite3.Connection) -> int:
    """Have every statement read, without running any."""
    for statement in statements(script()):
        try:
            database.execute(f"EXPLAIN {statement}")
        except (sqlite3.Error, sqlite3.Warning) as error:
            if re.search(r"syntax error|unrecognized token|incomplete input", str(error)):
                print(f"SQLite: {error}", file=sys.stderr)  # noqa: T201
                return 1
    return 0


def main() -> int:
    """Run it; exit status 1 where the response's SQL is wrong, 2 where the input is."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    if "--syntax" in sys.argv:
        return syntax(database)
    try:
        database.executescript(sys.stdin.read())
    except sqlite3.Error as error:
        print(f"setup: {error}", file=sys.stderr)  # noqa: T201  # the way out of the sandbox
        return 2
    try:
        for statement in statements(script()):
            for row in database.execute(statement):
                sys.stdout.write("|".join(map(shown, row)) + "\n")
    except (sqlite3.Error, sqlite3.Warning) as error:
        print(f"SQLite: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
