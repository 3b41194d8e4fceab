"""`lrface access`: who may use a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lrface.cli.output import note, say
from lrface.errors import LrfaceError

if TYPE_CHECKING:
    from lrface.serve.access import Access

_DATA = click.argument("data", type=click.Path(file_okay=False))
_ROLE = click.option(
    "--role", type=click.Choice(("viewer", "operator", "admin")), default="viewer", show_default=True,
    help="viewer: see, identify; operator: also enrol and name; admin: also remove people, change settings.",
)  # fmt: skip


@click.group()
def access() -> None:
    """Accounts and API tokens of a service; DATA is its folder (GALLERY.service). A running service follows at once."""


@access.command("list")
@_DATA
def list_access(data: str) -> None:
    """List the accounts and tokens, with their roles."""
    for kind, name, role in _open(data).listed():
        say(kind, name, role)


@access.command("add")
@_DATA
@click.argument("name")
@_ROLE
@click.option("--token", "is_token", is_flag=True, help="Make an API token instead of an account for the console.")
def add_access(data: str, name: str, role: str, is_token: bool) -> None:
    """Make the account or token NAME, or give it a new secret and role; the secret is printed, only now."""
    from lrface.serve.access import Role

    opened = _open(data)
    make = opened.add_token if is_token else opened.add_account
    say(make(name, Role.named(role)))
    note("This secret is shown only now; the service keeps a hash of it")


@access.command("remove")
@_DATA
@click.argument("name")
def remove_access(data: str, name: str) -> None:
    """Remove the account and the token NAME."""
    _open(data).remove(name)


def _open(data: str) -> Access:
    from lrface.serve.access import Access

    path = Path(data) / "access.json"
    if not path.exists():
        raise LrfaceError(f"there is no {path}: give the folder that `lrface serve` made at its first start")
    return Access(path)
