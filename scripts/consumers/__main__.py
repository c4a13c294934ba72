"""Load every view with the code of the tool that it is for, in a virtual environment for each tool: ``make test-consumers``.

Environments lie in ``var/consumers/`` and are made once. Those of ``datasets`` and Argilla are their own. TRL is the one of
this project. LLaMA-Factory, OpenRLHF and axolotl stand over the libraries of this project, without what they would bring along
for GPUs: their code that reads data runs, and what they would train with is not there. Nothing here is part of ``make test``.

    python -m scripts.consumers [datasets-3.6] [datasets-5.2] [argilla] [trl] [openrlhf] [llamafactory] [axolotl]
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

from app.kernel.settings import ROOT

PLACE = ROOT / "var" / "consumers"
READERS = Path(__file__).parent
STAND_IN = (
    '"""Stands in for a library of sounds that loads a GPU\'s libraries: no text needs it."""\n__version__ = "0"\n'
)


@dataclass(frozen=True)
class Consumer:
    """A tool: the program here that reads with it, what is installed for it, and whether over our own libraries."""

    reader: str
    packages: tuple[str, ...] = ()
    over: bool = False


CONSUMERS = {
    "datasets-3.6": Consumer("with_datasets.py", ("datasets==3.6.0",)),
    "datasets-5.2": Consumer("with_datasets.py", ("datasets==5.2.0",)),
    "argilla": Consumer("with_argilla.py", ("argilla==2.8.0",)),
    "trl": Consumer("with_trl.py"),
    "openrlhf": Consumer("with_openrlhf.py", ("openrlhf==0.11.2", "pylatexenc"), over=True),
    "llamafactory": Consumer("with_llamafactory.py", ("llamafactory==0.9.5", "omegaconf", "fire"), over=True),
    "axolotl": Consumer("with_axolotl.py", ("axolotl==0.19.0", "colorama", "addict", "fire"), over=True),
}


def python_of(name: str, consumer: Consumer) -> Path:
    """The interpreter that has the tool, made where it is not there yet."""
    if not consumer.packages:
        return Path(sys.executable)
    place, ready = PLACE / name, PLACE / name / "ready"
    python = place / "bin" / "python"
    if not ready.exists():
        venv.create(place, clear=True, with_pip=True)
        alone = ("--no-deps",) if consumer.over else ()
        subprocess.run([python, "-m", "pip", "install", "--quiet", *alone, *consumer.packages], check=True)
        if consumer.over:
            [libraries] = place.glob("lib/python*/site-packages")
            (libraries / "below.pth").write_text(sysconfig.get_path("purelib") + "\n")
            (libraries / "torchaudio.py").write_text(STAND_IN)
        ready.touch()
    return python


def main() -> int:
    """Print a line for each tool; 1 where one could not be installed or does not read what is for it."""
    asked = sys.argv[1:] or list(CONSUMERS)
    failed = []
    with tempfile.TemporaryDirectory(prefix="corral-views-") as folder:
        subprocess.run([sys.executable, "-m", "scripts.consumers.views", folder], check=True, cwd=ROOT)
        for name in asked:
            try:
                python = python_of(name, CONSUMERS[name])
                subprocess.run([python, READERS / CONSUMERS[name].reader, folder], check=True, cwd=folder)
            except subprocess.CalledProcessError as error:
                failed.append(name)
                print(f"{name}: {error}", flush=True)
            else:
                print(f"{name}: reads what is for it", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
