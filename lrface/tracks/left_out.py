"""How many tracks of the enrolled people would have their name, each made of photos as if they were not enrolled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lrface.decisions.calibration import Calibration
from lrface.decisions.expectation import TRACK_VIEWS
from lrface.embedding.templates import fuse
from lrface.enrolment.leave_one_out import evenly, own_replaced, people_with_more_photos
from lrface.gallery import Gallery, Match, PhotoTemplate
from lrface.gallery.protocol import SearchedPeople
from lrface.tracks.decision import CANDIDATES, can_fuse, decide_track
from lrface.tracks.template import TrackTemplate, View, fuse_views


@dataclass(frozen=True, slots=True)
class TrackRecognition:
    """What became of tracks of so many photos each, at one share of strangers' tracks that may be named.

    Attributes:
        fpir: That share.
        views: Photos of a track.
        tracks: How many were compared, one of each person who has more photos than that.
        named: How many would have the right name.
        mistaken: How many would have somebody else's name.
    """

    fpir: float
    views: int
    tracks: int
    named: int
    mistaken: int

    def __str__(self) -> str:
        """In words, for a user."""
        wrong = f", {self.mistaken} as somebody else" if self.mistaken else ""
        share = f"{100 * self.named / self.tracks:.0f} %"
        return f"{self.named} of {self.tracks} tracks of {self.views} photos ({share}){wrong}"


def tracks_left_out(
    gallery: Gallery, calibration: Calibration, rates: Sequence[float]
) -> dict[float, dict[int, TrackRecognition]]:
    """Compares some photos of each person, fused as the views of a track, with everybody and with their other photos.

    Photos are what was enrolled: large faces in different poses, by the network of enrolment.

    Args:
        gallery: Read only. People who have no more photos than a track are left out, and those who are not searched.
        calibration: Of the gallery's models; without thresholds for tracks nothing is found.
        rates: Shares of strangers' tracks that may be named.

    Returns:
        By rate and views (`TRACK_VIEWS`); only what was compared.

    Raises:
        GalleryError: The gallery cannot be read.
        ArgumentError: A rate is out of range.
    """
    found: dict[float, dict[int, TrackRecognition]] = {rate: {} for rate in rates}
    if not can_fuse(calibration, calibration.enrolment):
        return found
    index = gallery.search_index()
    for count in TRACK_VIEWS:
        compared = list(_compared(gallery, index, calibration.enrolment, count))
        for rate in rates if compared else ():
            decisions = [
                (own, decide_track(template, matches, calibration, index.population, rate).person)
                for template, own, matches in compared
            ]
            named = sum(person == own for own, person in decisions)
            mistaken = sum(person not in (own, None) for own, person in decisions)
            found[rate][count] = TrackRecognition(rate, count, len(compared), named, mistaken)
    return found


def _compared(
    gallery: Gallery, index: SearchedPeople, network: str, count: int
) -> Iterator[tuple[TrackTemplate, str, list[Match]]]:
    """Tracks, whose they are, and the people closest to them; one's own as similar as without these photos."""
    for person, photos in people_with_more_photos(gallery, index, count):
        chosen = evenly(photos, count)
        rest = np.sum([photo.embedding for photo in photos], axis=0) - np.sum([p.embedding for p in chosen], axis=0)
        template = fuse_views([_view(photo, network) for photo in chosen])
        (matches,) = index.candidates(template.vector[np.newaxis], CANDIDATES)
        similarity = float(fuse(rest[np.newaxis])[0] @ template.vector)
        yield template, person, own_replaced(matches, person, similarity, len(photos) - count)


def _view(photo: PhotoTemplate, network: str) -> View:
    return View(photo.embedding, photo.quality, photo.native_px, network)
