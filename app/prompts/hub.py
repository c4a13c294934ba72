"""One file of a data set on the Hugging Face hub, by an address such as ``hf://datasets/ORG/NAME/data/train.parquet``.

The hub is the one that the environment names (``HF_ENDPOINT``), with its token (``HF_TOKEN``).
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from app.kernel.errors import BadInput, Unavailable
from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.prompts.archives import SUFFIXES
from app.prompts.importers import importers

ADDRESS = re.compile(r"hf:/{1,2}(?:datasets/)?([\w.-]+/[\w.-]+)(?:/(.+))?")
SHOWN = 8


def is_address(said: str) -> bool:
    """Whether it names something on the hub; a path of a file system that folded its slashes does, too."""
    return said.startswith("hf:/")


def fetched(said: str, most: int) -> tuple[str, bytes]:
    """The name and the bytes of the file; of a data set without one in its address, of the only one that can be imported.

    Raises:
        BadInput: it is no address, there is no such file, there are several, or it has more than ``most`` bytes.
        Unavailable: the hub does not answer.
    """
    import httpx
    import httpx2
    from huggingface_hub import HfApi, RepoFile
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    unclear = BadInput(_("Write a file of the hub as hf://datasets/ORG/NAME/FILE."))
    found = ADDRESS.fullmatch(said)
    if found is None:
        raise unclear
    repository, wanted = found[1], found[2]
    api = HfApi()
    try:
        tree = api.list_repo_tree(repository, repo_type="dataset", recursive=True)
        files = {each.path: each.size for each in tree if isinstance(each, RepoFile)}
        name = _one(files, repository, wanted)
        if files[name] > most:
            raise BadInput(
                _(
                    "{file} has {size} bytes, {most} is the most.",
                    file=name,
                    size=number(files[name]),
                    most=number(most),
                )
            )
        path = Path(api.hf_hub_download(repository, name, repo_type="dataset"))
        return PurePosixPath(name).name, path.read_bytes()
    except RepositoryNotFoundError:
        raise BadInput(
            _("The hub has no data set {name}, or keeps it from you: a private one needs HF_TOKEN.", name=repository)
        ) from None
    except HFValidationError:
        raise unclear from None
    except (httpx.HTTPError, httpx2.HTTPError, OSError) as error:  # whichever of the two the library speaks through
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise Unavailable(
            _("The hub does not answer ({reason}): download the file elsewhere, and name that.", reason=reason)
        ) from None


def _one(files: dict[str, int], repository: str, wanted: str | None) -> str:
    if wanted is not None and wanted in files:
        return wanted
    endings = (*(suffix for each in importers().values() for suffix in each.suffixes), *SUFFIXES)
    known = [each for each in sorted(files) if each.lower().endswith(endings)]
    if wanted is None and len(known) == 1:
        return known[0]
    shown = ", ".join(each[:100] for each in known[:SHOWN]) or _("none")
    raise BadInput(
        _("{name} has these files: {files}. Write one behind its address.", name=repository, files=shown)
        if wanted is None
        else _("{name} has no file {file}. It has {files}.", name=repository, file=wanted[:100], files=shown)
    )
