"""TRL's trainers take a step on the views that are for them."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

TRAINERS = {
    "trl": ("Reward", "DPO"),
    "trl_reward": ("Reward",),
    "kto": ("KTO",),
    "sft": ("SFT",),
}


def main() -> None:
    """A step of each, on the zip as it is unpacked."""
    folder = Path(sys.argv[1])
    datasets, transformers, trl = (import_module(name) for name in ("datasets", "transformers", "trl"))
    for shape, names in TRAINERS.items():
        rows = datasets.load_dataset(str(folder / shape), split="train", cache_dir=str(folder / "cache-trl"))
        for name in names:
            trainer = getattr(trl, f"{name}Trainer")
            options: dict[str, Any] = {
                "max_length": 128,
                "per_device_train_batch_size": 2,
                "max_steps": 1,
                "use_cpu": True,
            }
            options |= {"report_to": "none", "save_strategy": "no", "bf16": False, "output_dir": str(folder / "out")}
            kind = "AutoModelForSequenceClassification" if name == "Reward" else "AutoModelForCausalLM"
            more = {"num_labels": 1} if name == "Reward" else {}
            model = getattr(transformers, kind).from_pretrained(folder / "model", trust_remote_code=False, **more)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model", trust_remote_code=False)
            arguments = getattr(trl, f"{name}Config")(**options)
            made = trainer(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer)
            loss = made.train().training_loss
            print(f"{name}Trainer took a step on {shape}: loss {loss:.3f}")


if __name__ == "__main__":
    main()
