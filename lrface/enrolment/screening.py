"""Photos that would hurt a gallery: too poor, somebody else's face, or one that looks like everybody."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrface.decisions.calibration import Calibration
from lrface.gallery.index import Projection
from lrface.types import FloatArray, one_in

SAME_FACE = 1e-3
"""Another person's template is too close if so few strangers would come so close to anybody enrolled."""

ATTRACTED, ATTRACTED_FMR, ATTRACTED_PEOPLE = 0.10, 0.01, 30
"""A photo attracts impostors if it reaches the 1 %-threshold of over a tenth of the people, and there are enough."""


class Screen:
    """The enrolled people, to compare a new photo with; those who are enrolled meanwhile are added by `add`.

    Args:
        projection: The gallery's people.
        calibration: What similarities mean.
    """

    def __init__(self, projection: Projection, calibration: Calibration) -> None:
        self._calibration, self._population = calibration, projection.population
        self._names: dict[int, list[str]] = {}
        self._vectors: dict[int, FloatArray] = {}
        self._photos: dict[int, NDArray[np.int64]] = {}
        for level in projection.levels:
            self._names[level], self._vectors[level], self._photos[level] = projection.templates(level)

    def objection(self, name: str, level: int, vector: FloatArray, quality: float | None) -> str | None:
        """Why a photo should not be enrolled, with the mend; None if nothing speaks against it.

        Args:
            name: Of the person it is said to show.
            level: The level of the face's own size.
            vector: float32 [dim], its embedding there.
            quality: The network's estimate, 0..1.
        """
        least = self._calibration.min_quality.get(level, 0.0)
        if quality is not None and quality < least:
            return (
                f"the face is too poor to be recognised by (quality {quality:.2f}, at least {least:.2f} is needed): "
                "use a sharper, better lit photo from the front"
            )
        names, photos = self._names[level], self._photos[level]
        similarities = self._vectors[level] @ vector
        mine = [i for i, other in enumerate(names) if other == name]
        others = np.array([other != name for other in names], bool)
        if not others.any():
            return None
        size = max(len(names), self._population.size)
        alike = np.where(others, similarities - self._thresholds(level, photos, SAME_FACE / size), -np.inf)
        closest = int(alike.argmax())
        if alike[closest] >= 0 and not (mine and similarities[mine[0]] >= similarities[closest]):
            share = self._calibration.false_match(
                float(similarities[closest]), level, level, int(photos[closest]), self._population
            )
            return (
                f"it looks like {names[closest]} (similarity {similarities[closest]:.2f}, {one_in(share)} does): enrol "
                "it under that name, or with --force if they are two people"
            )
        drawn = int(np.count_nonzero(others & (similarities >= self._thresholds(level, photos, ATTRACTED_FMR))))
        if others.sum() >= ATTRACTED_PEOPLE and drawn > ATTRACTED * others.sum():
            return (
                f"it looks like {drawn} of the {others.sum()} people enrolled, so strangers would be taken for {name}: "
                "use another photo, or --force"
            )
        return None

    def add(self, name: str, vectors: dict[int, list[FloatArray]]) -> None:
        """Takes a person's new photos into account, by level; somebody who is there already stays as he is."""
        for level, photos in vectors.items():
            if photos and name not in self._names[level]:
                mean = np.mean(photos, axis=0)
                self._names[level].append(name)
                self._vectors[level] = np.vstack([self._vectors[level], mean / np.linalg.norm(mean)])
                self._photos[level] = np.append(self._photos[level], len(photos))

    def _thresholds(self, level: int, photos: NDArray[np.int64], fmr: float) -> FloatArray:
        """The similarity that a share `fmr` of strangers reaches, for each template."""
        out = np.zeros(len(photos), np.float32)
        for count in np.unique(photos).tolist():
            threshold = self._calibration.curve(level, level, count).threshold(fmr)
            out[photos == count] = threshold + self._calibration.shift(level, self._population)
        return out
