"""Servers of this machine that speak TLS, with a certificate that no public authority signed."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

Files = tuple[Path, Path]
"""A certificate and its key."""


def certificate(folder: Path, address: str = "127.0.0.1") -> Files:
    """A certificate for an address of this machine, which is its own authority, and its key."""
    made, key = folder / "peer.crt", folder / "peer.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=peer"]
    named = ["-addext", f"subjectAltName=IP:{address}", "-keyout", str(key), "-out", str(made)]
    subprocess.run([*command, *named], check=True, capture_output=True, timeout=60)
    made.chmod(0o644)  # a container reads it as a user of its own
    return made, key


def serving(files: Files) -> ssl.SSLContext:
    """What a server with that certificate wraps its socket in."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    return context
