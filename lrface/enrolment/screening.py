"""Photos that would hurt a gallery: too poor, somebody else's face, or one that looks like everybody."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lrface.decisions.calibration import Calibration
from lrface.gallery.index import Projection
from lrface.types import FloatArray, one_in

SAME_FACE = 1e-3
"""Another person's template is too close if so few strangers would come so close to anybody enrolled."""

HUBNESS, HUBNESS_FMR, HUBNESS_PEOPLE = 0.10, 0.01, 30
"""A photo is a hub if it reaches the 1 % threshold of over a tenth of the people, and there are enough of them."""


class EnrolmentGate:
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

    def rejection_reason(self, name: str, vectors: Mapping[int, FloatArray], quality: float | None) -> str | None:
        """Why a photo should not be enrolled, with the fix; None if nothing speaks against it.

        Args:
            name: Of the person it is said to show.
            vectors: Its embeddings float32 [dim] by level, of the face's own level and all smaller ones: people who
                were enrolled from small photos have templates at small levels only.
            quality: The network's estimate at the face's own level, 0..1.
        """
        own = max(vectors)
        least = self._calibration.min_quality.get(own, 0.0)
        if quality is not None and quality < least:
            return (
                f"the face is too poor to be recognised by (quality {quality:.2f}, at least {least:.2f} is needed): "
                "use a sharper, better lit photo from the front"
            )
        return self._too_close(name, vectors) or self._too_many(name, own, vectors[own])

    def _too_close(self, name: str, vectors: Mapping[int, FloatArray]) -> str | None:
        """The person whose face it seems to be, each compared at the largest level that both have."""
        size = max(len(set().union(*self._names.values())), self._population.size)
        compared: set[str] = set()
        worst, reason = 0.0, None
        for level in sorted(vectors, reverse=True):
            names, photos = self._names[level], self._photos[level]
            others = np.array([other != name and other not in compared for other in names], bool)
            compared.update(names)
            if not others.any():
                continue
            similarities = self._vectors[level] @ vectors[level]
            margins = np.where(others, similarities - self._thresholds(level, photos, SAME_FACE / size), -np.inf)
            closest = int(margins.argmax())
            known = name in names and similarities[names.index(name)] >= similarities[closest]
            if known or margins[closest] < worst:
                continue
            worst, similarity = float(margins[closest]), float(similarities[closest])
            share = self._calibration.false_match(similarity, level, level, int(photos[closest]), self._population)
            reason = (
                f"it looks like {names[closest]} (similarity {similarity:.2f}, {one_in(share)} does): enrol it under "
                "that name, or with --force if they are two people"
            )
        return reason

    def _too_many(self, name: str, level: int, vector: FloatArray) -> str | None:
        """Whether it resembles many people: a hub, to which strangers would be drawn."""
        others = np.array([other != name for other in self._names[level]], bool)
        near = self._vectors[level] @ vector >= self._thresholds(level, self._photos[level], HUBNESS_FMR)
        drawn = int(np.count_nonzero(others & near))
        if others.sum() < HUBNESS_PEOPLE or drawn <= HUBNESS * others.sum():
            return None
        return (
            f"it looks like {drawn} of the {others.sum()} people enrolled, so strangers would be taken for {name}: "
            "use another photo, or --force"
        )

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
