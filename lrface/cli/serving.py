"""`lrface serve`: cameras, REST service and console in one process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from lrface.cli.options import matcher_options, service_folder
from lrface.cli.output import note
from lrface.errors import LrfaceError

if TYPE_CHECKING:
    from lrface.cameras.config import Settings
    from lrface.inputs.capture import Capture
    from lrface.matcher import FaceMatcher


@click.command()
@click.argument("cameras", required=False, type=click.Path(dir_okay=False))
@click.option("--gallery", type=click.Path(dir_okay=False), help="The gallery; made where there is none.")
@click.option(
    "--data",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Folder for accounts, events and tracks. Default: beside the gallery, GALLERY.service",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0: at all.")
@click.option("--port", default=8480, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--cert", type=click.Path(dir_okay=False), help="Certificate for TLS, a PEM file; with --key.")
@click.option("--key", type=click.Path(dir_okay=False), help="Key of the certificate, a PEM file.")
@click.option("--insecure", is_flag=True, help="Listen beyond this machine without TLS all the same.")
@click.option("--demo", is_flag=True, help="Show it all with the demo's clip as a camera; nothing is kept.")
@matcher_options
def serve(
    cameras: str | None,
    gallery: str | None,
    data: str | None,
    host: str,
    port: int,
    cert: str | None,
    key: str | None,
    insecure: bool,
    demo: bool,
    open_matcher: Callable[..., FaceMatcher],
) -> None:
    """Watch the cameras of the file CAMERAS, and answer requests: a REST service, /v1, and a console for browsers.

    At the first start an account and an API token are made and printed; they are shown only then.
    """
    if gallery is None and not demo:
        raise click.UsageError("say who is enrolled: --gallery staff.gallery (it is made where there is none)")
    if demo and (gallery is not None or cameras is not None or data is not None):
        raise click.UsageError("--demo has a camera, a gallery and a folder of its own: leave the others out")
    require_extra()
    from lrface.cameras.config import load_settings
    from lrface.cli.serve_demo import LoopedClip, demo_settings, prepare
    from lrface.serve.options import ServeOptions
    from lrface.serve.server import serve as answer_requests
    from lrface.serve.service import Service

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    certificate, secret = (None if each is None else Path(each) for each in (cert, key))
    with ExitStack() as stack:
        capture: Callable[[str | int], Capture] | None = None
        settings: Settings | None
        if demo:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="lrface-demo-")))
            gallery, settings = str(folder / "demo.gallery"), demo_settings(folder)
        else:
            beside = service_folder(str(gallery), data)
            if beside is None:
                raise click.UsageError("a gallery in Milvus has no folder beside it: say where tracks are kept, --data")
            folder = beside
            settings = None if cameras is None else load_settings(cameras)
        options = ServeOptions(folder, host, port, certificate, secret, insecure)
        matcher = stack.enter_context(open_matcher(gallery, must_exist=False))
        if demo:
            clip = prepare(folder, matcher, note)
            capture = lambda _source: LoopedClip(clip)  # noqa: E731
        service = Service(matcher, settings, options, open_capture=capture)
        stack.callback(service.close)
        first = service.access.first_start()
        if first is not None:
            note("Made at this first start, and shown only now:")
            note(f"  console: name {first.user}, password {first.password}")
            note(f"  API: token {first.token}")
        answer_requests(service, lambda url: note(f"lrface: {url}"))


def require_extra() -> None:
    """Says which extra is missing.

    Raises:
        LrfaceError: Starlette or uvicorn is not installed.
    """
    from importlib.util import find_spec

    needed = ("starlette", "uvicorn", "python_multipart", "prometheus_client", "jinja2", "scipy")
    missing = [name for name in needed if not find_spec(name)]
    if missing:
        raise LrfaceError(f"`lrface serve` needs {', '.join(missing)}: pip install 'lrface[serve]'")
