"""No code from a model's folder runs, wherever something is loaded and whoever sits at the terminal."""

from __future__ import annotations

import ast
import builtins
import json
from pathlib import Path

import pytest

from app.kernel.settings import ROOT
from training.formats.errors import CheckpointError
from training.model import models

FACTORIES = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoProcessor", "factory")
LOADS = {"from_pretrained", "from_config"}


def loads(file: Path) -> list[tuple[int, set[str | None]]]:
    """Line and keywords of every call that could run a model's own code."""
    calls = [each for each in ast.walk(ast.parse(file.read_text())) if isinstance(each, ast.Call)]
    return [
        (call.lineno, {keyword.arg for keyword in call.keywords})
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in LOADS
        and ast.unparse(call.func.value).rpartition(".")[2].startswith(FACTORIES)
    ]


def test_every_load_says_that_no_code_is_run() -> None:
    files = [
        each
        for room in ("app", "workers", "training", "scripts", "benchmarks")
        for each in ROOT.glob(f"{room}/**/*.py")
    ]
    found = [(file.name, line, said) for file in files for line, said in loads(file)]
    assert len(found) >= 7
    assert [(name, line) for name, line, said in found if "trust_remote_code" not in said] == []


@pytest.mark.parametrize("load", [models.load_tokenizer])
def test_a_hostile_folder_runs_nothing_although_somebody_types_yes(
    load: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w').write('x')\nclass Hostile:\n    pass\n"
    (tmp_path / "hostile.py").write_text(code)
    remote = {"AutoConfig": "hostile.Hostile", "AutoTokenizer": ["hostile.Hostile", None]}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "hostile", "auto_map": remote}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Hostile", "auto_map": remote}))
    monkeypatch.setattr(builtins, "input", lambda *_: "y")
    assert callable(load)
    with pytest.raises(CheckpointError):
        load(str(tmp_path))
    assert not ran.exists()
