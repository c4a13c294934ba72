"""A repository less one file: which files need the missing one? The imports say it, so no model writes and a program checks.

Llama 3 (arXiv 2407.21783, 4.3.4) removes one file that several others need, asks which depend on it, and for the file itself.
"""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import PurePosixPath
from typing import Final

from workers.synthesis.protocol import Document, Ended, Impossible, Made, Order, asked

LIMIT: Final = 120_000
"""Characters of the files that are shown; some 30,000 tokens."""
_SCRIPTS: Final = frozenset({".js", ".mjs", ".ts", ".tsx", ".jsx"})
_FROM: Final = re.compile(r"""(?:from|import|require\()\s*['"](\.{1,2}/[^'"]+)['"]""")
ASKED: Final = """\
Below are the files of a repository. One file that other files import, {missing}, is missing.

{files}

How many of these files import the missing file directly? Name them, then end with a line that says “Answer:” and the number."""


class Repository:
    """Each file that others import is missing once."""

    version = "1"

    async def make(self, order: Order, number: int) -> Made:
        """The repository without its file of that number among those that others import."""
        if not order.documents:
            raise Impossible("No file was given: add the files of a repository, with their paths as names.")
        users = {file.name: needed_by(file, order.documents) for file in order.documents}
        needed = [file for file in order.documents if users[file.name]]
        if not needed and number == 0:
            raise Impossible(
                "No file imports another: give Python, JavaScript or TypeScript files with their paths as names."
            )
        if number >= len(needed):
            raise Ended
        missing = needed[number]
        named = users[missing.name]
        shown = _shown(order.documents, missing, named)
        return Made(
            messages=asked(ASKED.format(missing=missing.name, files=shown)),
            capability="long context",
            source={"missing": missing.name, "importing": named},
            reference=str(len(named)),
            tests=[{"kind": "answer", "value": str(len(named))}],
            language="en",
        )


def needed_by(file: Document, files: tuple[Document, ...]) -> list[str]:
    """The names of the files that import ``file``, sorted."""
    return sorted(other.name for other in files if other is not file and file.name in imported_by(other, files))


def imported_by(file: Document, files: tuple[Document, ...]) -> set[str]:
    """The names of the files that ``file`` imports, as far as they are there."""
    there = {each.name for each in files}
    path = PurePosixPath(file.name)
    if path.suffix == ".py":
        return {name for module in _modules(file.text, path) for name in _python_files(module) if name in there}
    if path.suffix in _SCRIPTS:
        wanted = {_joined(path.parent, target) for target in _FROM.findall(file.text)}
        return {name for name in there if name in wanted or str(PurePosixPath(name).with_suffix("")) in wanted}
    return set()


def _modules(code: str, path: PurePosixPath) -> set[str]:
    """The modules that Python code imports, with dots; relative ones from where the file lies."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = path.parents[node.level - 1].parts if 0 < node.level <= len(path.parents) else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{name.name}" if base else name.name for name in node.names)}
    return found - {""}


def _python_files(module: str) -> tuple[str, str]:
    path = module.replace(".", "/")
    return f"{path}.py", f"{path}/__init__.py"


def _joined(folder: PurePosixPath, target: str) -> str:
    parts: list[str] = list(folder.parts)
    for part in PurePosixPath(target).parts:
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _shown(files: tuple[Document, ...], missing: Document, named: list[str]) -> str:
    """The other files, those that count first, as many as there is room for; in the order of their names."""
    others = sorted(
        (file for file in files if file is not missing), key=lambda file: (file.name not in named, file.name)
    )
    kept: list[Document] = []
    size = 0
    for file in others:
        size += len(file.text) + len(file.name) + 12
        if size > LIMIT and file.name not in named:
            break
        kept.append(file)
    return "\n\n".join(
        f"### {file.name}\n```\n{file.text.rstrip()}\n```" for file in sorted(kept, key=lambda file: file.name)
    )
