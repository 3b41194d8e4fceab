"""Commands about one person of a gallery, and about groups, days and the audit log."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click

from lrface.cli.galleries import DATA, erase_in_service, gallery
from lrface.cli.options import GALLERY, JSON, check_gallery
from lrface.cli.output import note, say, say_json

if TYPE_CHECKING:
    from lrface.gallery import Gallery


def _open(path: str) -> AbstractContextManager[Gallery]:
    from lrface.gallery import Gallery

    check_gallery(path)
    return Gallery.open(path)


@gallery.command("show")
@GALLERY
@click.argument("name")
@JSON
def show(gallery: str, name: str, as_json: bool) -> None:
    """Show what GALLERY holds of the person NAME (a name or an id): each photo, tags, groups, metadata."""
    with _open(gallery) as opened:
        person, photos = opened.person(name), opened.photos(name)
    listed = [
        {"sha256": p.sha256, "native_px": round(p.native_px, 1), "quality": p.quality, "added": p.added} for p in photos
    ]
    if as_json:
        known = {key: getattr(person, key) for key in ("id", "name", "tags", "groups", "metadata", "retain_until")}
        say_json({**known, "photos": listed})
        return
    say("name", person.name)
    say("id", person.id)
    for key, value in (("tags", ", ".join(person.tags)), ("groups", ", ".join(person.groups))):
        if value:
            say(key, value)
    for key, value in person.metadata.items():
        say(key, value)
    if person.retain_until:
        say("until", person.retain_until)
    for p in photos:
        quality = "" if p.quality is None else f"quality {p.quality:.2f}"
        say("photo", p.sha256[:16], f"{p.native_px:.0f} px", quality, p.added)


@gallery.command("rename")
@GALLERY
@click.argument("name")
@click.argument("new_name")
def rename(gallery: str, name: str, new_name: str) -> None:
    """Call the person NAME of GALLERY NEW_NAME from now on."""
    with _open(gallery) as opened:
        opened.rename(name, new_name)


@gallery.command("merge")
@GALLERY
@click.argument("name")
@click.argument("into")
def merge(gallery: str, name: str, into: str) -> None:
    """Move the photos, tags, groups and metadata of NAME to the person INTO: they are the same person."""
    with _open(gallery) as opened:
        opened.merge(name, into)
        say(into, f"{opened.person(into).photos} photos")


@gallery.command("remove-photo")
@GALLERY
@click.argument("name")
@click.argument("sha256")
def remove_photo(gallery: str, name: str, sha256: str) -> None:
    """Delete one photo of NAME, by the first characters of its SHA256 as `lrface gallery show` lists it."""
    with _open(gallery) as opened:
        opened.remove_photo(name, sha256)
        opened.compact()


@gallery.command("edit")
@GALLERY
@click.argument("name")
@click.option("--tag", "tags", multiple=True, help="Replace the tags; can be given several times.")
@click.option("--group", "groups", multiple=True, help="Put the person into this group (and no others).")
@click.option("--no-group", is_flag=True, help="Take the person out of all groups.")
@click.option("--until", metavar="DAY", help="Search and keep the person until this day (2027-03-31); 'none' for ever.")
def edit(
    gallery: str, name: str, tags: tuple[str, ...], groups: tuple[str, ...], no_group: bool, until: str | None
) -> None:
    """Change tags, groups and retention of the person NAME."""
    with _open(gallery) as opened:
        if tags:
            opened.set_tags(name, tags)
        if groups or no_group:
            opened.set_groups(name, () if no_group else groups)
        if until is not None:
            opened.set_retention(name, None if until == "none" else until)


@gallery.command("group")
@GALLERY
@click.argument("name")
@click.option("--fpir", type=float, help="Share of strangers that may be named as anybody of the group.")
@click.option("--from", "valid_from", metavar="DAY", help="First day on which its people are searched.")
@click.option("--until", "valid_until", metavar="DAY", help="Last day on which its people are searched.")
@click.option("--delete", is_flag=True, help="Delete the group; nobody may be in it.")
def group(
    gallery: str, name: str, fpir: float | None, valid_from: str | None, valid_until: str | None, delete: bool
) -> None:
    """Make or change the group NAME of GALLERY, such as staff or a watch list."""
    from lrface.gallery.settings import Group

    with _open(gallery) as opened:
        opened.set_group(name, None if delete else Group(fpir, valid_from, valid_until))


@gallery.command("expire")
@GALLERY
@DATA
def expire(gallery: str, data: str | None) -> None:
    """Delete everybody whose last day (`lrface gallery edit --until`) is over, with every template.

    What a service (`lrface serve`) has kept of them is deleted, too.
    """
    with _open(gallery) as opened:
        gone = opened.expire()
        for identity in gone:
            say(identity)
        opened.compact()
        erase_in_service(opened, gallery, data)
    note(f"{len(gone)} people removed")


@gallery.command("log")
@GALLERY
@JSON
def log(gallery: str, as_json: bool) -> None:
    """Print who did what when to GALLERY; people by id, without names."""
    with _open(gallery) as opened:
        entries = opened.audit_log()
    for entry in entries:
        if as_json:
            say_json({key: getattr(entry, key) for key in entry.__slots__})
        else:
            say(entry.at, entry.actor, entry.action, entry.person, entry.detail)


@gallery.command("snapshot")
@GALLERY
@click.argument("target", type=click.Path())
def snapshot(gallery: str, target: str) -> None:
    """Copy GALLERY as it is at this moment into the new file TARGET, also while it is in use."""
    with _open(gallery) as opened:
        opened.snapshot(target)


@gallery.command("crops")
@GALLERY
@click.argument("keep", type=click.Choice(("keep", "delete")))
def crops(gallery: str, keep: str) -> None:
    """Keep the aligned crops of photos enrolled from now on, for `upgrade`; or delete those that are kept."""
    with _open(gallery) as opened:
        opened.set_keep_crops(keep == "keep")
        opened.compact()


@gallery.command("export")
@GALLERY
@click.argument("target", type=click.Path())
@click.option("--csv", "as_csv", is_flag=True, help="Write a table of who is enrolled instead, without templates.")
def export(gallery: str, target: str, as_csv: bool) -> None:
    """Write everybody in GALLERY into the new file TARGET: a zip file of JSON that `import` reads."""
    from lrface.gallery.archive import export_gallery, write_csv
    from lrface.gallery.opening import open_store

    check_gallery(gallery)
    store = open_store(gallery, None, create=False)
    try:
        count = write_csv(store, target) if as_csv else export_gallery(store, target)
    finally:
        store.close()
    note(f"{count} people in {target}")


@gallery.command("import")
@click.argument("archive", type=click.Path(dir_okay=False))
@GALLERY
def import_(archive: str, gallery: str) -> None:
    """Make the new gallery GALLERY of ARCHIVE, which `export` wrote."""
    from lrface.gallery.archive import import_gallery

    note(f"{import_gallery(archive, gallery)} people in {gallery}")
