"""Photos that would cause mistakes: too poor, somebody else's face, or one that looks like everybody."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrface.decisions.calibration import Calibration
from lrface.embedding.templates import fuse
from lrface.gallery.protocol import SearchedPeople
from lrface.types import FloatArray, one_in

SAME_FACE = 1e-3
"""Another person's template is too close if so few strangers would come so close to anybody enrolled."""

HUBNESS, HUBNESS_FMR, HUBNESS_PEOPLE = 0.10, 0.01, 30
"""A photo is a hub if it reaches the 1 %-threshold of over a tenth of the people, and there are enough people."""


_NEAREST = 5  # of each number of photos: so many entries are compared exactly


class EnrolmentGate:
    """Compares new photos with everybody enrolled; those who are enrolled meanwhile are added by `add`.

    What a photo costs is one search: nobody's template is read again.

    Args:
        index: The gallery's people.
        calibration: What similarities mean.
    """

    def __init__(self, index: SearchedPeople, calibration: Calibration) -> None:
        self._calibration = calibration
        self.renew(index)

    def renew(self, index: SearchedPeople) -> None:
        """Goes on with the gallery's people of now, in whom those that `add` told of are contained."""
        self._index, self._population = index, index.population
        self._late: list[tuple[str, int, FloatArray]] = []  # name, photos, template

    @property
    def late(self) -> int:
        """How many people `add` has told of: a photo is compared with one after the other."""
        return len(self._late)

    def rejection_reason(
        self, name: str, native_px: float, vector: FloatArray, quality: float | None, own: FloatArray | None = None
    ) -> str | None:
        """Why a photo should not be enrolled, with the fix; None if nothing speaks against it.

        Args:
            name: Of the person it is said to show.
            native_px: Width of the face.
            vector: float32 [dim], its embedding by the network of enrolment.
            quality: The network's estimate, 0..1.
            own: float32 [dim], of unit length, of the person's photos that are about to be enrolled; None without any.
        """
        if poor := self.too_poor(native_px, quality):
            return poor
        network = self._calibration.enrolment
        nearest = [(m.name, m.photos, m.similarity) for m in self._index.candidates(vector[None], _NEAREST)[0]]
        late = [(other, photos, float(template @ vector)) for other, photos, template in self._late]
        mine = [similarity for other, _, similarity in (*nearest, *late) if other == name]
        there = len(self._index) + len(late) - len(mine)
        if own is not None:
            mine.append(float(own @ vector))
        others = [entry for entry in (*nearest, *late) if entry[0] != name]
        if not others:
            return None
        size = max(len(self._index) + len(late), self._population.size)
        margins = [found - self._threshold(native_px, photos, SAME_FACE / size) for _, photos, found in others]
        closest = int(np.argmax(margins))
        other, photos, similarity = others[closest]
        if margins[closest] >= 0 and not (mine and max(mine) >= similarity):
            share = self._calibration.false_match_rate(similarity, network, native_px, photos, self._population)
            return (
                f"it looks like {other} (similarity {similarity:.2f}, {one_in(share)} does): enrol "
                "it under that name, or with --force if they are two people"
            )
        if there < HUBNESS_PEOPLE:
            return None
        near = self._near(native_px, vector, name, nearest, late)
        if near > HUBNESS * there:
            return (
                f"it looks like {near} of the {there} people enrolled, so strangers would be taken for {name}: "
                "use another photo, or --force"
            )
        return None

    def too_poor(self, native_px: float, quality: float | None) -> str | None:
        """Why a photo should not be enrolled whoever it shows; None if nothing speaks against it."""
        least = self._calibration.band(self._calibration.enrolment, native_px).min_quality
        if quality is None or quality >= least:
            return None
        return (
            f"the face is too poor to be recognised by (quality {quality:.2f}, at least {least:.2f} is needed): "
            "use a sharper, better lit photo from the front"
        )

    def add(self, name: str, vectors: Sequence[FloatArray]) -> None:
        """Takes a person's new photos into account."""
        if len(vectors):
            self._late.append((name, len(vectors), fuse(np.sum(vectors, axis=0)[None])[0]))

    def _near(
        self,
        native_px: float,
        vector: FloatArray,
        name: str,
        nearest: Sequence[tuple[str, int, float]],
        late: Sequence[tuple[str, int, float]],
    ) -> int:
        """How many others reach the threshold that one stranger in a hundred reaches."""

        def reached(photos: int, similarity: float) -> bool:
            return similarity >= self._threshold(native_px, photos, HUBNESS_FMR)

        def limit(photos: int) -> FloatArray:
            return np.full(1, self._threshold(native_px, photos, HUBNESS_FMR), np.float32)

        near = sum(reached(photos, found) for other, photos, found in late if other != name)
        near += self._index.reaching(vector[None], limit)[0]
        return near - sum(reached(photos, found) for other, photos, found in nearest if other == name)

    def _threshold(self, native_px: float, photos: int, fmr: float) -> float:
        """The similarity to a person of so many photos that a share `fmr` of strangers reaches."""
        band = self._calibration.band(self._calibration.enrolment, native_px)
        return float(band.curve(photos).threshold(fmr) + self._calibration.shift(self._population))
