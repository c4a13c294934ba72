"""Install Corral into a virtual environment: the layers of ``requirements/`` that a purpose needs, and nothing twice.

``make up``, ``make test`` and the like run this with the system's Python, and it needs nothing but the standard library::

    python3 -m scripts.bootstrap laptop --engine cpu --venv .venv     # run Corral
    python3 -m scripts.bootstrap dev --engine cpu --venv .venv        # run, test and change it

What is installed is noted under ``.venv/.corral/`` by the hash of its lock, so a second call does nothing. What the machine
lacks is said in one sentence, before anything is downloaded.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn

SUPPORTED = ((3, 11), (3, 12), (3, 13))
"""What the locks were resolved for."""
OTHERS = ("python3.13", "python3.12", "python3.11")
ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0+cpu"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
LAYERS = {
    ("laptop", "cpu"): ("web", "checks", "train", "engine-cpu"),
    ("laptop", "gpu"): ("web", "checks", "train", "torch-gpu", "engine-gpu"),
    ("dev", "cpu"): ("web", "checks", "train", "engine-cpu", "dev"),
    ("dev", "gpu"): ("web", "checks", "train", "torch-gpu", "engine-gpu", "dev"),
}
# Room on disk that a first installation takes, downloads included, in GB.
ROOM = {"cpu": 5, "gpu": 25}


def stop(sentence: str) -> NoReturn:
    """End with one sentence."""
    sys.exit("corral: " + sentence)


def use_a_supported_python() -> None:
    """Start again with another interpreter where this one is too old or too new, or say what is needed."""
    if tuple(sys.version_info[:2]) in SUPPORTED:
        return
    path = next(filter(None, map(shutil.which, OTHERS)), None)
    if path is None:
        stop("Python 3.11 to 3.13 is needed; {} is {}.{}.".format(sys.executable, *sys.version_info[:2]))
    os.execv(path, [path, "-m", "scripts.bootstrap", *sys.argv[1:]])  # noqa: S606 - nothing of it came from outside


def check_machine(venv: Path, engine: str) -> None:
    """Stop with one sentence where a system package or the room on disk is missing."""
    needed = {
        "python3-venv": venv.exists() or importlib.util.find_spec("ensurepip") is not None,
        "libnuma1": engine == "gpu" or loads("libnuma.so.1"),
    }
    packages = [package for package, present in needed.items() if not present]
    if packages:
        sudo = "" if os.geteuid() == 0 else "sudo "
        stop(f"this machine lacks {' and '.join(packages)}; get it with: {sudo}apt-get install {' '.join(packages)}")
    if engine == "gpu":
        check_gpu()
    free = shutil.disk_usage(venv if venv.exists() else ROOT).free / 1e9
    if not venv.exists() and free < ROOM[engine]:
        stop(
            f"installing takes up to {ROOM[engine]} GB and {free:.1f} GB are free where {venv} would lie; make room first."
        )


def check_gpu() -> None:
    """Stop where the CUDA builds could not run: they are gigabytes, and vLLM compiles small parts of its kernels here."""
    if shutil.which("nvidia-smi") is None:
        stop("there is no NVIDIA driver on this machine (nvidia-smi is missing): install it, or leave ENGINE=gpu out.")
    if shutil.which("gcc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        stop("vLLM compiles kernels on a GPU and lacks a compiler; get it with: apt-get install gcc python3-dev")


def loads(library: str) -> bool:
    """Whether the dynamic linker finds a shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


class Installation:
    """A virtual environment, the notes on what is in it, and the steps that are still to do."""

    def __init__(self, venv: Path) -> None:
        self.venv = venv
        self.python = venv / "bin" / "python"
        self.notes = venv / ".corral"

    def has(self, part: str, fingerprint: str) -> bool:
        """Whether ``part`` was installed from this very content."""
        note = self.notes / part
        return note.exists() and note.read_text() == fingerprint

    def note(self, part: str, fingerprint: str) -> None:
        """Remember that ``part`` is installed; the file's time is what ``make`` looks at."""
        self.notes.mkdir(exist_ok=True)
        (self.notes / part).write_text(fingerprint)

    def create(self) -> None:
        """Make the virtual environment where there is none, or one that was left half made."""
        answers = self.python.exists() and self.run("-m", "pip", "--version", quiet=True)
        if not answers:
            made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(self.venv)], check=False)
            if made.returncode:
                stop(f"{self.venv} could not be made; the lines above say why.")

    def pip(self, *arguments: str) -> bool:
        """Install with pip. It resolves nothing and compiles nothing: the locks have done the one and spare the other."""
        bar = ("--quiet",) if os.environ.get("CI") else () if sys.stdout.isatty() else ("--progress-bar", "off")
        return self.run("-m", "pip", "install", "--no-deps", "--disable-pip-version-check", *bar, *arguments)

    def run(self, *arguments: str, quiet: bool = False) -> bool:
        """Run the environment's Python; whether it ended well."""
        sink = subprocess.DEVNULL if quiet else None
        return (
            subprocess.run([self.python, *arguments], cwd=ROOT, check=False, stdout=sink, stderr=sink).returncode == 0
        )

    def must(self, installed: bool) -> None:  # noqa: FBT001 - reads as a sentence where it is called
        """Stop with one sentence after a failed step."""
        if not installed:
            stop("pip could not install; its last lines say why. Start the same command again to go on from here.")


def install_torch(into: Installation) -> bool:
    """Install the CPU build of torch, which the package index does not carry.

    It comes from what pip is set up with where that has it, else from PyTorch's index, which is asked for this one wheel
    only: as a second index for everything it would cost a retry for each package where it cannot be reached.
    """
    index = os.environ.get("TORCH_INDEX")
    return (not index and into.pip(TORCH)) or into.pip("--index-url", index or TORCH_INDEX, TORCH)


def has_node() -> bool:
    """Whether the machine has a Node.js that can build the front-end files."""
    from scripts.assets import system_npm

    return system_npm() is not None


def install(purpose: str, engine: str, venv: Path) -> None:
    """Bring the virtual environment to the state of the locks."""
    into = Installation(venv)
    check_machine(venv, engine)
    print(f"1/4 virtual environment in {venv}", flush=True)
    into.create()
    if engine == "cpu" and not into.has("torch", TORCH):
        print(f"2/4 {TORCH} (200 MB to download)", flush=True)
        into.must(install_torch(into))
        into.note("torch", TORCH)
    layers = LAYERS[purpose, engine] + (() if has_node() else ("assets",))
    locks = {
        layer: hashlib.sha256((ROOT / "requirements" / f"{layer}.txt").read_bytes()).hexdigest() for layer in layers
    }
    missing = [layer for layer in layers if not into.has(layer, locks[layer])]
    if missing:
        print(f"3/4 packages: {', '.join(missing)}", flush=True)
        files = [word for layer in missing for word in ("-r", f"requirements/{layer}.txt")]
        into.must(into.pip("--require-hashes", "--only-binary=:all:", *files))
        for layer in missing:
            into.note(layer, locks[layer])
    print("4/4 Corral itself", flush=True)
    into.must(into.pip("--quiet", "--no-build-isolation", "--editable", "."))
    into.note(f"{purpose}-{engine}", "complete")


def main() -> None:
    """Parse the command line and do it."""
    use_a_supported_python()
    parser = argparse.ArgumentParser(description="Install Corral into a virtual environment.")
    parser.add_argument("purpose", choices=("laptop", "dev"))
    parser.add_argument("--venv", type=Path, default=Path(".venv"))
    parser.add_argument("--engine", choices=("cpu", "gpu"), default="cpu")
    options = parser.parse_args()
    install(options.purpose, options.engine, options.venv)


if __name__ == "__main__":
    main()
