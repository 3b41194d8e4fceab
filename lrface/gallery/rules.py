"""What a gallery allows, wherever it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lrface.errors import GalleryError, UnknownPersonError
from lrface.gallery.records import Details, PhotoTemplate
from lrface.gallery.settings import Settings, check_day

LONGEST_DETAILS = 2**16 - 1  # bytes: what a field of text in Milvus holds


def check_details(details: Details, settings: Settings) -> None:
    """Refuses what cannot be stored of what is known of a person.

    Raises:
        GalleryError: An unknown group, no day, no JSON, or too long.
    """
    unknown = set(details.groups) - set(settings.groups)
    if unknown:
        raise GalleryError(f"there is no group {min(unknown)!r}: make it with `lrface gallery group` first")
    if details.retain_until is not None:
        check_day(details.retain_until)
    try:
        text = details.to_json()
    except (TypeError, ValueError, RecursionError) as error:
        raise GalleryError(f"the metadata are no JSON object ({error}): give text, numbers, lists") from error
    if len(text) > LONGEST_DETAILS:
        raise GalleryError("tags and metadata of a person are longer than 64 KiB: keep them elsewhere")


def joined_details(gone: Details, kept: Details) -> Details:
    """What is known of two entries that become one: the earlier last day holds, and what `kept` says of a key."""
    days = [day for day in (gone.retain_until, kept.retain_until) if day]
    return replace(
        kept,
        tags=tuple(sorted({*gone.tags, *kept.tags})),
        groups=tuple(sorted({*gone.groups, *kept.groups})),
        metadata={**gone.metadata, **kept.metadata},
        retain_until=min(days, default=None),
    )


def photo_to_remove(who: str, photos: Sequence[PhotoTemplate], sha256: str) -> str:
    """The stored hash of the one photo of a person whose hash begins so.

    Raises:
        GalleryError: No such photo, several that begin so, or the only one of the person.
    """
    found = [photo.sha256 for photo in photos if sha256 and photo.sha256.startswith(sha256.lower())]
    if len(found) != 1:
        which = "no photo" if not found else f"{len(found)} photos"
        raise GalleryError(f"{who} has {which} {sha256!r}: `lrface gallery show` lists them")
    if len(photos) == 1:
        raise GalleryError(f"it is the only photo of {who}: remove the person, or add another photo first")
    return found[0]


def usable_fpir(fpir: float | None) -> float | None:
    """The rate that is stored for a gallery, None for none.

    Raises:
        GalleryError: It is not a rate.
    """
    if fpir is not None and not 0.0 < fpir < 1.0:
        raise GalleryError(f"the gallery's fpir is {fpir}: choose one with `lrface thresholds GALLERY --fpir`")
    return fpir


def check_group_is_empty(name: str, settings: Settings, inside: Sequence[str]) -> None:
    """Refuses to delete a group that is not there, or in which somebody is.

    Args:
        name: The group's.
        settings: The gallery's.
        inside: Names of people in it.

    Raises:
        GalleryError: As above.
    """
    if name not in settings.groups or inside:
        why = f"{inside[0]!r} is in it: take everybody out first" if inside else "there is none"
        raise GalleryError(f"the group {name!r} cannot be deleted: {why}")


def nobody_called(name: str, where: str) -> UnknownPersonError:
    """The error of a person who is not enrolled."""
    return UnknownPersonError(f"nobody called {name!r} is in {where}: see `lrface gallery list`")


def name_taken(name: str) -> GalleryError:
    """The error of a new name that somebody else has."""
    return GalleryError(f"{name!r} is somebody else already: merge them, or choose another name")


def same_person(who: str, into: str) -> GalleryError:
    """The error of a person who is merged into the same person."""
    return GalleryError(f"{who!r} and {into!r} are the same person: nothing to merge")


def photo_taken(name: str, owner: str | None) -> GalleryError:
    """The error of a photo that somebody else has."""
    return GalleryError(f"a photo of {name} is enrolled as {owner!r} already: keep it in one place")


def import_fault(what: str) -> GalleryError:
    """The error of an export in which something is there twice."""
    return GalleryError(f"{what} is there twice: it is no export of ours")


def not_empty(where: str) -> GalleryError:
    """The error of an import into a gallery in which somebody is."""
    return GalleryError(f"somebody is in {where} already: import into a new gallery")
