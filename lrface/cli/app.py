"""The command line: results on stdout, the rest on stderr, and the exit codes that `EXIT_CODES` lists."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

import click

from lrface import __version__
from lrface.cli import gallery_check as _check  # noqa: F401  (adds its commands)
from lrface.cli import gallery_people as _people  # noqa: F401
from lrface.cli import gallery_upgrade as _upgrade  # noqa: F401
from lrface.cli.access import access
from lrface.cli.galleries import enroll, gallery, thresholds
from lrface.cli.identifying import identify, watch
from lrface.cli.installation import demo, doctor, models
from lrface.cli.output import note
from lrface.cli.serving import serve
from lrface.errors import LrfaceError

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
EXIT_CODES = """\b
Exit codes:
  0    all is done
  1    something could not be done; stderr says what, and what to do
  2    wrong usage
  130  interrupted by Ctrl-C; what was finished is kept
  129, 143  ended by SIGHUP or SIGTERM; what was finished is kept
"""


class _Ended(BaseException):
    """SIGHUP or SIGTERM came: leave every `with` block, so that files are closed, then exit."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@click.group(
    commands=[demo, enroll, identify, watch, serve, access, thresholds, gallery, models, doctor],
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, prog_name="lrface")
def cli() -> None:
    """Recognise people in faces 8 to 64 pixels wide."""


def main() -> None:
    """Entry point of `lrface`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names that are no Unicode, terminals that know few letters
            stream.reconfigure(errors="backslashreplace")
    _end_on_signals()
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: Without the program's name. None: those of the process.

    Returns:
        The exit code.
    """
    try:
        cli(arguments, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        with suppress(OSError):
            error.show()
        return WRONG_USAGE
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        if context is not None:
            for line in (*context.get_usage().splitlines(), f"Try '{context.command_path} --help' for help."):
                note(line)
        note(f"Error: {error.format_message()}")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        note("lrface: interrupted; what was finished is kept")
        return INTERRUPTED
    except _Ended as ended:
        note(f"lrface: ended by {signal.Signals(ended.number).name}; what was finished is kept")
        return 128 + ended.number
    except LrfaceError as error:
        note(f"lrface: {error}")
        return FAILED
    except OSError as error:
        return _environment_failed(error)
    return 0


def _end_on_signals() -> None:
    """SIGTERM (a service is stopped) and SIGHUP (its terminal is closed) end like Ctrl-C: files are closed first."""
    first = True

    def end(number: int, _: FrameType | None) -> None:
        nonlocal first
        if first:  # systemd sends both; the second must not interrupt the closing
            first = False
            raise _Ended(number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # `nohup lrface ...` stays
            signal.signal(number, end)


def _environment_failed(error: OSError) -> int:
    """What the operating system refused, in one line: a full or closed stdout, a path that is too long."""
    if error.filename is not None:
        note(f"lrface: cannot use {error.filename} ({error.strerror}): check the path")
        return FAILED
    with suppress(OSError, ValueError):  # or Python complains, as it exits, that it cannot write the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno != errno.EPIPE:  # `lrface ... | head` needs no message
        note(f"lrface: cannot write the output ({error.strerror or error}): free some space or send it elsewhere")
    return FAILED
