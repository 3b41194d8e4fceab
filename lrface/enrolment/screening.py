"""Photos that would cause mistakes: too poor, somebody else's face, or one that looks like everybody."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrface.decisions.calibration import Calibration
from lrface.embedding.templates import fuse
from lrface.gallery.index import SearchIndex
from lrface.types import FloatArray, one_in

SAME_FACE = 1e-3
"""Another person's template is too close if so few strangers would come so close to anybody enrolled."""

HUBNESS, HUBNESS_FMR, HUBNESS_PEOPLE = 0.10, 0.01, 30
"""A photo is a hub if it reaches the 1 %-threshold of over a tenth of the people, and there are enough people."""


class EnrolmentGate:
    """Compares new photos with everybody enrolled; those who are enrolled meanwhile are added by `add`.

    Args:
        index: The gallery's people.
        calibration: What similarities mean.
    """

    def __init__(self, index: SearchIndex, calibration: Calibration) -> None:
        self._calibration, self._population = calibration, index.population
        self._names, self._vectors, self._photos = list(index.names), index.templates, index.photos

    def rejection_reason(self, name: str, native_px: float, vector: FloatArray, quality: float | None) -> str | None:
        """Why a photo should not be enrolled, with the fix; None if it can be enrolled.

        Args:
            name: Of the person it is said to show.
            native_px: Width of the face.
            vector: float32 [dim], its embedding by the network of enrolment.
            quality: The network's estimate, 0..1.
        """
        network = self._calibration.enrolment
        least = self._calibration.band(network, native_px).min_quality
        if quality is not None and quality < least:
            return (
                f"the face is too poor to be recognised by (quality {quality:.2f}, at least {least:.2f} is needed): "
                "use a sharper, better lit photo from the front"
            )
        names, photos = self._names, self._photos
        similarities = self._vectors @ vector
        mine = [i for i, other in enumerate(names) if other == name]
        others = np.array([other != name for other in names], bool)
        if not others.any():
            return None
        size = max(len(names), self._population.size)
        alike = np.where(others, similarities - self._thresholds(native_px, SAME_FACE / size), -np.inf)
        closest = int(alike.argmax())
        if alike[closest] >= 0 and not (mine and similarities[mine[0]] >= similarities[closest]):
            share = self._calibration.false_match_rate(
                float(similarities[closest]), network, native_px, int(photos[closest]), self._population
            )
            return (
                f"it looks like {names[closest]} (similarity {similarities[closest]:.2f}, {one_in(share)} does): enrol "
                "it under that name, or with --force if they are two people"
            )
        near = int(np.count_nonzero(others & (similarities >= self._thresholds(native_px, HUBNESS_FMR))))
        if others.sum() >= HUBNESS_PEOPLE and near > HUBNESS * others.sum():
            return (
                f"it looks like {near} of the {others.sum()} people enrolled, so strangers would be taken for {name}: "
                "use another photo, or --force"
            )
        return None

    def add(self, name: str, vectors: Sequence[FloatArray]) -> None:
        """Takes a person's new photos into account; somebody who is there already stays as he is."""
        if len(vectors) and name not in self._names:
            self._names.append(name)
            self._vectors = np.vstack([self._vectors, fuse(np.sum(vectors, axis=0)[None])])
            self._photos = np.append(self._photos, len(vectors))

    def _thresholds(self, native_px: float, fmr: float) -> FloatArray:
        """The similarity that a share `fmr` of strangers reaches, for each template."""
        out = np.zeros(len(self._photos), np.float32)
        band = self._calibration.band(self._calibration.enrolment, native_px)
        for count in np.unique(self._photos).tolist():
            out[self._photos == count] = band.curve(count).threshold(fmr) + self._calibration.shift(self._population)
        return out
