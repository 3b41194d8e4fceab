"""A photo is tried before it is enrolled: would the cameras recognise by it whom they see now?"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lrface.enrolment.portraits import cut_portrait
from lrface.errors import EnrolmentError
from lrface.gallery import Match
from lrface.serve.trackrecords import StoredTrack
from lrface.tracks.decision import TrackDecision, decide_track
from lrface.types import FloatArray

if TYPE_CHECKING:
    from lrface.serve.service import Service

LATELY_S = 600.0
"""Tracks are compared that were in view in so many seconds before."""

_MOST_TRACKS = 200


@dataclass(frozen=True, slots=True)
class Compared:
    """Somebody who was in view lately, compared with the photo.

    Attributes:
        track: As it is kept.
        decision: What it would be if the photo were enrolled, and nobody else were like the track.
    """

    track: StoredTrack
    decision: TrackDecision

    @property
    def recognised(self) -> bool:
        """Whether the track would have the name of the photo's person."""
        return self.decision.person is not None


@dataclass(frozen=True, slots=True)
class Trial:
    """What a photo would be good for.

    Attributes:
        refused: Why no face of it can be enrolled; empty if one can.
        compared: Who was in view lately, the likeliest to be the photo's person first.
    """

    refused: str
    compared: tuple[Compared, ...]


def try_photo(service: Service, photo: bytes) -> Trial:
    """Compares a photo with those who were in view lately, as if it were enrolled as the only one of a new person.

    Only tracks with a kept template are compared: those of strangers are not where the service keeps none of them.

    Raises:
        ImageError: The picture cannot be used.
    """
    matcher = service.matcher
    try:
        portrait = cut_portrait(photo, "", matcher.detector)
    except EnrolmentError as error:
        return Trial(str(error), ())
    vector: FloatArray = matcher.networks.enrolment.embed(portrait.crop[np.newaxis])[0]
    population = matcher.gallery.search_index().population
    population = replace(population, size=population.size + 1)
    found = []
    for track in service.store.tracks(since=time.time() - LATELY_S, limit=_MOST_TRACKS):
        template = service.store.template(track.id)
        if template is not None:
            match = Match("this photo", float(template.vector @ vector), 1, "this photo")
            decision = decide_track(template, [match], matcher.calibration, population, matcher.fpir)
            found.append(Compared(track, decision))
    found.sort(key=lambda each: -_margin(each.decision))
    return Trial("", tuple(found))


def _margin(decision: TrackDecision) -> float:
    return (decision.similarity or 0.0) - (decision.threshold or 0.0)
