"""Commands that say who is seen: identify, watch."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrface.cli.options import GALLERY, JSON, matcher_options
from lrface.errors import ImageError, LrfaceError

if TYPE_CHECKING:
    from lrface.matcher import FaceMatcher
    from lrface.types import Identification
    from lrface.watch import Sighting


@click.command()
@GALLERY
@click.argument("pictures", nargs=-1, required=True, type=click.Path())
@click.option("--out", type=click.Path(file_okay=False), help="Folder for annotated pictures and JSON lines.")
@JSON
@matcher_options
def identify(
    gallery: str, pictures: tuple[str, ...], out: str | None, as_json: bool, open_matcher: Callable[..., FaceMatcher]
) -> None:
    """Say who is in each of PICTURES (files or folders). A picture that cannot be read stops no other."""
    from lrface.inputs.images import read_image
    from lrface.outputs.sinks import JsonLines, frame_record

    paths = list(_pictures(pictures))
    failed = 0
    with ExitStack() as stack:
        matcher = stack.enter_context(open_matcher(gallery))
        lines = stack.enter_context(JsonLines(Path(out) / "identifications.jsonl")) if out else None
        taken: set[str] = set()
        for path in _progress(paths, len(paths) > 1 and not _talks_to_terminal()):
            try:
                image = read_image(path)
                faces = matcher.identify(image)
            except ImageError as error:
                click.echo(f"lrface: {error}", err=True)
                failed += 1
                continue
            record = frame_record(str(path), 0, None, faces)
            click.echo(json.dumps(record, ensure_ascii=False) if as_json else _face_lines(str(path), faces))
            if out and lines:
                from lrface.outputs.annotate import draw
                from lrface.outputs.sinks import write_picture

                lines.write(record)
                write_picture(Path(out) / _free_name(path.stem, taken), draw(image, faces))
    if failed:
        raise LrfaceError(f"{failed} of {len(paths)} pictures could not be used (named above); the others are done")


@click.command()
@GALLERY
@click.argument("source")
@click.option("--out", type=click.Path(file_okay=False), help="Folder for annotated video, JSON lines, contact sheet.")
@click.option("--stride", default=1, show_default=True, type=click.IntRange(1), help="Of a file, every n-th frame.")
@JSON
@matcher_options
def watch(
    gallery: str, source: str, out: str | None, stride: int, as_json: bool, open_matcher: Callable[..., FaceMatcher]
) -> None:
    """Identify in SOURCE (video file, camera number, rtsp:// URL) and print a line when somebody comes into view."""
    from lrface.inputs.video import VideoSource
    from lrface.watch import watch as run

    def told(sighting: Sighting) -> None:
        if as_json:
            line = json.dumps({"time_s": round(sighting.time_s, 3), **sighting.face.to_dict()}, ensure_ascii=False)
        else:
            line = f"{_clock(sighting.time_s)}  {_face_line(sighting.face)}"
        click.echo(line)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a service being stopped: close the files first
    with (
        open_matcher(gallery) as matcher,
        VideoSource(
            source, stride=stride, on_event=lambda event: click.echo(f"lrface: {event.message}", err=True)
        ) as video,
    ):
        bar = sys.stderr.isatty() and not _talks_to_terminal()
        report = run(matcher, video, out=out, on_sighting=told, progress=bar)
    people = ", ".join(f"{name} in {n}" for name, n in report.named.most_common()) or "nobody enrolled"
    click.echo(f"{report.frames} frames: {people}; {report.unknown} unknown faces", err=True)
    for path in report.written:
        click.echo(f"wrote {path}", err=True)


def _face_line(face: Identification) -> str:
    from lrface.types import one_in

    similarity = "" if face.similarity is None else f"  similarity {face.similarity:.2f}"
    if face.false_match is not None:
        similarity += f" ({one_in(face.false_match)})"
    reason = "" if face.name is not None else f" ({face.reason})"
    box = " ".join(f"{value:.0f}" for value in face.box)
    return f"{face.name or 'unknown'}{reason}{similarity}  {face.native_px:.0f} px  box {box}"


def _face_lines(path: str, faces: list[Identification]) -> str:
    return "\n".join(f"{path}: {_face_line(face)}" for face in faces) or f"{path}: no face"


def _clock(seconds: float) -> str:
    return f"{int(seconds // 3600):02d}:{int(seconds // 60 % 60):02d}:{seconds % 60:06.3f}"


def _pictures(given: tuple[str, ...]) -> Iterator[Path]:
    from lrface.inputs.images import SUFFIXES

    for text in given:
        path = Path(text)
        if not path.is_dir():
            yield path
            continue
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not inside:
            raise ImageError(f"{path}: no picture in this folder; give one with {', '.join(sorted(SUFFIXES)[:4])} ...")
        yield from inside


def _free_name(stem: str, taken: set[str]) -> str:
    names = (f"{stem}{f'-{n}' if n else ''}.jpg" for n in range(len(taken) + 1))
    name = next(name for name in names if name.casefold() not in taken)
    taken.add(name.casefold())
    return name


def _talks_to_terminal() -> bool:
    """Whether result lines would break a progress bar."""
    return sys.stdout.isatty()


def _progress(paths: list[Path], wanted: bool) -> Any:
    from tqdm import tqdm

    return tqdm(paths, unit=" pictures", disable=not (wanted and sys.stderr.isatty()), leave=False)
