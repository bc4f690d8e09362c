"""``jan pull`` and ``jan models``: fetch models, and list the models on disk."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from jan.catalog.hub import Listing, download, in_gib, list_repo, record_pulled
from jan.catalog.model_files import Memory, ModelFiles, find_models, free_memory
from jan.cli.terminal import say
from jan.engine.model_trials.pulled_files import accepted
from jan.errors import JanError, Unavailable
from jan.settings.load import default_config_file, load_settings

_config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="JAN_CONFIG",
    help="The server's configuration file.",
)
_folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the models; the default is `models` in the server's data folder.",
)


@contextmanager
def _explained() -> Iterator[None]:
    """Report an error as one line and exit with code 1."""
    try:
        yield
    except JanError as error:
        say(f"jan: {error.message}", err=True)
        sys.exit(1)


def _models_folder(config: Path | None, folder: Path | None) -> Path:
    return folder or Path(load_settings(config or default_config_file()).data) / "models"


@click.command()
@click.argument("repo")
@click.argument("files", nargs=-1)
@click.option("--revision", help="Branch, tag or commit; the default is the repository's main branch.")
@_config_option
@_folder_option
def pull(
    repo: str, files: tuple[str, ...], revision: str | None, config: Path | None, folder: Path | None
) -> None:
    """Fetch a model from the Hugging Face Hub.

    REPO is owner/name. FILES are names or patterns such as '*Q4_K_M.gguf'; the default is what an engine needs.
    Run the command again to resume. HF_TOKEN gives access to private and gated models; HF_ENDPOINT names another
    hub.
    """
    with _explained():
        target = _models_folder(config, folder) / repo.replace("/", "--")
        listing = list_repo(repo, revision).choose(files)
        _check_room(listing, target)
        commit = listing.commit[:12]
        say(f"{repo} at commit {commit}: {len(listing.files)} files, {in_gib(listing.size)}, to {target}")
        download(listing, target)
        record_pulled(listing, target)
        memory = free_memory()
        for model in find_models(target):
            say(_report(model, memory))
            say(_how_to_serve(model))


def _check_room(listing: Listing, target: Path) -> None:
    """Raise Unavailable if the disk has no room for the remaining files."""
    missing = sum(file.size for file in listing.files if not (target / file.name).exists())
    there = next(parent for parent in (target.resolve(), *target.resolve().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if missing > free:
        raise Unavailable(f"{target} needs {in_gib(missing)}. The disk has {in_gib(free)} free.")


def _how_to_serve(model: ModelFiles) -> str:
    if not model.engine:
        return f"No engine here serves {model.path}."
    name = model.path.stem if model.kind == "gguf" else model.path.name
    return (
        "To serve it, add to `models` in your configuration:\n"
        f"  - {{id: {name.lower()}, engine: {model.engine}, options: {{model: {model.path.resolve()}}}}}"
    )


@click.command("models")
@_config_option
@_folder_option
@click.option(
    "--accept",
    type=click.Path(path_type=Path, exists=True),
    help="A pulled model that has changed: take it as it is now.",
)
def list_models(config: Path | None, folder: Path | None, accept: Path | None) -> None:
    """List the models on disk with kind, engine and size, and say which fit into the free memory."""
    if accept is not None:
        with _explained():
            say(f"{accept}: {accepted(accept)} changed files are accepted.")
        return
    with _explained():
        place = _models_folder(config, folder)
    found = list(find_models(place))
    if not found:
        say(f"No models in {place}; `jan pull owner/name` fetches one.")
        return
    memory = free_memory()
    for model in found:
        say(_report(model, memory))


def _report(model: ModelFiles, memory: Memory) -> str:
    engine = model.engine or "no engine"
    return f"{model.path}  {model.kind}  {engine}  {in_gib(model.weights)}  {_fit(model, memory)}"


def _fit(model: ModelFiles, memory: Memory) -> str:
    """Say if a model fits, and with how many tokens of context."""
    on_gpu = model.engine != "llamacpp"
    free = memory.gpu if on_gpu else memory.ram
    if not model.engine:
        return "not served"
    if free is None:
        return "needs an NVIDIA GPU; this machine has none"
    context = model.context_in(free)
    if free < model.least_memory or (model.token_bytes and not context):
        return f"does not fit: needs {in_gib(model.least_memory)} and more, {in_gib(free)} is free"
    if not context:
        return "fits"
    whole = context == model.context
    return f"fits with {context:,} tokens of context" + (", the model's maximum" if whole else "")
