"""Thresholds: which similarity is enough, for a level, a gallery's size and a false-positive rate."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrface.errors import CalibrationError

if TYPE_CHECKING:
    from lrface.models import Manifest

SCHEMA = 1
_MEND = "restore calibration.json, or make one for these models with `python -m training calibrate`"


@dataclass(frozen=True, slots=True)
class ImpostorCurve:
    """How often two different people reach a similarity, measured.

    Attributes:
        comparisons: Impostor comparisons behind the curve.
        log_fmr: log10 of the false-match rate, rising.
        similarity: The threshold of each rate, falling.
    """

    comparisons: int
    log_fmr: tuple[float, ...]
    similarity: tuple[float, ...]

    def threshold(self, fmr: float) -> float:
        """The similarity that a share `fmr` of impostor comparisons reaches.

        Linear in log10(fmr); beyond either end of the measured curve the line through its last decade is prolonged.
        """
        x, xs, ys = math.log10(fmr), self.log_fmr, self.similarity
        if xs[0] <= x <= xs[-1]:
            return float(np.interp(x, xs, ys))
        end, step = (0, 1) if x < xs[0] else (len(xs) - 1, -1)
        inner = end + step
        while abs(xs[inner] - xs[end]) < 1.0 and 0 < inner < len(xs) - 1:
            inner += step
        slope = (ys[inner] - ys[end]) / (xs[inner] - xs[end])
        return ys[end] + slope * (x - xs[end])


@dataclass(frozen=True, slots=True)
class Calibration:
    """The impostor curves of a set of models.

    Attributes:
        space: The embedding space they were measured in.
        models: SHA-256 by model name.
        gallery_level: Probe level -> the level of the templates to compare it with.
        curves: By (probe level, gallery level).
    """

    space: str
    models: dict[str, str]
    gallery_level: dict[int, int]
    curves: dict[tuple[int, int], ImpostorCurve]

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Reads `calibration.json`.

        Raises:
            CalibrationError: Missing, not JSON, of another schema, or a curve that is not monotone.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise CalibrationError(f"no thresholds at {path} ({error.strerror or error}): {_MEND}") from error
        except ValueError as error:
            raise CalibrationError(f"{path} is not JSON ({error}): {_MEND}") from error
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise CalibrationError(f"{path} is not a calibration of schema {SCHEMA}: update lrface, or {_MEND}")
        try:
            curves = {
                (int(item["probe_level"]), int(item["gallery_level"])): _curve(
                    int(item["comparisons"]), item["fmr"], item["similarity"]
                )
                for item in data["impostor"]
            }
            levels = {int(probe): int(gallery) for probe, gallery in data["gallery_level"].items()}
            models = {str(name): str(sha256) for name, sha256 in data["models"].items()}
            return cls(str(data["space"]), models, levels, curves)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CalibrationError(f"{path} is malformed ({error!r}): {_MEND}") from error

    def check(self, manifest: Manifest) -> None:
        """Refuses models that these curves were not measured with.

        Raises:
            CalibrationError: Another space, another SHA-256, or no curve for a pair of levels.
        """
        for level, entry in manifest.embedders.items():
            if entry.space != self.space or self.models.get(entry.name, "").lower() != entry.sha256.lower():
                raise CalibrationError(f"the thresholds in {manifest.folder} are not those of {entry.name}: {_MEND}")
            self.compare_at(level)
            for other in manifest.embedders:  # somebody enrolled from small photos has smaller templates only
                self.curve(level, other)

    def compare_at(self, probe_level: int) -> int:
        """The level of the templates that a probe of this level is compared with.

        Raises:
            CalibrationError: The calibration does not know the level.
        """
        if probe_level not in self.gallery_level:
            raise CalibrationError(f"there is no threshold for faces at level {probe_level}: {_MEND}")
        return self.gallery_level[probe_level]

    def curve(self, probe_level: int, gallery_level: int) -> ImpostorCurve:
        """The curve of a pair of levels.

        Raises:
            CalibrationError: It was not measured.
        """
        if (probe_level, gallery_level) not in self.curves:
            raise CalibrationError(f"there is no threshold for level {probe_level} against {gallery_level}: {_MEND}")
        return self.curves[probe_level, gallery_level]

    def threshold(self, probe_level: int, gallery_level: int, gallery_size: int, fpir: float) -> float:
        """The similarity from which a candidate is named.

        A stranger is compared with everybody, so for a false-positive identification rate over N people each comparison
        may err with FMR = 1 - (1 - FPIR)^(1/N) (independent comparisons).

        Args:
            probe_level: Of the face.
            gallery_level: Of the template.
            gallery_size: N, enrolled people, at least 1.
            fpir: Share of strangers that may be named, above 0 and below 1.

        Returns:
            A cosine; above 1 where the rate cannot be promised for so many people (then nobody is named).

        Raises:
            CalibrationError: No curve for the levels, or a rate out of range.
        """
        check_fpir(fpir)
        fmr = -math.expm1(math.log1p(-fpir) / max(1, gallery_size))
        return self.curve(probe_level, gallery_level).threshold(fmr)


def check_fpir(fpir: float) -> None:
    """Refuses a false-positive identification rate out of range.

    Raises:
        CalibrationError: It is not above 0 and below 1.
    """
    if not 0.0 < fpir < 1.0:
        raise CalibrationError(f"fpir is {fpir}: give a share above 0 and below 1, 0.01 for one stranger in a hundred")


def _curve(comparisons: int, fmr: list[float], similarity: list[float]) -> ImpostorCurve:
    if len(fmr) != len(similarity) or len(fmr) < 2:
        raise ValueError("a curve needs two points or more, and a similarity for each rate")
    rates, values = np.asarray(fmr, np.float64), np.asarray(similarity, np.float64)
    falling = bool((np.diff(rates) < 0).all()) and rates[-1] > 0.0 and rates[0] <= 1.0
    if not falling or not (np.diff(values) >= 0).all() or not np.isfinite(values).all():
        raise ValueError("fmr must fall and similarity rise")
    logs = np.log10(rates)[::-1]
    return ImpostorCurve(comparisons, tuple(map(float, logs)), tuple(map(float, values[::-1])))
