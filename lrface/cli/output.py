"""What the commands print: results on stdout, the rest on stderr; text from outside never reaches a terminal raw."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import click

from lrface.outputs.records import SCHEMA, json_line
from lrface.redaction import escape, shown


def say(*fields: object) -> None:
    """Prints one line of results: the fields, escaped, with tabs between them."""
    click.echo("\t".join(escape(str(field)) for field in fields))


def say_json(record: Mapping[str, Any]) -> None:
    """Prints one line of JSON, with the number of the schema where the record has none."""
    click.echo(json_line({"schema": SCHEMA, **record}))


def note(text: str) -> None:
    """Prints one line to stderr; a stderr that is gone stops no work."""
    with suppress(OSError):
        click.echo(shown(text), err=True)
