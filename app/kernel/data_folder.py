"""The data folder of this host: what lies where in it, and the names by which other hosts know the same things.

A path is true on one host alone, so no row and no message carries one: they carry names, and who reads one asks here where
that lies (:meth:`DataFolder.place_of`). What hosts without a shared disk exchange goes by the same names
(:mod:`app.kernel.store`).
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, or the folder of an installed Corral: code, templates and static files lie side by side in both."""
HERE = "./"
"""How the name of what lies in the data folder begins: no hub id and no absolute path does."""
SCHEMES = ("file", "s3", "gs", "az")


def default_data_dir() -> Path:
    """``var/`` in a checkout; where Corral was installed as a package, the user's data folder (XDG Base Directory)."""
    if (ROOT / "pyproject.toml").exists():
        return ROOT / "var"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "corral"


class DataFolder(BaseSettings):
    """The settings that say where files are."""

    data_dir: Path = Field(default_factory=default_data_dir)
    store: str = ""
    """Where hosts without a shared disk exchange files: ``file:///mnt/corral``, ``s3://BUCKET/PREFIX``, ``gs://…`` or ``az://…``
    (:mod:`app.kernel.store`). Empty: all hosts have one data folder."""

    @field_validator("store")
    @classmethod
    def _a_store(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and not (parts.scheme in SCHEMES and (parts.path if parts.scheme == "file" else parts.hostname)):
            raise ValueError(
                "write it as file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
            )
        if parts.password or parts.username:
            raise ValueError(
                "write it without a key: those stand in the provider's own variables, e.g. AWS_SECRET_ACCESS_KEY"
            )
        return value

    @property
    def models_dir(self) -> Path:
        """The folder of converted base models."""
        return self.data_dir / "models"

    @property
    def checkpoints_dir(self) -> Path:
        """The folder of trained adapters, each under its name."""
        return self.data_dir / "checkpoints"

    @property
    def served_dir(self) -> Path:
        """The folder in which engines find adapters by name; only the reconciler fills it (:mod:`app.registry.served`)."""
        return self.data_dir / "served"

    @property
    def snapshots_dir(self) -> Path:
        """The folder of frozen exports."""
        return self.data_dir / "snapshots"

    @property
    def sources_dir(self) -> Path:
        """The folder of sources for training."""
        return self.data_dir / "sources"

    @property
    def runs_dir(self) -> Path:
        """Where training runs keep their configuration, events and resumable state."""
        return self.data_dir / "runs"

    def run_dir(self, run_id: int) -> Path:
        """The folder of one of them."""
        return self.runs_dir / f"run-{run_id}"

    def name_of(self, place: str | Path) -> str:
        """What other hosts know ``place`` by: below the data folder ``./`` and the way from there, else as it is.

        A model of the operator's own, outside of it, is where its setting says on every host; a hub id is no place at all.
        """
        given = str(place)
        absolute = (
            Path(given) if Path(given).is_absolute() else Path(given).resolve() if given.startswith(".") else None
        )
        for folder in (self.data_dir, self.data_dir.resolve()):
            if absolute is not None and absolute.is_relative_to(folder) and absolute != folder:
                return HERE + absolute.relative_to(folder).as_posix()
        return given if absolute is None else str(absolute)

    def place_of(self, name: str) -> str:
        """Where what has this name lies on this host; a hub id is returned as it is."""
        return str(self.data_dir / name.removeprefix(HERE)) if name.startswith(HERE) else name
