"""Who a track is: one decision from its template, unknown until the evidence suffices."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from lrface.decisions.calibration import Calibration, Population
from lrface.decisions.curves import NEVER, ImpostorCurve
from lrface.decisions.rates import fmr_for
from lrface.decisions.tracks import TrackBand, track_band
from lrface.gallery.index import Match
from lrface.tracks.template import TrackTemplate
from lrface.types import Candidate, Reason

TIE = 0.01
"""A second person this close in similarity, who would be named too, makes the decision a tie."""

CANDIDATES = 5

_USUAL_REPEATS = 5.0  # of a calibration without thresholds for tracks: more than was measured for any network


@dataclass(frozen=True, slots=True)
class TrackDecision:
    """The decision on a track.

    Attributes:
        person: UUID; None for unknown.
        name: Of the person; None for unknown.
        similarity: The likeliest candidate's; None without one.
        threshold: What it had to reach; None without one.
        reason: Why.
        candidates: The likeliest people, best first, at most five.
        basis: Where the threshold came from, in words.
        views: Effective views behind it.
        gallery_size: Enrolled people.
    """

    person: str | None
    name: str | None
    similarity: float | None
    threshold: float | None
    reason: Reason
    candidates: tuple[Candidate, ...] = ()
    basis: str = ""
    views: float = 0.0
    gallery_size: int = 0

    def unnamed(self, reason: Reason) -> TrackDecision:
        """The same without the name."""
        rest = self.candidates, self.basis, self.views, self.gallery_size
        return TrackDecision(None, None, self.similarity, self.threshold, reason, *rest)


def can_fuse(calibration: Calibration, network: str) -> bool:
    """Whether there are thresholds for tracks of several views; else a track is decided from its best view alone."""
    return bool(calibration.tracks.get(network))


def band_of(calibration: Calibration, template: TrackTemplate) -> TrackBand:
    """The thresholds for a track; without any for tracks, those of single faces for a track of one view."""
    if can_fuse(calibration, template.network):
        return track_band(calibration.tracks, template.network, template.native_px)
    single = calibration.band(template.network, template.native_px)
    return TrackBand(single.low, single.high, 0.0, _USUAL_REPEATS, {1.0: single.curves}, {})


def curve_between(calibration: Calibration, template: TrackTemplate) -> ImpostorCurve | None:
    """How often tracks like this one resemble those of other people; None where that was not measured."""
    band = band_of(calibration, template)
    return band.curve_between(template.effective_views(band.same_person))


def decide_track(
    template: TrackTemplate, matches: Sequence[Match], calibration: Calibration, population: Population, fpir: float
) -> TrackDecision:
    """Says who a track is.

    Args:
        template: Of its views.
        matches: The people closest to it, of each number of photos (`SearchIndex.candidates`).
        calibration: With thresholds for tracks.
        population: The enrolled people.
        fpir: Share of strangers' tracks that may be named, whole tracks.

    Raises:
        CalibrationError: There is no threshold for faces of this network.
    """
    band = band_of(calibration, template)
    views = template.effective_views(band.same_person)
    if not matches:
        return TrackDecision(None, None, None, None, Reason.EMPTY_GALLERY, views=views)
    shift = calibration.shift(population)
    ranked: list[tuple[float, Match]] = []
    for photos in sorted({match.photos for match in matches}):
        own = [match for match in matches if match.photos == photos]
        similarities = np.array([match.similarity - shift for match in own])
        ranked += zip(band.curve(views, photos).log_fmr_of(similarities).tolist(), own, strict=True)
    ranked.sort(key=lambda pair: (pair[0], -pair[1].similarity, pair[1].person_id))
    ranked = ranked[:CANDIDATES]

    def threshold(match: Match) -> float:
        fmr = fmr_for(*match.rate(fpir, population.size))
        return min(NEVER, band.curve(views, match.photos).threshold(fmr / band.repeats) + shift)

    best = ranked[0][1]
    reached, needed = best.similarity >= threshold(best), threshold(best)
    tied = any(
        match.similarity >= threshold(match) and best.similarity - match.similarity < TIE for _, match in ranked[1:]
    )
    reason = Reason.BELOW_THRESHOLD if not reached else Reason.TIE if tied else Reason.MATCH
    named = reason == Reason.MATCH
    return TrackDecision(
        best.person_id if named else None,
        best.name if named else None,
        best.similarity,
        needed,
        reason,
        tuple(
            Candidate(match.name, match.similarity, min(1.0, band.repeats * 10.0**log_rate), match.person_id)
            for log_rate, match in ranked
        ),
        _basis(template, band, views, best, population, fpir, calibration.people, shift),
        views,
        population.size,
    )


def one_name_each(decisions: Sequence[TrackDecision], together: Collection[tuple[int, int]]) -> list[TrackDecision]:
    """The decisions on tracks, where of two with one name that were in view together only the likelier keeps it.

    Equally likely ones both lose it: a tie is unknown.

    Args:
        decisions: On the tracks.
        together: Pairs of tracks, the smaller index first, that were seen in one frame.
    """
    found = list(decisions)
    named = [i for i, decision in enumerate(decisions) if decision.person is not None]
    ranked = sorted(named, key=lambda i: _likeness(decisions[i]))
    kept: list[int] = []
    for i in ranked:
        rivals = [
            j
            for j in ranked
            if decisions[j].person == decisions[i].person and (min(i, j), max(i, j)) in together and j != i
        ]
        beaten = any(j in kept or _likeness(decisions[j]) == _likeness(decisions[i]) for j in rivals)
        if beaten:
            found[i] = decisions[i].unnamed(Reason.TAKEN)
        else:
            kept.append(i)
    return found


def _likeness(decision: TrackDecision) -> tuple[float, float]:
    rate = decision.candidates[0].false_match_rate if decision.candidates else 1.0
    return rate, -(decision.similarity or 0.0)


def _basis(
    template: TrackTemplate,
    band: TrackBand,
    views: float,
    best: Match,
    population: Population,
    fpir: float,
    people: int,
    shift: float,
) -> str:
    widths = f"{band.low:g} px or more" if math.isinf(band.high) else f"{band.low:g} to {band.high:g} px"
    own = f", moved by {shift:+.3f} by the enrolled people's own likeness" if shift else ""
    rate, size = best.rate(fpir, population.size)
    photos = best.photos
    return (
        f"at most {rate:g} of strangers' tracks named among {size} people, {views:.1f} effective views of "
        f"{widths} by {template.network}, {photos} photo{'s' * (photos != 1)}, by a cohort of {people} people{own}"
    )
