"""``jan sbom``: print the software bill of materials."""

import sys
from pathlib import Path

import click
import msgspec

from jan.catalog.bill_of_materials import bill_of_materials
from jan.cli.terminal import say
from jan.errors import ConfigurationError
from jan.settings.load import default_config_file, load_settings


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="JAN_CONFIG",
    help="The server's configuration file, whose models are listed.",
)
def sbom(config: Path | None) -> None:
    """Print what is installed beside this server, as CycloneDX in JSON.

    It lists each package with version, licence and what it needs, and pulled models with their files' SHA-256.
    """
    try:
        settings = load_settings(config or default_config_file())
        named = [model.options.get("model") for model in settings.models]
        paths = dict.fromkeys(Path(path).expanduser().absolute() for path in named if isinstance(path, str))
        bill = bill_of_materials(paths)
    except ConfigurationError as error:
        say(f"jan: {error.message}", err=True)
        sys.exit(1)
    say(msgspec.json.format(msgspec.json.encode(bill)).decode())
