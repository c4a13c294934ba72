"""What docs/machines.md tells Kubernetes and Slurm is what the product knows: commands, options, variables, images, users."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from app.commands.cli import app as commands
from app.kernel import launchers
from app.kernel.jobs import Queue
from app.kernel.settings import ROOT, Settings

PAGE = (ROOT / "docs" / "machines.md").read_text()
MANIFESTS: list[dict[str, Any]] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
[SCRIPT] = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
CUSTOMARY = {"DATABASE_URL", "BROKER_URL"}


def pods(manifest: dict[str, Any]) -> dict[str, Any]:
    """The template of its pods."""
    spec = manifest["spec"]["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else manifest["spec"]
    found: dict[str, Any] = spec["template"]["spec"]
    return found


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    [found] = pods(manifest)["containers"]
    return dict(found)


def worker_options() -> set[str]:
    worker = typer.main.get_command(commands).commands["worker"]  # type: ignore[attr-defined]
    return {option for parameter in worker.params for option in parameter.opts if option.startswith("--")}


def is_a_worker(words: list[str]) -> bool:
    return (
        words[:2] == ["corral", "worker"]
        and words[2] in {queue.value for queue in Queue}
        and set(words[3:]) <= worker_options()
    )


def is_known(variable: str) -> bool:
    return variable in CUSTOMARY or variable.removeprefix("CORRAL_").lower() in Settings.model_fields


def test_there_are_a_deployment_for_generation_and_a_night_of_training() -> None:
    told = {manifest["kind"]: container(manifest)["args"] for manifest in MANIFESTS}
    assert told == {
        "Deployment": ["corral", "worker", "generation"],
        "CronJob": ["corral", "worker", "training", "--for-the-night"],
    }


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: str(each["kind"]))
def test_a_pod_runs_a_worker_as_the_images_user_without_a_shared_disk(manifest: dict[str, Any]) -> None:
    pod, one = pods(manifest), container(manifest)
    assert is_a_worker(one["args"])
    assert [each["name"] for each in one["env"] if not is_known(each["name"])] == []
    assert one["envFrom"] == [{"secretRef": {"name": "corral"}}]
    assert "create secret generic corral " in PAGE
    name = one["image"].removesuffix(":latest")
    files = [file.read_text() for file in ROOT.glob("docker-compose*.yml")]
    assert any(f"image: {name}:" in text for text in files), f"no compose file builds {name}"
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"--uid {pod['securityContext']['runAsUser']} " in dockerfile
    folders = {each["mountPath"] for each in one["volumeMounts"]}
    [data] = re.findall(r"CORRAL_DATA_DIR=(\S+)", dockerfile)
    assert data in folders
    assert {each["name"] for each in one["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    assert all("emptyDir" in each for each in pod["volumes"]), "files go through the store"
    if manifest["kind"] == "Deployment":
        assert manifest["spec"]["selector"]["matchLabels"] == manifest["spec"]["template"]["metadata"]["labels"]


def test_the_night_has_as_many_gpus_as_processes_and_begins_before_the_training() -> None:
    [manifest] = [each for each in MANIFESTS if each["kind"] == "CronJob"]
    one = container(manifest)
    [launch] = [each["value"] for each in one["env"] if each["name"] == "CORRAL_TRAINING_LAUNCH"]
    words = launchers.words(launch)
    assert words[words.index("--nproc-per-node") + 1] == one["resources"]["limits"]["nvidia.com/gpu"]
    minute, hour, *_ = manifest["spec"]["schedule"].split()
    hours, minutes = Settings.model_fields["nightly_at"].default.split(":")
    assert 0 < int(hours) * 60 + int(minutes) - int(hour) * 60 - int(minute) <= 60, "it waits for an hour"


def test_the_variables_of_the_page_are_the_products() -> None:
    named = set(re.findall(r"\b(?:CORRAL_[A-Z_]+[A-Z]|DATABASE_URL|BROKER_URL)\b", PAGE))
    assert {name for name in named if not is_known(name)} == set()
    listed = re.findall(r"worker\.env.*?# (?:mode 600: )?(.*)", PAGE)
    assert len(listed) == 2
    assert listed[0] == listed[1]
    assert set(re.findall(r"[A-Z_]+[A-Z]", listed[0])) >= {*CUSTOMARY, "CORRAL_ENGINE_URL", "CORRAL_STORE"}


def test_the_commands_of_the_page_are_the_products() -> None:
    written = [shlex.split(each) for each in re.findall(r"`(corral worker [^`]*)`", PAGE)]
    concrete = [words for words in written if words[2] != "QUEUE"]
    assert {option for words in concrete for option in words[3:]} == {"--for-the-night", "--until-idle"}
    assert [words for words in concrete if not is_a_worker(words)] == []
    for value in re.findall(r"^\| `((?:torchrun|accelerate|srun)[^`]*)` \|", PAGE, re.MULTILINE):
        assert launchers.words(value)


def test_the_batch_script_becomes_a_worker_whose_launcher_fits_the_job(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    (tmp_path / "job").write_text(SCRIPT)
    subprocess.run([bash, "-n", str(tmp_path / "job")], check=True)
    *_, last = SCRIPT.strip().splitlines()
    assert last.startswith("exec ")
    assert is_a_worker(shlex.split(last)[1:])
    exported = dict(re.findall(r'^export (\w+)="([^"]*)"', SCRIPT, re.MULTILINE))
    assert [name for name in exported if not is_known(name)] == []
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)", SCRIPT, re.MULTILINE))
    words = launchers.words(exported["CORRAL_TRAINING_LAUNCH"])
    for option in ("ntasks", "cpus-per-task", "gpus-per-task"):
        assert words[words.index(f"--{option}") + 1] == asked[option]
