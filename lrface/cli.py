"""The command line: results on stdout, the rest on stderr; exit code 1 for what went wrong, 130 for Ctrl-C."""

from __future__ import annotations

import functools
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrface import __version__
from lrface.errors import EnrolmentError, GalleryError, ImageError, LrfaceError

if TYPE_CHECKING:
    from lrface.matcher import FaceMatcher
    from lrface.types import Identification
    from lrface.watch import Sighting

_GALLERY = click.argument("gallery", type=click.Path(dir_okay=False))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
_MODELS = click.option("--models", type=click.Path(), metavar="DIR", help="Models folder. Default: the bundled one.")


def _matcher_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of FaceMatcher.open and passes on a function that opens it for a gallery."""

    @_MODELS
    @click.option("--detector", metavar="MODEL", help="YuNet or SCRFD .onnx, or insightface:PACK. Default: bundled.")
    @click.option(
        "--min-face",
        type=click.FloatRange(4),
        metavar="PX",
        help="Height of the smallest face to be found; half of it takes four times as long. "
        "Default: 8 in pictures of 640 to 1920 pixels, proportionally more in larger ones.",
    )
    @click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:N or coreml.")
    @click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="CPU threads a network.")
    @click.option("--fpir", type=float, help="Share of strangers that may be named. Default: the gallery's, else 0.01.")
    @functools.wraps(command)
    def wrapped(
        *args: Any, models: Any, detector: Any, min_face: float | None, device: str, threads: int, fpir: float | None,
        **rest: Any,
    ) -> Any:  # fmt: skip
        def open_matcher(gallery: str, must_exist: bool = True) -> FaceMatcher:
            from lrface.matcher import FaceMatcher

            if must_exist:
                _check_gallery(gallery)
            return FaceMatcher.open(
                gallery, models=models, detector=detector, min_face=min_face, device=device, threads=threads, fpir=fpir
            )

        return command(*args, open_matcher=open_matcher, **rest)

    return wrapped


def _check_gallery(path: str) -> None:
    if path != ":memory:" and not Path(path).exists():
        raise GalleryError(f"no gallery at {path}: check the path, or make it with `lrface enroll {path} people/`")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lrface")
def cli() -> None:
    """Recognise people in faces 8 to 64 pixels wide."""


@cli.command()
@click.option("--out", default="lrface-demo", show_default=True, type=click.Path(file_okay=False), help="Folder.")
def demo(out: str) -> None:
    """Make a surveillance clip, enrol one of its two people, identify both."""
    from lrface.demo import run

    run(Path(out), click.echo)


@cli.command()
@_GALLERY
@click.argument("folder", type=click.Path())
@click.option("--force", is_flag=True, help="Also photos that look like somebody else, like many, or too poor.")
@_JSON
@_matcher_options
def enroll(gallery: str, folder: str, force: bool, as_json: bool, open_matcher: Callable[..., FaceMatcher]) -> None:
    """Enrol FOLDER/<name>/*.jpg in GALLERY (created if new). Running it again adds only what is new."""
    with open_matcher(gallery, must_exist=False) as matcher:
        report = matcher.enroll_folder(folder, progress=sys.stderr.isatty(), force=force)
    if as_json:
        for photo in report.photos:
            click.echo(json.dumps({key: getattr(photo, key) for key in photo.__slots__}, ensure_ascii=False))
    else:
        click.echo(str(report))
    if report.without_photo:
        names = ", ".join(report.without_photo)
        raise EnrolmentError(f"no usable photo of {names} (reasons above): add another one; all others are enrolled")


@cli.command()
@_GALLERY
@click.argument("pictures", nargs=-1, required=True, type=click.Path())
@click.option("--out", type=click.Path(file_okay=False), help="Folder for annotated pictures and JSON lines.")
@_JSON
@_matcher_options
def identify(
    gallery: str, pictures: tuple[str, ...], out: str | None, as_json: bool, open_matcher: Callable[..., FaceMatcher]
) -> None:
    """Say who is in each of PICTURES (files or folders). A picture that cannot be read stops no other."""
    from lrface.images import read_image
    from lrface.sinks import JsonLines, frame_record

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
                from lrface.annotate import draw
                from lrface.sinks import write_picture

                lines.write(record)
                write_picture(Path(out) / _free_name(path.stem, taken), draw(image, faces))
    if failed:
        raise LrfaceError(f"{failed} of {len(paths)} pictures could not be used (named above); the others are done")


@cli.command()
@_GALLERY
@click.argument("source")
@click.option("--out", type=click.Path(file_okay=False), help="Folder for annotated video, JSON lines, contact sheet.")
@click.option("--stride", default=1, show_default=True, type=click.IntRange(1), help="Of a file, every n-th frame.")
@_JSON
@_matcher_options
def watch(
    gallery: str, source: str, out: str | None, stride: int, as_json: bool, open_matcher: Callable[..., FaceMatcher]
) -> None:
    """Identify in SOURCE (video file, camera number, rtsp:// URL) and print a line when somebody comes into view."""
    from lrface.video import VideoSource
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


@cli.command()
@_GALLERY
@click.option("--fpir", type=float, help="Share of strangers that may be named. Default: the gallery's, else 0.01.")
@_MODELS
@_JSON
def calibrate(gallery: str, fpir: float | None, models: str | None, as_json: bool) -> None:
    """Choose how many strangers GALLERY may name, and show the thresholds that follow.

    They follow the people enrolled: their number, each one's photos and, from 20 people on, how much they resemble each
    other. So they are right again after every enrolment; nothing has to be repeated.
    """
    from lrface.decision import DEFAULT_FPIR
    from lrface.gallery import Contract, Gallery
    from lrface.models import Manifest

    _check_gallery(gallery)
    manifest = Manifest.load(models)
    calibration = manifest.calibration()
    with Gallery.open(gallery, Contract.of(manifest)) as opened:
        if fpir is not None:
            opened.set_fpir(fpir)
        rate = opened.fpir or DEFAULT_FPIR
        population = opened.projection().population
    for level in sorted(calibration.gallery_level):
        other = calibration.compare_at(level)
        for photos in calibration.curves[level, other]:
            threshold = calibration.threshold(level, other, photos, population, rate)
            basis = calibration.basis(level, other, photos, population, rate)
            if as_json:
                record = {"level": level, "gallery_level": other, "photos": photos, "threshold": round(threshold, 5)}
                click.echo(json.dumps({**record, "people": population.size, "fpir": rate, "basis": basis}))
            else:
                click.echo(f"{threshold:.3f}\t{basis}")


@cli.group()
def gallery() -> None:
    """See who is enrolled; take people out."""


@gallery.command("list")
@_GALLERY
@_JSON
def gallery_list(gallery: str, as_json: bool) -> None:
    """List the people of GALLERY."""
    from lrface.gallery import Gallery

    _check_gallery(gallery)
    with Gallery.open(gallery) as opened:
        people = opened.people()
    for person in people:
        if as_json:
            record = {"name": person.name, "photos": person.photos, "levels": person.levels}
            click.echo(json.dumps(record, ensure_ascii=False))
        else:
            click.echo(f"{person.name}\t{person.photos} photos")
    click.echo(f"{len(people)} people", err=True)


@gallery.command("remove")
@_GALLERY
@click.argument("name")
def gallery_remove(gallery: str, name: str) -> None:
    """Delete NAME and every template of that person from GALLERY, and overwrite the bytes."""
    from lrface.gallery import Gallery

    _check_gallery(gallery)
    with Gallery.open(gallery) as opened:
        photos = opened.remove(name)
        opened.compact()
    click.echo(f"removed {name} ({photos} photos)")


@cli.group()
def models() -> None:
    """See the models and check their hashes."""


@models.command("list")
@_MODELS
def models_list(models: str | None) -> None:
    """List the models of the manifest."""
    from lrface.models import Manifest

    manifest = Manifest.load(models)
    for entry in manifest.entries:
        click.echo(f"{entry.name}\t{entry.file}\t{entry.sha256[:12]}\t{entry.license}")
    click.echo(f"in {manifest.folder}", err=True)


@models.command("verify")
@_MODELS
def models_verify(models: str | None) -> None:
    """Compare each model's SHA-256 with the manifest's, and the calibration with the models."""
    from lrface.models import Manifest

    manifest = Manifest.load(models)
    found = manifest.verify()
    for status in found:
        click.echo(f"{status.name}\t{status.detail}")
    manifest.calibration()
    click.echo("calibration\tok")
    if not all(status.ok for status in found):
        raise LrfaceError("a model is not what the manifest says: reinstall lrface or restore the file")


@cli.command()
def doctor() -> None:
    """Check this installation; each problem is shown with its mend."""
    from lrface.doctor import examine

    broken = 0
    for finding in examine():
        click.echo(str(finding))
        broken += not finding.ok
    if broken:
        raise LrfaceError(f"{broken} problems found; the mends are above")


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
    from lrface.images import SUFFIXES

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


if __name__ == "__main__":
    main()
