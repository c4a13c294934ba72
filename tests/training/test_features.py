"""What the base model makes of responses: one vector each, of the response alone, whatever stands beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training import features
from training.formats.errors import DataError
from training.run import tool


def line(response: str, prompt: str = "What is bread?") -> dict[str, Any]:
    return {"prompt": [{"role": "user", "content": prompt}], "tools": None, "response": response}


def vectors(folder: Path, base: Path, rows: list[dict[str, Any]], **more: Any) -> NDArray[np.float16]:
    (folder / "responses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = features.FeaturesConfig(str(base), folder / "responses.jsonl", folder / "features.npy", **more)
    features.features(config, dry_run=False)
    found: NDArray[np.float16] = np.load(folder / "features.npy", allow_pickle=False)
    return found


def test_each_response_gets_its_vector_in_its_place_whatever_is_beside_it(tmp_path: Path, tiny_base: Path) -> None:
    rows = [line("Flour, water and salt."), line("A river is water that goes downhill. " * 4), line("No.")]
    together = vectors(tmp_path, tiny_base, rows)
    assert together.shape == (3, 32)
    assert together.dtype == np.float16
    for place, row in enumerate(rows):
        assert vectors(tmp_path, tiny_base, [row])[0] == pytest.approx(together[place], abs=2e-2)


def test_the_same_response_to_another_prompt_is_read_in_its_light(tmp_path: Path, tiny_base: Path) -> None:
    one, other, same = vectors(tmp_path, tiny_base, [line("No."), line("No.", "Is it far?"), line("No.")])
    assert np.abs(one - other).max() > 1e-2
    assert one == pytest.approx(same, abs=1e-3)


def test_what_cannot_be_rendered_stops_nothing(tmp_path: Path, tiny_base: Path) -> None:
    odd = line("Yes.") | {"prompt": [{"role": "user"}]}
    zeros, found = vectors(tmp_path, tiny_base, [odd, line("Yes.")])
    assert not zeros.any()
    assert found.any()


def test_of_what_is_too_long_the_end_is_read(tmp_path: Path, tiny_base: Path) -> None:
    long = line("bees " * 60, "maps " * 60)
    [found] = vectors(tmp_path, tiny_base, [long], max_length=64)
    assert np.isfinite(found).all()
    assert found.any()


def test_wide_vectors_are_projected_the_same_way_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "WIDTH", 64)
    wide = np.random.default_rng(0).normal(size=(10, 4096)).astype(np.float32)
    narrow = features._narrow(wide)
    assert narrow.shape == (10, 64)
    assert narrow[3] == pytest.approx(features._narrow(wide[3:4])[0], abs=1e-3)
    apart = np.linalg.norm(narrow[0] - narrow[1]) / np.linalg.norm(wide[0] - wide[1])
    assert apart == pytest.approx(1, abs=0.4)


def test_a_line_that_is_none_is_named(tmp_path: Path, tiny_base: Path) -> None:
    with pytest.raises(DataError, match="line 2"):
        vectors(tmp_path, tiny_base, [line("Yes."), {"response": "No."}])


def test_the_command_says_what_is_missing(tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_file = tmp_path / "run.toml"
    run_file.write_text(f'base_model = "{tiny_base}"\nresponses = "none.jsonl"\noutput = "out.npy"\n')
    assert tool.main("", features.FeaturesConfig, features.features, [str(run_file)]) == 2
    assert "none.jsonl cannot be read" in capsys.readouterr().err
