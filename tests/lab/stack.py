"""Corral as its compose files deploy it, in a real Docker engine: a project of its own beside whatever else runs there.

Every command goes through ``docker compose``, as an operator types it. Settings are in a file that stands in for ``.env``.
"""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import httpx

from app.client import Client
from app.kernel.settings import ROOT
from app.services.embedded import free_port
from scripts import write_secrets

LONGEST = 1500.0
"""Seconds for one command; the first builds four images."""
PROMETHEUS = "prom/prometheus:v3.5.0"
PASSWORD = "forty-two geese cross the yard"


def docker(*words: str, given: bytes | None = None, into: int | IO[bytes] = subprocess.PIPE) -> str:
    """What a command of Docker prints, where it does not go ``into`` a file; it has to succeed."""
    done = subprocess.run(
        ["docker", *words], cwd=ROOT, input=given, stdout=into, stderr=subprocess.PIPE, timeout=LONGEST, check=False
    )
    printed = (done.stdout or b"").decode()
    assert done.returncode == 0, f"docker {' '.join(words)}\n{printed}\n{done.stderr.decode()}"
    return printed


def is_there() -> bool:
    """Whether an engine answers, and Compose is installed."""
    try:
        for asked in (["version"], ["compose", "version"]):
            subprocess.run(["docker", *asked], capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def host_address() -> str:
    """The address by which containers reach this machine."""
    return docker("network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}").strip()


@dataclass(frozen=True)
class Stack:
    """One project of Compose, and what talks to it from outside, through its proxy."""

    project: str
    folder: Path
    files: tuple[str, ...]

    def set(self, settings: Mapping[str, str]) -> None:
        """Write the settings that are not there yet, and secrets for each service."""
        with self.env.open("a") as file:
            file.writelines(f"{name}='{value}'\n" for name, value in settings.items())
        write_secrets.write(self.env)

    @property
    def env(self) -> Path:
        """What stands in for ``.env``."""
        return self.folder / f"{self.project}.env"

    def compose(self, *words: str, given: bytes | None = None, into: int | IO[bytes] = subprocess.PIPE) -> str:
        """What ``docker compose …`` prints, where it does not go ``into`` a file."""
        files = [word for name in self.files for word in ("-f", name)]
        return docker(
            "compose", "-p", self.project, "--env-file", str(self.env), *files, *words, given=given, into=into
        )

    def corral(self, *words: str, given: str = "") -> str:
        """What ``corral …`` prints in the web server's container."""
        return self.compose("exec", "-T", "web", "corral", *words, given=given.encode())

    def query(self, sql: str) -> Any:
        """The rows of a query, as JSON."""
        wrapped = f"select coalesce(json_agg(found), '[]') from ({sql}) found"
        return json.loads(self.compose("exec", "-T", "db", "psql", "-U", "corral", "-Atc", wrapped))

    def containers(self, service: str) -> list[str]:
        """Names of the containers of a service that run."""
        return sorted(self.compose("ps", "--format", "{{.Name}}", service).split())

    def person(self, name: str, role: str) -> str:
        """The address of a new person, whose password is PASSWORD."""
        email = f"{name.lower()}@example.org"
        self.corral("user", "add", email, "--name", name, "--role", role, given=f"{PASSWORD}\n")
        return email

    def token(self, email: str, *scopes: str) -> str:
        """A new API token of somebody."""
        wanted = [word for scope in scopes for word in ("--scope", scope)]
        return self.corral("token", "create", email, "--name", "lab", *wanted).split()[-1]

    @cached_property
    def trusted(self) -> ssl.SSLContext:
        """The proxy's own authority, which it made at its first start."""
        root = self.compose("exec", "-T", "proxy", "cat", "/data/caddy/pki/authorities/local/root.crt")
        return ssl.create_default_context(cadata=root)

    def setting(self, name: str) -> str:
        """A setting's value; the last one counts."""
        said = dict(line.split("=", 1) for line in self.env.read_text().splitlines() if "=" in line)
        return said[name].strip("'")

    @property
    def site(self) -> str:
        """Its address, as browsers know it."""
        return self.setting("PUBLIC_URL")

    def browser(self) -> httpx.Client:
        """Somebody's browser, without scripts: it keeps cookies, and says where a form was."""
        return httpx.Client(base_url=self.site, verify=self.trusted, headers={"origin": self.site}, timeout=60)

    def client(self, email: str, *scopes: str) -> Client:
        """The API's client, as a program of somebody."""
        http = httpx.Client(base_url=self.site, verify=self.trusted, timeout=120)
        return Client(self.site, self.token(email, *scopes), progress=False, http=http)


def started(project: str, folder: Path, files: Sequence[str], subnet: str, **settings: str) -> Stack:
    """A project with free ports and a ``subnet`` of its own (its first three numbers), with nothing running yet."""
    stack = Stack(project, folder, tuple(files))
    ports = [str(free_port()), str(free_port())]
    where = {
        "HTTP_PORT": ports[0],
        "HTTPS_PORT": ports[1],
        "PUBLIC_URL": f"https://localhost:{ports[1]}",
        "FRONT_SUBNET": f"{subnet}.0/29",
        "PROXY_ADDRESS": f"{subnet}.6",
    }
    stack.set({**where, **settings})
    return stack


def here(url: str, headers: Mapping[str, str]) -> httpx.Response:
    """GET a page of a server of this machine, whose address is the one that containers use, over loopback."""
    parts = urlsplit(url)
    local = parts._replace(netloc=f"127.0.0.1:{parts.port}").geturl()
    with httpx.Client(verify=False) as browser:  # whoever clicks past the warning; what Corral believes is what counts
        return browser.get(local, headers={**headers, "host": parts.netloc})
