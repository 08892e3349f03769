"""The commands of weights."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from jobs.command import Rushes
from jobs.status import FAILED, OK


@click.group(cls=Rushes, short_help="List, fetch and check the models that stages load.")
def weights() -> None:
    """The models that stages load: list, fetch and check them."""


CATALOGUE = click.option(
    "--catalogue",
    type=click.Path(path_type=Path, exists=True),
    help="Another catalogue than the packaged one.",
)
INTO = click.option(
    "--into", type=click.Path(path_type=Path), help="Folder to keep them in. Default: the user's cache."
)


@weights.command("list")
@CATALOGUE
@INTO
def list_weights(catalogue: Path | None, into: Path | None) -> None:
    """Show every weight: is it here, its size, licence and role."""
    from jobs import chain

    click.echo(chain.list_weights(catalogue, into))


@weights.command("get", short_help="Fetch weights by name, or all defaults.")
@click.argument("names", nargs=-1)
@CATALOGUE
@INTO
def get_weights(names: tuple[str, ...], catalogue: Path | None, into: Path | None) -> None:
    """Fetch weights by name (all defaults when none is named), each checked against its digest."""
    from jobs import chain

    for line in chain.get_weights(names, catalogue, into):
        click.echo(line)


@weights.command("verify")
@CATALOGUE
@INTO
def verify_weights(catalogue: Path | None, into: Path | None) -> None:
    """Check the digest of every weight that is here."""
    from jobs import chain

    lines, sound = chain.verify_weights(catalogue, into)
    click.echo("\n".join(lines))
    sys.exit(OK if sound else FAILED)
