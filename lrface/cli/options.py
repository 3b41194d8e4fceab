"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrface.cli.output import note
from lrface.errors import GalleryError

if TYPE_CHECKING:
    from lrface.matcher import FaceMatcher

GALLERY = click.argument("gallery", type=click.Path(dir_okay=False))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON lines (docs/json.md).")
EXPLAIN = click.option("--explain", is_flag=True, help="Say of each face why it has this name, or none.")
ROTATE = click.option(
    "--rotate",
    default="0",
    show_default=True,
    type=click.Choice(("0", "90", "180", "270")),
    help="Degrees clockwise, for cameras that are mounted turned or upside down.",
)
ASPECT = click.option(
    "--aspect",
    metavar="W:H",
    help="Width to height of the picture as it should be seen, like 4:3, before --rotate. Default: square pixels, or "
    "as the video says.",
)
DEVICE_HELP = (
    "cpu, cuda, cuda:N, coreml, openvino, openvino:gpu or openvino:npu; auto: for each network the fastest one here."
)
MODELS = click.option("--models", type=click.Path(), metavar="DIR", help="Models folder. Default: the bundled one.")


def matcher_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of FaceMatcher.open and passes on a function that opens it for a gallery."""

    @MODELS
    @click.option("--detector", metavar="MODEL", help="YuNet or SCRFD .onnx, or insightface:PACK. Default: bundled.")
    @click.option(
        "--min-face",
        type=click.FloatRange(4),
        metavar="PX",
        help="Height of the smallest face to be found; half the height takes four times as long. "
        "Default: 8 in pictures of 640 to 1920 pixels, proportionally more in larger ones.",
    )
    @click.option("--device", default="cpu", show_default=True, help=DEVICE_HELP)
    @click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="CPU threads a network.")
    @click.option(
        "--networks",
        type=click.Choice(("accurate", "fast")),
        default="accurate",
        show_default=True,
        help="Which networks embed the faces: the most accurate, or faster ones for many faces a frame.",
    )
    @click.option("--fpir", type=float, help="Share of strangers that may be named. Default: the gallery's, else 0.01.")
    @functools.wraps(command)
    def wrapped(
        *args: Any, models: Any, detector: Any, min_face: float | None, device: str, threads: int, networks: str,
        fpir: float | None, **rest: Any,
    ) -> Any:  # fmt: skip
        def open_matcher(gallery: str, must_exist: bool = True) -> FaceMatcher:
            from lrface.matcher import FaceMatcher

            if must_exist:
                check_gallery(gallery)
            matcher = FaceMatcher.open(
                gallery,
                models=models,
                detector=detector,
                min_face=min_face,
                device=device,
                threads=threads,
                fpir=fpir,
                networks=networks,
                create=not must_exist,
            )
            if device == "auto" or device.startswith("openvino"):  # where it was chosen, or in which precision
                note("device: " + ", ".join(f"{name} on {what}" for name, what in matcher.devices.items()))
            return matcher

        return command(*args, open_matcher=open_matcher, **rest)

    return wrapped


def service_folder(gallery: str, data: str | None) -> Path | None:
    """The folder of the service that uses a gallery: as given, else the one beside the gallery's file.

    Args:
        gallery: Its path or URL.
        data: What was given; None for nothing.

    Returns:
        None for a gallery on a server, beside which there is no folder.
    """
    from lrface.gallery.opening import is_on_server

    if data is not None:
        return Path(data)
    return None if is_on_server(gallery) else Path(f"{gallery}.service")


def check_gallery(path: str) -> None:
    """Refuses a gallery that is not there, before one is made by a mistyped name. Of a server it is asked later."""
    from lrface.gallery.opening import check_is_no_other_url, is_on_server

    if is_on_server(path):
        return
    check_is_no_other_url(path)
    if path != ":memory:" and not Path(path).exists():
        raise GalleryError(f"no gallery at {path}: check the path, or make it with `lrface enroll {path} people/`")
