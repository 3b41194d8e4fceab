"""Thresholds: which similarity is enough, for a face, a person's photos, a gallery and a false-positive rate.

How often strangers reach a similarity was measured on people of no other use (`python -m training calibrate`) and ships
as score statistics: for each network and band of native widths, and each number of photos behind a template, a curve,
false-match rate (FMR) against similarity. Small faces look more alike, so each band has its own; the mean of several
photos draws both the person and strangers closer, so each count has its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from lrface.decisions.curves import NEVER, CurveRecord, ImpostorCurve
from lrface.decisions.rates import fmr_for
from lrface.decisions.tracks import TrackBand, TrackBandRecord, track_bands
from lrface.embedding.quality import AlignmentPenalty
from lrface.errors import CalibrationError
from lrface.models.manifest import CALIBRATION, Manifest, Share, Width
from lrface.models.safe_files import read_json
from lrface.types import ThresholdBasis

SCHEMA = 3
_FIX = "restore calibration.json, or make one for these models with `python -m training calibrate`"

OWN_PEOPLE = 20
"""From so many people on, a gallery's own impostor scores count; the mean of fewer people varies too much."""

MAX_SHIFT, MIN_SHIFT = 1.0, -0.1
"""Bounds of the shift of all thresholds by a gallery's own people: they may rise a lot, but fall only a little."""


@dataclass(frozen=True, slots=True)
class Population:
    """What the thresholds need to know of the enrolled people.

    Attributes:
        size: How many there are.
        impostor_mean: Mean similarity of photos of different people, each pair of people counted once; None for fewer
            than two people.
    """

    size: int
    impostor_mean: float | None = None


@dataclass(frozen=True, slots=True)
class WidthBand:
    """Faces of similar width, as one network sees them.

    Attributes:
        low: Native width in pixels, inclusive.
        high: Exclusive.
        min_quality: The quality below which a face is too poor to decide; 0 for a network without quality.
        curves: By photos behind a template, rising.
    """

    low: float
    high: float
    min_quality: float
    curves: Mapping[int, ImpostorCurve]

    def curve(self, photos: int) -> ImpostorCurve:
        """The curve for a template of so many photos, or of the next larger count measured."""
        return self.curves[next((count for count in self.curves if count >= photos), max(self.curves))]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The impostor curves of a set of models.

    Attributes:
        space: The embedding space they were measured in.
        models: SHA-256 by model name.
        enrolment: The network that made the templates.
        people: How many people the cohort had.
        impostor_mean: Mean similarity of two photos of different people of the cohort, by the enrolment network.
        alignment_penalty: What a poor alignment costs of a face's quality.
        bands: By network, rising.
        tracks: Those of tracks, by network, rising; empty in a calibration without them.
    """

    space: str
    models: dict[str, str]
    enrolment: str
    people: int
    impostor_mean: float
    alignment_penalty: AlignmentPenalty
    bands: Mapping[str, tuple[WidthBand, ...]]
    tracks: Mapping[str, tuple[TrackBand, ...]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path, sha256: str | None = None) -> Calibration:
        """Reads `calibration.json`.

        Args:
            path: The file.
            sha256: That it must have, hexadecimal; None: any.

        Raises:
            CalibrationError: Missing, altered, not JSON, of another schema, or with values out of range.
        """
        try:
            data = read_json(Path(path), sha256)
        except OSError as error:
            raise CalibrationError(f"no thresholds at {path} ({error.strerror or error}): {_FIX}") from error
        except ValueError as error:
            raise CalibrationError(f"{path} cannot be used ({error}): {_FIX}") from error
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise CalibrationError(f"{path} is not a calibration of schema {SCHEMA}: update lrface, or {_FIX}")
        try:
            record = msgspec.convert(data, _Record)
            bands, tracks = _bands(record.probes), track_bands(record.tracks)
        except ValueError as error:
            raise CalibrationError(f"{path} is malformed ({error}): {_FIX}") from error
        return cls(
            record.space,
            record.models,
            record.enrolment,
            record.people,
            record.impostor_mean,
            AlignmentPenalty(record.alignment_penalty.usual_error, record.alignment_penalty.rate),
            bands,
            tracks,
        )

    @classmethod
    def of(cls, manifest: Manifest) -> Calibration:
        """The thresholds that belong to the models of a manifest.

        Raises:
            CalibrationError: Missing, altered, malformed, or of other models.
        """
        calibration = cls.load(manifest.folder / CALIBRATION, manifest.calibration_sha256)
        calibration.check(manifest)
        return calibration

    def check(self, manifest: Manifest) -> None:
        """Refuses models that these curves were not measured with.

        Raises:
            CalibrationError: Another space, another SHA-256, another network of enrolment, or no curve for a network.
        """
        for entry in manifest.embedders.values():
            if entry.space != self.space or self.models.get(entry.name, "").lower() != entry.sha256.lower():
                raise CalibrationError(f"the thresholds in {manifest.folder} are not those of {entry.name}: {_FIX}")
        if self.enrolment != manifest.enrolment.name:
            raise CalibrationError(
                f"the thresholds in {manifest.folder} are for templates by {self.enrolment}, not by "
                f"{manifest.enrolment.name}: {_FIX}"
            )
        used = {each.level for ranges in manifest.ranges.values() for each in ranges}
        for level in sorted(used | {manifest.enrolment.level}):
            self.band(manifest.embedders[level].name, 1.0)

    def band(self, network: str, native_px: float) -> WidthBand:
        """The band of a face; the first or the last one for a width outside of what was measured.

        Raises:
            CalibrationError: The network was not measured, or the width is not a number above 0.
        """
        bands = self.bands.get(network)
        if bands is None:
            raise CalibrationError(f"there is no threshold for faces that {network} embeds: {_FIX}")
        if not native_px > 0:
            raise CalibrationError(f"a face cannot be {native_px} px wide: its landmarks form no face")
        return next((band for band in bands if native_px < band.high), bands[-1])

    def shift(self, population: Population) -> float:
        """By how much the enrolled people resemble each other more than the cohort did (in similarity, either sign).

        Photos of one camera, one age or one origin are closer to each other, and strangers who pass that camera are
        closer to them: every threshold is moved by the difference of the means, within `MIN_SHIFT` and `MAX_SHIFT`.
        0 below `OWN_PEOPLE` people.

        Raises:
            CalibrationError: The people's mean similarity is not one, -1..1: a template is damaged.
        """
        if population.size < OWN_PEOPLE or population.impostor_mean is None:
            return 0.0
        mean = population.impostor_mean
        if not -1.0 <= mean <= 1.0:  # also a nan
            raise CalibrationError(
                f"the enrolled people's mean similarity is {mean:g}, outside of -1 to 1: find the damaged template "
                "with `lrface gallery verify`"
            )
        return min(MAX_SHIFT, max(MIN_SHIFT, mean - self.impostor_mean))

    def log_false_match_rate(
        self, similarity: float, network: str, native_px: float, photos: int, population: Population
    ) -> float:
        """log10 of the share of strangers who look at least so similar to a person enrolled with so many photos.

        Args:
            similarity: A cosine.
            network: That embedded the face.
            native_px: Width of the face.
            photos: Behind the template.
            population: The enrolled people.

        Returns:
            0 at most, -inf where nobody looks so similar.

        Raises:
            CalibrationError: No curve for the network, or the population is damaged.
        """
        return self.band(network, native_px).curve(photos).log_fmr_at(similarity - self.shift(population))

    def false_match_rate(
        self, similarity: float, network: str, native_px: float, photos: int, population: Population
    ) -> float:
        """The share of strangers, 0..1; see `log_false_match_rate`."""
        return float(10.0 ** self.log_false_match_rate(similarity, network, native_px, photos, population))

    def threshold(
        self, network: str, native_px: float, photos: int, population: Population, fpir: float, among: int | None = None
    ) -> float:
        """The similarity from which a candidate is named.

        A stranger is compared with everybody, so for a false-positive identification rate over N people each comparison
        may err with FMR = 1 - (1 - FPIR)^(1/N) (independent comparisons).

        Args:
            network: That embedded the face.
            native_px: Width of the face.
            photos: Behind the template.
            population: The enrolled people.
            fpir: Share of strangers that may be named, above 0 and below 1.
            among: As how many people together, for a group with a rate of its own; None for all enrolled people.

        Returns:
            A cosine, at most 2 (`NEVER`); above 1 where the rate cannot be promised for so many people (then nobody is
            named).

        Raises:
            ArgumentError: The rate is out of range.
            CalibrationError: No curve for the network, or the population is damaged.
        """
        curve = self.band(network, native_px).curve(photos)
        return min(
            NEVER, curve.threshold(fmr_for(fpir, population.size if among is None else among)) + self.shift(population)
        )

    def basis(
        self, network: str, native_px: float, photos: int, population: Population, fpir: float, among: int | None = None
    ) -> ThresholdBasis:
        """Where a threshold came from; the arguments are those of `threshold`."""
        band = self.band(network, native_px)
        moved = self.shift(population)
        people = population.size if among is None else among
        return ThresholdBasis(fpir, people, band.low, band.high, network, photos, self.people, moved)


class _PenaltyRecord(msgspec.Struct, frozen=True):
    usual_error: Share
    rate: Annotated[float, Meta(ge=0, le=100)]


class _BandRecord(msgspec.Struct, frozen=True):
    network: str
    widths: tuple[Width, Width | None]
    curves: Annotated[list[CurveRecord], Meta(min_length=1)]
    min_quality: Share | None = None


class _Record(msgspec.Struct, frozen=True):
    """`calibration.json`."""

    space: str
    models: dict[str, str]
    enrolment: str
    people: Annotated[int, Meta(ge=0, le=10**9)]
    impostor_mean: Annotated[float, Meta(ge=-1, le=1)]
    alignment_penalty: _PenaltyRecord
    probes: list[_BandRecord]
    tracks: list[TrackBandRecord] = []


def _bands(records: list[_BandRecord]) -> dict[str, tuple[WidthBand, ...]]:
    bands: dict[str, list[WidthBand]] = {}
    for record in sorted(records, key=lambda record: record.widths[0]):
        low, high = record.widths
        curves = {each.photos: each.curve() for each in sorted(record.curves, key=lambda each: each.photos)}
        band = WidthBand(low, math.inf if high is None else high, record.min_quality or 0.0, curves)
        bands.setdefault(record.network, []).append(band)
    for own in bands.values():
        ends = [(a.high, b.low) for a, b in itertools.pairwise(own)]
        if any(high != low for high, low in ends) or not own[-1].low < own[-1].high:
            raise ValueError("the bands of a network overlap, or leave widths out")
    return {network: tuple(own) for network, own in bands.items()}
