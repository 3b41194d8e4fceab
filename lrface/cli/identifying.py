"""Commands that say who is seen: identify, watch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrface.cli.options import ASPECT, EXPLAIN, GALLERY, JSON, ROTATE, matcher_options
from lrface.cli.output import note, say, say_json
from lrface.errors import ImageError, LrfaceError

if TYPE_CHECKING:
    from lrface.matcher import FaceMatcher
    from lrface.tracks.detection_pace import DetectEvery
    from lrface.types import Identification
    from lrface.watching import Sighting

_MOST_HOURS = 24 * 365
_MAX_STEM = 200  # bytes of an output's name before its suffix; file systems allow 255 in all
_OUT = "Each run makes a new folder in it: run-0001, run-0002 ..."


@click.command()
@GALLERY
@click.argument("pictures", nargs=-1, required=True, type=click.Path())
@click.option("--out", type=click.Path(), metavar="DIR", help=f"Write annotated pictures and JSON lines. {_OUT}")
@ROTATE
@ASPECT
@EXPLAIN
@JSON
@matcher_options
def identify(
    gallery: str,
    pictures: tuple[str, ...],
    out: str | None,
    rotate: str,
    aspect: str | None,
    explain: bool,
    as_json: bool,
    open_matcher: Callable[..., FaceMatcher],
) -> None:
    """Say who is in each of PICTURES (files or folders). A picture that cannot be used stops no other."""
    from lrface.inputs.correction import corrected, parse_aspect
    from lrface.inputs.images import read_image
    from lrface.outputs.records import frame_record

    paths, shape = list(_pictures(pictures)), parse_aspect(aspect)
    failed = 0
    with ExitStack() as stack:
        matcher = stack.enter_context(open_matcher(gallery))
        written = stack.enter_context(_Written(out)) if out else None
        for path in _progress(paths, len(paths) > 1 and not _talks_to_terminal()):
            try:
                image = corrected(read_image(path), shape, int(rotate))
                faces = matcher.identify(image)
                if written:
                    written.write(path, image, faces)
            except ImageError as error:
                note(f"lrface: {error}")
                failed += 1
                continue
            if as_json:
                say_json(frame_record(str(path), 0, None, faces, explain=explain))
            else:
                _say_faces(f"{path}: ", faces, explain)
    if failed:
        raise LrfaceError(f"{failed} of {len(paths)} pictures could not be used (named above); the others are done")


def _seconds(_: click.Context, __: click.Parameter, value: str) -> float:
    """Seconds of a number of hours, 0 for "off"."""
    try:
        hours = 0.0 if value == "off" else float(value)
    except ValueError:
        hours = -1.0
    if not 0.0 <= hours <= _MOST_HOURS:
        raise click.BadParameter(f"{value!r}: give hours from 0 to {_MOST_HOURS}, or off")
    return 3600 * hours


def _every(_: click.Context, __: click.Parameter, value: str) -> DetectEvery:
    """A number of frames, or "auto"."""
    from lrface.tracks.detection_pace import MOST

    if value == "auto":
        return "auto"
    if not value.isdecimal() or not 1 <= int(value) <= MOST:
        raise click.BadParameter(f"{value!r}: give 1 to {MOST}, or auto")
    return int(value)


@click.command()
@GALLERY
@click.argument("source")
@click.option(
    "--out", type=click.Path(), metavar="DIR", help=f"Write annotated video, JSON lines, contact sheet. {_OUT}"
)
@click.option(
    "--keep-strangers",
    default="24",
    show_default=True,
    callback=_seconds,
    metavar="HOURS",
    help="Keep a stranger's template in memory for so long, to know who comes back; off: not at all.",
)
@click.option("--stride", default=1, show_default=True, type=click.IntRange(1), help="Of a file, every n-th frame.")
@click.option(
    "--detect-every",
    default="1",
    show_default=True,
    callback=_every,
    metavar="N|auto",
    help="Search for faces in every n-th frame, at least 4 times a second; tracks move on between. "
    "auto: of a live source as often as leaves a fifth of the time free.",
)
@click.option("--show", is_flag=True, help="Draw a table on the terminal: frames/s, latency, who is in view.")
@click.option("--every-frame", is_flag=True, help="Of a URL that ends (a video on a server), every frame.")
@ROTATE
@ASPECT
@EXPLAIN
@JSON
@matcher_options
def watch(
    gallery: str,
    source: str,
    out: str | None,
    keep_strangers: float,
    stride: int,
    detect_every: DetectEvery,
    show: bool,
    every_frame: bool,
    rotate: str,
    aspect: str | None,
    explain: bool,
    as_json: bool,
    open_matcher: Callable[..., FaceMatcher],
) -> None:
    """Identify in SOURCE (video file, camera number, rtsp:// URL) and print a line when somebody comes into view.

    SOURCE may also be a .toml file that names several cameras and who receives the events (docs/several-cameras.md).
    """
    from lrface.cameras.config import load_settings
    from lrface.cli.camera_file import is_camera_file, watch_file
    from lrface.cli.terminal_view import TerminalView
    from lrface.inputs.video import VideoSource
    from lrface.outputs.records import frame_record
    from lrface.watching import watch as run

    if is_camera_file(source):
        if stride != 1 or detect_every != 1 or every_frame or rotate != "0" or aspect is not None or explain:
            raise click.UsageError("--rotate, --aspect, --detect-every, --every-frame are fields of each camera")
        if show:
            raise click.UsageError("--show is for one source; `lrface serve` shows several cameras")
        settings = load_settings(source)
        with open_matcher(gallery) as matcher:
            watch_file(settings, matcher, out, as_json, keep_strangers)
        return

    def told(sighting: Sighting) -> None:
        if as_json:
            say_json(frame_record(video.name, sighting.frame, sighting.time_s, [sighting.face], explain=explain))
        else:
            _say_faces(f"{clock(sighting.time_s)}  ", [sighting.face], explain)

    with (
        ExitStack() as stack,
        open_matcher(gallery) as matcher,
        VideoSource(
            source,
            live=False if every_frame else None,
            stride=stride,
            aspect=aspect,
            rotate=int(rotate),
            on_event=lambda event: note(f"lrface: {event.message}"),
        ) as video,
    ):
        view = stack.enter_context(TerminalView(video.name)) if show else None
        bar = sys.stderr.isatty() and not _talks_to_terminal() and not show
        report = run(
            matcher,
            video,
            out=out,
            on_sighting=told,
            on_frame=None if view is None else view.add,
            keep_strangers_s=keep_strangers,
            detect_every=detect_every,
            progress=bar,
        )
    people = ", ".join(f"{name} in {n}" for name, n in report.named.most_common()) or "nobody enrolled"
    tracks = sum(report.named_tracks.values()) + report.unknown_tracks
    note(
        f"{report.frames} frames: {people}; {report.unknown} unknown faces; {tracks} tracks, "
        f"{report.unknown_tracks} of them unknown; {report.embedded} faces embedded; "
        f"{report.latency}"
    )
    for path in report.written:
        note(f"wrote {path}")


class _Written:
    """What `identify --out` writes: a copy of each picture with boxes and names, and JSON lines."""

    def __init__(self, out: str) -> None:
        from lrface.outputs.files import LINES, run_folder
        from lrface.outputs.sinks import JsonLines

        self._folder = run_folder(out)
        self._lines = JsonLines(self._folder / LINES)
        self._taken: set[str] = set()

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.close()
        note(f"wrote {self._folder}")

    def write(self, path: Path, image: Any, faces: list[Identification]) -> None:
        from lrface.outputs.annotate import draw
        from lrface.outputs.files import JPEG_MAX_SIDE, write_picture
        from lrface.outputs.records import frame_record

        suffix = ".jpg" if max(image.shape) <= JPEG_MAX_SIDE else ".png"
        write_picture(self._folder / self._free_name(path.stem, suffix), draw(image, faces))
        self._lines.write(frame_record(str(path), 0, None, faces))

    def _free_name(self, stem: str, suffix: str) -> str:
        """A name that no picture of this run has, also where a file system ignores case; long ones are shortened."""
        short = os.fsencode(stem)[:_MAX_STEM].decode(errors="ignore") or "picture"
        names = (f"{short}{f'-{n}' if n else ''}{suffix}" for n in range(len(self._taken) + 1))
        name = next(name for name in names if name.casefold() not in self._taken)
        self._taken.add(name.casefold())
        return name


def _say_faces(prefix: str, faces: list[Identification], explain: bool) -> None:
    for face in faces:
        say(prefix + _face_line(face))
        if explain:
            say(f"    {face.explain()}")
    if not faces:
        say(f"{prefix}no face")


def _face_line(face: Identification) -> str:
    from lrface.types import one_in

    similarity = "" if face.similarity is None else f"  similarity {face.similarity:.2f}"
    if face.false_match_rate is not None:
        similarity += f" ({one_in(face.false_match_rate)})"
    reason = "" if face.name is not None else f" ({face.reason})"
    box = " ".join(f"{value:.0f}" for value in face.box)
    return f"{face.name or 'unknown'}{reason}{similarity}  {face.native_px:.0f} px  box {box}"


def clock(seconds: float) -> str:
    """Hours, minutes, seconds and milliseconds: 01:02:03.456."""
    total, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{total // 3600:02d}:{total // 60 % 60:02d}:{total % 60:02d}.{milliseconds:03d}"


def _pictures(given: tuple[str, ...]) -> Iterator[Path]:
    """The files given, and those in the folders given, without what earlier runs of lrface wrote there."""
    from lrface.inputs.folders import list_pictures
    from lrface.outputs.files import is_run_folder

    for text in given:
        path = Path(text)
        if not path.is_dir():
            yield path
            continue
        found = list_pictures(path)
        inside = found.pictures
        if found.left_out:
            note(f"left out of {path}: {found.summary()}")
        if not inside:
            raise ImageError(f"{path}: no picture in this folder; give one with .jpg, .png, .webp ...")
        below = {folder for file in inside for folder in file.parents if folder != path and path in folder.parents}
        runs = {folder for folder in below if is_run_folder(folder)}
        taken = [file for file in inside if runs.isdisjoint(file.parents)]
        if len(taken) < len(inside):
            note(f"left out {len(inside) - len(taken)} pictures in {path} that lrface wrote")
        yield from taken


def _talks_to_terminal() -> bool:
    """Whether result lines would break a progress bar."""
    return sys.stdout.isatty()


def _progress(paths: list[Path], wanted: bool) -> Iterable[Path]:
    """The paths, with a progress bar on a terminal."""
    if not (wanted and sys.stderr.isatty()):
        return paths
    from tqdm import tqdm

    bar: Iterable[Path] = tqdm(paths, unit=" pictures", leave=False)
    return bar
