"""Commands that make and check a gallery: enroll, thresholds, gallery list, remove, compact, verify."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from lrface.cli.options import GALLERY, JSON, MODELS, check_gallery, matcher_options, service_folder
from lrface.cli.output import note, say, say_json
from lrface.errors import EnrolmentError, GalleryError

DATA = click.option(
    "--data",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Folder of the service that uses the gallery, as of `lrface serve`. Default: the one beside the gallery.",
)

if TYPE_CHECKING:
    from lrface.gallery import Gallery
    from lrface.matcher import FaceMatcher


@click.command()
@GALLERY
@click.argument("folder", type=click.Path())
@click.option(
    "--force",
    is_flag=True,
    help="Enrol also photos that look like another person or like many people, or that are too poor.",
)
@click.option(
    "--keep-crops",
    is_flag=True,
    help="Keep the aligned crops of photos enrolled from now on, so that `gallery upgrade` needs no photos.",
)
@click.option(
    "--out",
    type=click.Path(),
    metavar="DIR",
    help="Write a table of all photos (report.csv) and contact sheets into a new folder in DIR.",
)
@JSON
@matcher_options
def enroll(
    gallery: str,
    folder: str,
    force: bool,
    keep_crops: bool,
    out: str | None,
    as_json: bool,
    open_matcher: Callable[..., FaceMatcher],
) -> None:
    """Enrol FOLDER/<name>/*.jpg in GALLERY (created if new). Running it again adds only what is new."""
    from lrface.outputs.enrolment_files import EnrolmentFiles

    with ExitStack() as stack:
        matcher = stack.enter_context(open_matcher(gallery, must_exist=False))
        files = stack.enter_context(EnrolmentFiles(out)) if out else None
        told = None if files is None else files.write
        if keep_crops:
            matcher.gallery.set_keep_crops(True)
        report = matcher.enroll_folder(folder, progress=sys.stderr.isatty(), force=force, on_photo=told)
    if files is not None:
        note(f"written: {files.folder}")
    if as_json:
        for photo in report.photos:
            say_json({key: getattr(photo, key) for key in photo.__slots__})
    else:
        for line in str(report).splitlines():
            say(line)
    if report.without_photo:
        names = ", ".join(report.without_photo)
        raise EnrolmentError(f"no usable photo of {names} (reasons above): add another one; all others are enrolled")


@click.command()
@GALLERY
@click.option("--fpir", type=float, help="Share of strangers that may be named. Default: the gallery's, else 0.01.")
@MODELS
@JSON
def thresholds(gallery: str, fpir: float | None, models: str | None, as_json: bool) -> None:
    """Choose how many strangers GALLERY may name, and show the thresholds that follow.

    They follow the people enrolled: their number, each one's photos and, from 20 people on, how much they resemble each
    other. So they are right again after every enrolment; nothing has to be repeated.

    Besides, it says how many photos of the enrolled people would be recognised, each as if it alone were not enrolled:
    with this share, and with others to choose from; and how many small faces of theirs are expected to stay unknown,
    and how many of their tracks, of 4 and of 8 views.
    """
    from lrface.decisions.calibration import Calibration
    from lrface.decisions.expectation import WIDTHS, expected_missed, expected_tracks_missed, networks_at
    from lrface.decisions.rates import DEFAULT_FPIR
    from lrface.enrolment.leave_one_out import RATES, leave_one_out
    from lrface.gallery import Contract, Gallery
    from lrface.models.manifest import Manifest
    from lrface.models.serving import NetworkSet
    from lrface.tracks.left_out import tracks_left_out

    check_gallery(gallery)
    manifest = Manifest.load(models)
    calibration = Calibration.of(manifest)
    with Gallery.open(gallery, Contract.of(manifest)) as opened:
        if fpir is not None:
            opened.set_fpir(fpir)
        rate = opened.fpir or DEFAULT_FPIR
        population = opened.search_index().population
        rates = sorted({*RATES, rate}, reverse=True)
        recognised = leave_one_out(opened, calibration, rates)
        serving = networks_at(WIDTHS, manifest.ranges[NetworkSet.ACCURATE], manifest.embedders)
        enrolled = opened.search_index().enrolled
        expected = expected_missed(calibration, enrolled, serving, rates)
        of_tracks = expected_tracks_missed(calibration, enrolled, serving, rates)
        tracks = tracks_left_out(opened, calibration, rates)
    for network, bands in calibration.bands.items():
        for band in bands:
            for photos in band.curves:
                how = network, max(band.low, 1.0), photos, population, rate
                threshold = calibration.threshold(*how)
                if as_json:
                    widths = [band.low, None if math.isinf(band.high) else band.high]
                    record = {"network": network, "widths": widths, "photos": photos, "threshold": round(threshold, 5)}
                    say_json({**record, "people": population.size, "fpir": rate})
                else:
                    say(f"{threshold:.3f}", calibration.basis(*how))
    for each in recognised if recognised[0].photos else recognised[:1]:
        of_photos = "".join(f"; {made}" for made in tracks[each.fpir].values())
        note(f"{each}{of_photos}{' (now)' if each.fpir == rate and each.photos else ''}")
    for chosen, missed in expected.items():
        if missed:
            by_what = {f"of tracks of {views} views": shares for views, shares in of_tracks[chosen].items()}
            for what, shares in {"of single faces": missed, **by_what}.items():
                told = ", ".join(f"{100 * share:.0f} % at {width:g} px" for width, share in shares.items())
                now = " (now)" if chosen == rate else ""
                note(f"one stranger in {1 / chosen:,.0f} named: expected to stay unknown {what}: {told}{now}")


@click.group()
def gallery() -> None:
    """List, remove and check the people of a gallery."""


@gallery.command("list")
@GALLERY
@JSON
def gallery_list(gallery: str, as_json: bool) -> None:
    """List the people of GALLERY."""
    from lrface.gallery import Gallery

    check_gallery(gallery)
    with Gallery.open(gallery) as opened:
        people = opened.people()
    for person in people:
        if as_json:
            say_json({"id": person.id, "name": person.name, "photos": person.photos})
        else:
            say(person.name, f"{person.photos} photos")
    note(f"{len(people)} people")


@gallery.command("remove")
@GALLERY
@click.argument("name")
@DATA
def gallery_remove(gallery: str, name: str, data: str | None) -> None:
    """Delete NAME and every template of that person from GALLERY, and overwrite the bytes.

    What a service (`lrface serve`) has kept of the person is deleted, too.
    """
    from lrface.gallery import Gallery

    check_gallery(gallery)
    with Gallery.open(gallery) as opened:
        photos = opened.remove(name)
        say(f"removed {name} ({photos} photos)")  # first: it is true also if the file cannot be compacted
        opened.compact()
        erase_in_service(opened, gallery, data)


def erase_in_service(opened: Gallery, gallery: str, data: str | None) -> None:
    """Deletes what a service has kept of people who were removed, and says so.

    Args:
        opened: The gallery.
        gallery: Its file or URL.
        data: The service's folder; None for the one beside the gallery, if there is one.

    Raises:
        LrfaceError: The service's file cannot be used.
    """
    from lrface.serve.instep import FILE, erase_removed

    folder = service_folder(gallery, data)
    if folder is None or (data is None and not (folder / FILE).is_file()):
        return
    gone = erase_removed(opened, folder)
    if gone is None:
        note("the service that runs deletes the tracks, crops and events within seconds")
    else:
        note(f"{gone} tracks and events deleted in {folder}")


@gallery.command("compact")
@GALLERY
def gallery_compact(gallery: str) -> None:
    """Rewrite GALLERY without the space and the last bytes of removed people."""
    from lrface.gallery import Gallery

    check_gallery(gallery)
    with Gallery.open(gallery) as opened:
        opened.compact()


@gallery.command("verify")
@GALLERY
@click.option("--remove-damaged", is_flag=True, help="Delete what is damaged, so that the rest can be used again.")
def gallery_verify(gallery: str, remove_damaged: bool) -> None:
    """Compare every person and photo of GALLERY with the checksums, and list what is damaged."""
    from lrface.gallery import Gallery

    check_gallery(gallery)
    with Gallery.open(gallery) as opened:
        damaged = opened.remove_damaged() if remove_damaged else opened.verify()
        for entry in damaged:
            say(entry.name or "-", entry.reason)
        if remove_damaged:
            opened.compact()
            note(f"{len(damaged)} damaged entries removed: enrol these people again")
        elif damaged:
            raise GalleryError(
                f"gallery {gallery} has {len(damaged)} damaged entries (above): restore a copy, or delete them with "
                "`lrface gallery verify --remove-damaged` and enrol these people again"
            )
        note(f"{len(opened)} people are whole")
