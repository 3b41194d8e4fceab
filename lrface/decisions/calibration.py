"""Thresholds: which similarity is enough, for two levels, a person's photos, a gallery and a false-positive rate.

How often strangers reach a similarity was measured on people of no other use (`python -m training calibrate`) and ships
as score statistics: for each pair of levels and each number of photos a curve, false-match rate (FMR) against
similarity. The mean of several photos draws both the person and strangers closer, so each count has its own curve.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrface.decisions.curves import ImpostorCurve, read_curve, within
from lrface.decisions.rates import fmr_for
from lrface.errors import CalibrationError

if TYPE_CHECKING:
    from lrface.models.manifest import Manifest

SCHEMA = 2
_FIX = "restore calibration.json, or make one for these models with `python -m training calibrate`"

OWN_PEOPLE = 20
"""With so many people at a level, a gallery's own impostor scores count (the mean of fewer strays too far)."""

MAX_SHIFT, MIN_SHIFT = 1.0, -0.1
"""Bounds of the shift of all thresholds by a gallery's own people: caution may cost everything, trust only little."""


@dataclass(frozen=True, slots=True)
class Population:
    """What the thresholds need to know of the enrolled people.

    Attributes:
        size: How many there are.
        people: By level, those who have templates of that level.
        impostor_mean: By level, the mean similarity of photos of different people; each pair of people counts once.
    """

    size: int
    people: Mapping[int, int]
    impostor_mean: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The impostor curves of a set of models.

    Attributes:
        space: The embedding space they were measured in.
        models: SHA-256 by model name.
        people: How many people the cohort had.
        gallery_level: Probe level -> the level of the templates to compare it with.
        curves: By (probe level, gallery level), then by photos a template, rising.
        impostor_mean: By gallery level, the mean similarity of two photos of different people of the cohort.
        min_quality: By level, the quality below which a face is too poor to decide; empty for models without quality.
    """

    space: str
    models: dict[str, str]
    people: int
    gallery_level: dict[int, int]
    curves: dict[tuple[int, int], dict[int, ImpostorCurve]]
    impostor_mean: dict[int, float]
    min_quality: dict[int, float]

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Reads `calibration.json`.

        Raises:
            CalibrationError: Missing, not JSON, of another schema, or a curve that is not monotone.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise CalibrationError(f"no thresholds at {path} ({error.strerror or error}): {_FIX}") from error
        except ValueError as error:
            raise CalibrationError(f"{path} is not JSON ({error}): {_FIX}") from error
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise CalibrationError(f"{path} is not a calibration of schema {SCHEMA}: update lrface, or {_FIX}")
        try:
            curves: dict[tuple[int, int], dict[int, ImpostorCurve]] = {}
            for item in sorted(data["impostor"], key=lambda item: int(item["photos"])):
                levels = int(item["probe_level"]), int(item["gallery_level"])
                curves.setdefault(levels, {})[int(item["photos"])] = read_curve(item)
            return cls(
                str(data["space"]),
                {str(name): str(sha256) for name, sha256 in data["models"].items()},
                int(data["people"]),
                {int(probe): int(gallery) for probe, gallery in data["gallery_level"].items()},
                curves,
                {int(level): within(mean, -1.0, 1.0) for level, mean in data["impostor_mean"].items()},
                {int(level): within(quality, 0.0, 1.0) for level, quality in data["min_quality"].items()},
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise CalibrationError(f"{path} is malformed ({error!r}): {_FIX}") from error

    @classmethod
    def of(cls, manifest: Manifest) -> Calibration:
        """The thresholds that belong to the models of a manifest.

        Raises:
            CalibrationError: Missing, malformed, or of other models.
        """
        calibration = cls.load(manifest.folder / "calibration.json")
        calibration.check(manifest)
        return calibration

    def check(self, manifest: Manifest) -> None:
        """Refuses models that these curves were not measured with.

        Raises:
            CalibrationError: Another space, another SHA-256, or no curve for a pair of levels.
        """
        for level, entry in manifest.embedders.items():
            if entry.space != self.space or self.models.get(entry.name, "").lower() != entry.sha256.lower():
                raise CalibrationError(f"the thresholds in {manifest.folder} are not those of {entry.name}: {_FIX}")
            self.compare_at(level)
            for other in manifest.embedders:  # somebody enrolled from small photos has smaller templates only
                self.curve(level, other, 1)

    def compare_at(self, probe_level: int) -> int:
        """The level of the templates that a probe of this level is compared with.

        Raises:
            CalibrationError: The calibration does not know the level.
        """
        if probe_level not in self.gallery_level:
            raise CalibrationError(f"there is no threshold for faces at level {probe_level}: {_FIX}")
        return self.gallery_level[probe_level]

    def curve(self, probe_level: int, gallery_level: int, photos: int) -> ImpostorCurve:
        """The curve of a pair of levels and of a template made of so many photos, or of the next larger count measured.

        Raises:
            CalibrationError: The pair was not measured.
        """
        by_photos = self.curves.get((probe_level, gallery_level))
        if by_photos is None:
            raise CalibrationError(f"there is no threshold for level {probe_level} against {gallery_level}: {_FIX}")
        return by_photos[next((count for count in by_photos if count >= photos), max(by_photos))]

    def shift(self, gallery_level: int, population: Population) -> float:
        """By how much the enrolled people resemble each other more than the cohort did (in similarity, either sign).

        Photos of one camera, one age or one origin are closer to each other, and strangers who pass that camera are
        closer to them: every threshold is moved by the difference of the means, within `MIN_SHIFT` and `MAX_SHIFT`.
        0 below `OWN_PEOPLE` people.

        Raises:
            CalibrationError: The people's mean similarity is not one, -1..1: a template is damaged.
        """
        if population.people.get(gallery_level, 0) < OWN_PEOPLE or gallery_level not in self.impostor_mean:
            return 0.0
        mean = population.impostor_mean[gallery_level]
        if not -1.0 <= mean <= 1.0:  # also a nan
            raise CalibrationError(
                f"the enrolled people's mean similarity is {mean:g}, outside of -1 to 1: find the damaged template "
                "with `lrface gallery verify`"
            )
        return min(MAX_SHIFT, max(MIN_SHIFT, mean - self.impostor_mean[gallery_level]))

    def false_match(
        self, similarity: float, probe_level: int, gallery_level: int, photos: int, population: Population
    ) -> float:
        """The share of strangers, 0..1, who look at least so similar to a person enrolled with so many photos.

        Raises:
            CalibrationError: No curve for the levels.
        """
        moved = similarity - self.shift(gallery_level, population)
        return self.curve(probe_level, gallery_level, photos).fmr(moved)

    def threshold(
        self, probe_level: int, gallery_level: int, photos: int, population: Population, fpir: float
    ) -> float:
        """The similarity from which a candidate is named.

        A stranger is compared with everybody, so for a false-positive identification rate over N people each comparison
        may err with FMR = 1 - (1 - FPIR)^(1/N) (independent comparisons).

        Args:
            probe_level: Of the face.
            gallery_level: Of the template.
            photos: Behind the template.
            population: The enrolled people.
            fpir: Share of strangers that may be named, above 0 and below 1.

        Returns:
            A cosine; above 1 where the rate cannot be promised for so many people (then nobody is named).

        Raises:
            CalibrationError: No curve for the levels, or a rate out of range.
        """
        curve = self.curve(probe_level, gallery_level, photos)
        return curve.threshold(fmr_for(fpir, population.size)) + self.shift(gallery_level, population)

    def basis(self, probe_level: int, gallery_level: int, photos: int, population: Population, fpir: float) -> str:
        """Where a threshold came from, in words."""
        moved = self.shift(gallery_level, population)
        own = f", moved by {moved:+.3f} by the enrolled people's own likeness" if moved else ""
        return (
            f"at most {fpir:g} of strangers named among {population.size} people, level {probe_level} against "
            f"{gallery_level}, {photos} photo{'s' * (photos != 1)}, by a cohort of {self.people} people{own}"
        )
