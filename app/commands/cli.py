"""The ``corral`` command. ``python -m app.commands.cli`` is the same."""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python must hear a sentence, not a SyntaxError from a later import
    sys.exit(
        f"Corral needs Python 3.11 or later, and this is {sys.version.split()[0]}: create the venv with a newer one."
    )

import os
from pathlib import Path
from typing import Annotated

import typer

from app.commands import (
    audit_log,
    backup,
    checkpoint,
    data,
    db,
    doctor,
    documents,
    make,
    retract,
    setup,
    source,
    store,
    token,
    user,
    worker,
)
from app.kernel.errors import one_sentence

app = typer.Typer(
    name="corral",
    help="Compare the answers of language models, and turn the judgements into a better model every night.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(db.commands, name="db")
app.add_typer(user.commands, name="user")
app.add_typer(token.commands, name="token")
app.add_typer(checkpoint.commands, name="checkpoint")
app.add_typer(retract.commands, name="retract")
app.add_typer(documents.commands, name="documents")
app.add_typer(source.commands, name="source")
app.add_typer(store.commands, name="store")
for command in (
    doctor.doctor,
    user.invite,
    data.export,
    data.private,
    data.sample,
    data.audit,
    setup.setup,
    backup.backup,
    backup.restore,
    worker.worker,
):
    app.command()(command)
app.command("audit-log")(audit_log.audit_log)
app.command("make-prompts")(make.make_prompts)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder for all data; CORRAL_DATA_DIR.")]


@app.callback()
def common(data_dir: DataDir = None) -> None:
    """Options of every command."""
    if data_dir is not None:
        os.environ["CORRAL_DATA_DIR"] = str(data_dir.resolve())


@app.command()
def up(
    port: Annotated[int | None, typer.Option(help="Where the web server listens; CORRAL_PORT, else 8000.")] = None,
    host: Annotated[str | None, typer.Option(help="The address it listens on; CORRAL_HOST, else 127.0.0.1.")] = None,
    data_dir: DataDir = None,
    engine: Annotated[bool, typer.Option("--engine/--no-engine", help="Start the vLLM server.")] = True,  # noqa: FBT002
    engine_url: Annotated[str | None, typer.Option(help="Use this OpenAI-compatible endpoint instead.")] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open a browser once it is running.")] = False,  # noqa: FBT002
) -> None:
    """Start everything on this machine: database, broker, web server, workers and the engine. Ctrl-C stops it all."""
    from app.laptop import launch
    from app.services.instance import adopt

    common(data_dir)
    given = {"CORRAL_PORT": port, "CORRAL_HOST": host, "CORRAL_ENGINE_URL": engine_url}
    adopt(**{name: str(value) for name, value in given.items() if value is not None})
    launch.up(launch.Options(engine=engine, open_browser=open_browser))


def main() -> None:
    """Run a command. What was to be expected ends in one sentence and status 1."""
    os.umask(0o077)  # what people wrote and judged is its owner's alone, wherever a command puts it
    try:
        app()
    except Exception as error:
        sentence = one_sentence(error)
        if sentence is None:
            raise
        print(f"corral: {sentence}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
