"""How many faces and tracks of the enrolled people are expected to stay unknown, by how wide they are in the picture.

A calibration tells how similar other people's small views were to their own templates; the thresholds are those of this
gallery. So it is an estimate: for faces as poor as those that were measured, and for people who are recognised as well
as those. A camera that sees people better names more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lrface.decisions.calibration import Calibration, Population
from lrface.decisions.curves import NEVER, ImpostorCurve
from lrface.decisions.rates import fmr_for
from lrface.decisions.tracks import track_band
from lrface.models.manifest import EmbedderEntry
from lrface.models.serving import WidthRange, level_for

WIDTHS = (12.0, 16.0, 24.0, 32.0, 48.0)
"""In pixels; by them a user learns what a threshold costs."""

TRACK_VIEWS = (4, 8)
"""Of tracks: pictures as unlike as photos of one person are; frames in one pose count little more than one of them."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The people whom a face may show.

    Attributes:
        population: What the thresholds need to know of them.
        photos: How many people are enrolled with each number of photos.
    """

    population: Population
    photos: Mapping[int, int]


def networks_at(
    widths: Sequence[float], ranges: Sequence[WidthRange], entries: Mapping[int, EmbedderEntry]
) -> dict[float, str]:
    """The networks that embed faces of some widths; widths that none embeds are left out.

    Args:
        widths: In pixels.
        ranges: Those of a set of networks.
        entries: The manifest's embedders, by level.
    """
    levels = {width: level_for(width, ranges) for width in widths}
    return {width: entries[level].name for width, level in levels.items() if level is not None}


def expected_missed(
    calibration: Calibration, enrolled: Enrolled, networks: Mapping[float, str], rates: Sequence[float]
) -> dict[float, dict[float, float]]:
    """The share of single faces of enrolled people that is expected to have no name.

    Args:
        calibration: Of the models in use.
        enrolled: The people; groups with rates of their own are taken for the rest.
        networks: The network that embeds faces of each width, by width in pixels.
        rates: Shares of strangers that may be named.

    Returns:
        By rate and width: 0..1. Empty of what the calibration does not tell, as that of your own network may not, and
        for nobody.

    Raises:
        ArgumentError: A rate is out of range.
        CalibrationError: There is no curve for a network.
    """
    found: dict[float, dict[float, float]] = {}
    for rate in rates:
        fmr = fmr_for(rate, enrolled.population.size)
        shares = {
            width: _missed(calibration, enrolled, calibration.band(network, width).curve, fmr)
            for width, network in networks.items()
        }
        found[rate] = {width: share for width, share in shares.items() if share is not None}
    return found


def expected_tracks_missed(
    calibration: Calibration,
    enrolled: Enrolled,
    networks: Mapping[float, str],
    rates: Sequence[float],
) -> dict[float, dict[int, dict[float, float]]]:
    """The share of tracks of enrolled people that is expected to have no name, by how many views they have.

    Args:
        calibration: Of the models in use.
        enrolled: The people; groups with rates of their own are taken for the rest.
        networks: The network that embeds faces of each width, by width in pixels.
        rates: Shares of strangers' tracks that may be named.

    Returns:
        By rate, views (`TRACK_VIEWS`) and width: 0..1. Empty of what the calibration does not tell, and for nobody.

    Raises:
        ArgumentError: A rate is out of range.
    """
    found: dict[float, dict[int, dict[float, float]]] = {}
    for rate in rates:
        found[rate] = {}
        for count in TRACK_VIEWS:
            shares = {}
            for width, network in networks.items():
                band = track_band(calibration.tracks, network, width) if calibration.tracks.get(network) else None
                if band is None or count not in band.drawn:
                    continue
                fmr = fmr_for(rate, enrolled.population.size) / band.repeats
                share = _missed(calibration, enrolled, partial(band.curve, band.drawn[count]), fmr)
                if share is not None:
                    shares[width] = share
            if shares:
                found[rate][count] = shares
    return found


def _missed(
    calibration: Calibration, enrolled: Enrolled, curve: Callable[[int], ImpostorCurve], fmr: float
) -> float | None:
    """The share that does not reach the threshold of a false-match rate; None where that was not measured.

    Args:
        calibration: Of the models in use.
        enrolled: The people.
        curve: By the photos behind a template.
        fmr: Of each comparison.
    """
    # Where the own people resemble each other less than the cohort, thresholds are lower; that they are also less like
    # themselves is not known, so nothing is gained by it here.
    lost, people = max(0.0, calibration.shift(enrolled.population)), sum(enrolled.photos.values())
    total = 0.0
    for photos, count in enrolled.photos.items():
        share = curve(photos).missed(min(NEVER, curve(photos).threshold(fmr) + lost))
        if share is None:
            return None
        total += share * count
    return total / people if people else None
