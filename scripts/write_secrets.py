"""Write ``.env`` for docker compose: a fresh secret for each service, and the settings that a deployment decides.

``make secrets`` runs this. It adds what is missing and changes nothing that is there, so it may be run again after an
update that needs one more secret.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from app.kernel.processor import fast_dtype

FILE: Final = Path(__file__).resolve().parent.parent / ".env"
SECRETS: Final = {
    "POSTGRES_PASSWORD": "the database; the volume keeps the one that it was created with",
    "BROKER_PASSWORD": "the broker",
    "ENGINE_API_KEY": "the model server",
}
HEADER: Final = """\
# Settings of this deployment. Keep this file to yourself: whoever reads it, reads the database.
# The name under which browsers reach the proxy. With a public name, set TLS to an e-mail address and the proxy
# gets a certificate from Let's Encrypt; "internal" makes one of its own, which browsers warn about.
DOMAIN=localhost
TLS=internal
# Published ports; with another HTTPS_PORT than 443, set PUBLIC_URL=https://<domain>:<port> as well.
HTTP_PORT=80
HTTPS_PORT=443
# The precision of the engine on processors: what this machine computes fast.
ENGINE_DTYPE={dtype}

"""


def write(file: Path) -> list[str]:
    """Add the secrets that ``file`` lacks and return their names; nobody but the owner may read the file."""
    before = file.read_text(encoding="utf-8") if file.exists() else HEADER.format(dtype=fast_dtype())
    present = {line.partition("=")[0].strip() for line in before.splitlines() if line.partition("=")[2].strip()}
    missing = [name for name in SECRETS if name not in present]
    if file.exists() and not missing:
        return []
    lines = [f"# {SECRETS[name]}\n{name}={secrets.token_urlsafe(32)}\n" for name in missing]
    # A new file is created unreadable to others, rather than made so a moment later.
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as output:
        output.write(before if before.endswith("\n") else before + "\n")
        output.writelines(lines)
    fresh.replace(file)
    return missing


if __name__ == "__main__":
    written = write(FILE)
    print(f"{FILE.name}: wrote {', '.join(written)}" if written else f"{FILE.name}: complete, nothing changed")
