"""How many faces of the enrolled people are expected to stay unknown, by how wide they are in the picture.

A calibration tells how similar other people's small views were to their own templates; the thresholds are those of this
gallery. So it is an estimate: for single faces, as poor as those that were measured, and for people who are recognised
as well as those. A camera that sees people better, or for several seconds, names more of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lrface.decisions.calibration import Calibration, Population
from lrface.models.manifest import EmbedderEntry
from lrface.models.serving import WidthRange, level_for

WIDTHS = (12.0, 16.0, 24.0, 32.0, 48.0)
"""In pixels; by them a user learns what a threshold costs."""


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
    population, people = enrolled.population, sum(enrolled.photos.values())
    # Where the own people resemble each other less than the cohort, thresholds are lower; that they are also less like
    # themselves is not known, so nothing is gained by it here.
    gained = min(0.0, calibration.shift(population))
    found: dict[float, dict[float, float]] = {}
    for rate in rates:
        found[rate] = {}
        for width, network in networks.items():
            band = calibration.band(network, width)
            shares = [
                (band.curve(photos).missed(calibration.threshold(network, width, photos, population, rate) - gained), n)
                for photos, n in enrolled.photos.items()
            ]
            known = [(share, n) for share, n in shares if share is not None]
            if people and len(known) == len(shares):
                found[rate][width] = sum(share * n for share, n in known) / people
    return found
