"""The command line: results on stdout, the rest on stderr; exit code 1 for what went wrong, 130 for Ctrl-C."""

from __future__ import annotations

import io
import os
import sys

import click

from lrface import __version__
from lrface.cli.galleries import calibrate, enroll, gallery
from lrface.cli.identifying import identify, watch
from lrface.cli.installation import demo, doctor, models
from lrface.errors import LrfaceError


@click.group(
    commands=[demo, enroll, identify, watch, calibrate, gallery, models, doctor],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="lrface")
def cli() -> None:
    """Recognise people in faces 8 to 64 pixels wide."""


def main() -> None:
    """Entry point of `lrface`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names that are no Unicode, terminals that know few letters
            stream.reconfigure(errors="backslashreplace")
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("lrface: interrupted; what was finished is kept", err=True)
        sys.exit(130)
    except LrfaceError as error:
        click.echo(f"lrface: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:  # `lrface ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
