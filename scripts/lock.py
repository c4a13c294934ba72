"""Write the locks in ``requirements/``: every package, pinned and hashed, once.

``make lock`` runs this. The locks are layers, and an installation is the sum of the layers that it needs::

    web                                        the web image and the workers
    web + checks                               the worker that makes checks
    web + checks + train                       the trainer            (torch: a step of its own, CPU build)
    web + checks + train + engine-cpu          a laptop, the engine image
    web + checks + train + engine-cpu + dev    a development machine
    ... torch-gpu [+ engine-gpu]      the same with CUDA builds, in place of the CPU torch and of engine-cpu
    assets                                     Node.js, where the machine has none

All layers are cut from one resolution, so their versions agree and no package stands in two of them, but for what ``assets``
needs: the stage that builds the front-end files installs that layer alone. The CUDA layers
come from a second resolution that is held to the versions of the first. The result is good for Linux on x86_64 and
aarch64 and for each Python in ``PYTHONS``, and names no package index, because that is the installer's business.
Versions that are locked already are kept; ``UPGRADE=1 make lock`` takes the newest.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from packaging.markers import Marker

from scripts.assets import find_npm

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "requirements"
PYTHONS: Final = ("3.11.2", "3.11.9", "3.12.9", "3.13.9")
MACHINES: Final = ("x86_64", "aarch64")
WITHOUT_EXTRAS: Final = "web"
"""The layer of the package's own dependencies, which is in every installation and has no extra's name."""
LAYERS: Final = (WITHOUT_EXTRAS, "checks", "train", "engine-cpu", "assets", "dev")
ALONE: Final = "assets"
"""The layer that is installed without the others, so it names what stands in them as well."""
OVERRIDES: Final = ("--override", "requirements/overrides.txt")
CPU_OVERRIDES: Final = (*OVERRIDES, "--override", "requirements/overrides-cpu.txt")
# Installed as a step of its own: its CPU build has a local version ("+cpu") that the package index does not carry.
TORCH: Final = "torch"

Lock = dict[str, list[str]]
"""Package name → its entries, one for each marker, with hashes and comments as they will stand in the file."""


def compile_extras(extras: tuple[str, ...], *options: str, known: Lock, cpu: bool) -> Lock:
    """Resolve the given extras of pyproject.toml together.

    Args:
        extras: Names under ``[project.optional-dependencies]``, and ``web``, which has none.
        options: More options for ``uv pip compile``.
        known: What is locked already; uv keeps those versions where it can.
        cpu: Whether to take the CPU build of torch.
    """
    with tempfile.NamedTemporaryFile("w+", suffix=".txt", encoding="utf-8") as output:
        output.write(render(known))
        output.flush()
        command = [
            "uv", "pip", "compile", "pyproject.toml", "--quiet", "--universal", "--python-version", "3.11",
            "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--generate-hashes", "--output-file", output.name,
            *(word for extra in extras if extra != WITHOUT_EXTRAS for word in ("--extra", extra)), *options,
            *(CPU_OVERRIDES if cpu else OVERRIDES),
        ]  # fmt: skip
        if os.environ.get("UPGRADE"):
            command.append("--upgrade")
        subprocess.run(command, cwd=ROOT, env=environment(cpu=cpu), check=True, stdout=subprocess.DEVNULL)
        output.seek(0)
        return parse(Path(output.name).read_text(encoding="utf-8"))


def environment(*, cpu: bool) -> dict[str, str]:
    """The environment for uv; it reads none of pip's settings, so local wheels of a CPU torch are passed on to it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if not cpu:
        return {**os.environ, "PATH": path}
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", ":env:.find-links"], capture_output=True, text=True, check=False
    )
    links = asked.stdout.strip().strip("'")
    torch = {"UV_FIND_LINKS": ",".join(links.split())} if links else {"UV_TORCH_BACKEND": "cpu"}
    return {**os.environ, **torch, "PATH": path}


def parse(text: str) -> Lock:
    """Cut a compiled file into entries, leaving out those for machines that are not supported."""
    lock: Lock = {}
    for entry in re.split(r"(?m)^(?=[A-Za-z0-9])", text):
        head = re.match(r"([A-Za-z0-9._-]+)==[^;\\\s]+(?: ; ([^\\\n]+))?", entry)
        if head and is_needed(head[2]):
            entries = lock.setdefault(head[1], [])
            if (entry := entry.rstrip() + "\n") not in entries:  # two layers may name it
                entries.append(entry)
    return lock


def is_needed(marker: str | None) -> bool:
    """Whether an entry applies to any supported machine."""
    if marker is None:
        return True
    environments = (
        {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": python,
            "python_version": python.rpartition(".")[0],
            "sys_platform": "linux",
        }
        for python in PYTHONS
        for machine in MACHINES
    )
    return any(Marker(marker.strip()).evaluate(one) for one in environments)


def render(lock: Lock) -> str:
    """The text of one file, sorted by name."""
    return "".join(entry for name in sorted(lock) for entry in lock[name])


def write(layer: str, lock: Lock) -> None:
    """Write one layer and say how large it is."""
    (FOLDER / f"{layer}.txt").write_text(render(lock), encoding="utf-8")
    print(f"requirements/{layer}.txt: {len(lock)} packages")


def read(*layers: str) -> Lock:
    """The layers as they are on disk; a missing one is empty."""
    files = (FOLDER / f"{layer}.txt" for layer in layers)
    return parse("".join(file.read_text(encoding="utf-8") for file in files if file.exists()))


def lock_cpu() -> None:
    """Resolve everything for a machine without a GPU and write one file for each layer."""
    whole = compile_extras(LAYERS, known=read(*LAYERS), cpu=True)
    base = compile_extras((WITHOUT_EXTRAS,), known=whole, cpu=True).keys()
    taken: set[str] = {TORCH}
    for depth, layer in enumerate(LAYERS, start=1):
        # Without engine-cpu, which asks for it by name, uv may take the CUDA build of torch and what belongs to it.
        extras, elsewhere = ((layer,), base) if layer == ALONE else (LAYERS[:depth], taken)
        names = (compile_extras(extras, known=whole, cpu=True).keys() & whole.keys()) - elsewhere
        write(layer, {name: whole[name] for name in names})
        taken |= names


def lock_gpu() -> None:
    """Resolve the CUDA builds, held to the versions of the CPU locks, and write what they add."""
    shared = read("web", "checks", "train", "assets", "dev")
    known = shared | read("torch-gpu", "engine-gpu")
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as constraints:
        constraints.write(re.sub(r" \\\n(?:    [^\n]*\n)*", "\n", render(shared)))
        constraints.flush()
        held = ("--constraint", constraints.name)
        whole = compile_extras(("web", "checks", "train", "engine-gpu", "assets", "dev"), *held, known=known, cpu=False)
        torch = compile_extras(("web", "checks", "train"), *held, known=whole, cpu=False)
    write("torch-gpu", {name: whole[name] for name in torch.keys() - shared.keys()})
    write("engine-gpu", {name: whole[name] for name in whole.keys() - torch.keys() - shared.keys()})


def lock_front_end() -> None:
    """Resolve package.json; ``.npmrc`` keeps the registry's address out of the lock."""
    subprocess.run([*find_npm(), "install", "--package-lock-only", "--loglevel=error"], cwd=ROOT, check=True)


if __name__ == "__main__":
    lock_cpu()
    lock_gpu()
    lock_front_end()
