"""Similarities of strangers -> the curves of ``calibration.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FALSE_MATCH_RATES = (0.9, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)


def curve_of(strangers: npt.NDArray[np.float32], photos: int) -> dict[str, Any]:
    """The curve of similarities ``[n]`` of strangers to templates of so many photos."""
    similarity = np.quantile(strangers, 1 - np.array(FALSE_MATCH_RATES), method="higher")
    scale, shape = fit_tail(strangers[strangers > similarity[-1]] - similarity[-1])
    return {
        "photos": photos, "comparisons": len(strangers), "fmr": list(FALSE_MATCH_RATES),
        "similarity": similarity.astype(float).round(5).tolist(),
        "tail": {"scale": round(scale, 5), "shape": round(shape, 4)},
    }  # fmt: skip


def fit_tail(excess: npt.NDArray[np.floating]) -> tuple[float, float]:
    """A generalised Pareto distribution by probability-weighted moments (Hosking and Wallis 1987, eq. 8, k = -shape).

    With a0 the mean and a1 = E[x (1 - F(x))], shape = 2 - a0 / (a0 - 2 a1) and scale = 2 a0 a1 / (a0 - 2 a1).

    Args:
        excess: float ``[n]``, above 0: similarities beyond the point where the tail begins.

    Returns:
        Scale and shape; exponential (shape 0) where there are fewer than 50 values.

    Raises:
        ValueError: no value above 0.
    """
    values = np.sort(np.asarray(excess, np.float64))
    if len(values) == 0 or values[0] <= 0:
        raise ValueError("no two people alike enough to fit a tail: add people to the validation split")
    mean = float(values.mean())
    if len(values) < 50:
        return mean, 0.0
    weighted = float((values * np.arange(len(values) - 1, -1, -1)).mean() / (len(values) - 1))
    shape = float(np.clip(2 - mean / (mean - 2 * weighted), -0.5, 0.5))
    return mean * (1 - shape), shape


def share_shape(curves: Sequence[dict[str, Any]]) -> None:
    """Gives the tails of a network's bands the mean of their shapes; each keeps its mean excess.

    The shape of one band is so uncertain that the rate far out in its tail may be twice the one asked for; between the
    bands of a network it differs no more than by chance.
    """
    if not curves:
        return
    shape = float(np.mean([curve["tail"]["shape"] for curve in curves]))
    for curve in curves:
        tail = curve["tail"]
        scale = tail["scale"] / (1 - tail["shape"]) * (1 - shape)
        curve["tail"] = {"scale": round(scale, 5), "shape": round(shape, 4)}


def strangers_of(subject: npt.NDArray[np.str_], owners: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """Which comparisons are of two people of one source, bool ``[probes, templates]``.

    Args:
        subject: of the probes, "<source>/<identity>" ``[probes]``.
        owners: of the templates ``[templates]``.
    """
    sources = [np.array([name.split("/")[0] for name in names]) for names in (subject, owners)]
    other: npt.NDArray[np.bool_] = (subject[:, None] != owners[None, :]) & (sources[0][:, None] == sources[1][None, :])
    return other
