from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from benchmarks.lib.plots import KINDS, draw_plot, histogram, plot, thin
from benchmarks.lib.results import write_result
from lrface.metrics import cmc, det, dir_curve, roc

RNG = np.random.default_rng(0)
SAME = RNG.random(2000) < 0.5
SCORES = RNG.normal(SAME * 0.3, 0.15)
RANK = RNG.integers(1, 30, 200)
CURVES = {
    "roc": {"lrface-16": thin(*roc(SCORES, SAME)[:2])},
    "det": {"lrface-16": thin(*det(SCORES, SAME)[:2])},
    "dir": {"lrface-16": thin(*dir_curve(SCORES[:200], RANK, SCORES[200:], trials=80)[:2])},
    "cmc": {"lrface-16": [list(range(1, 31)), cmc(RANK, 30).tolist()]},
    "histograms": {name: histogram(SCORES[SAME], SCORES[~SAME]) for name in ("16 px", "32 px")},
    "curves": {"as asked": [[0.01, 0.1], [0.01, 0.1]]},
    "swept": {"CRRCD": [[64, 1024], [85.1, 85.4]], "cosine": [[64, 1024], [85.0, 85.0]]},
    "bars": {"bars": {"cosine": 85.1, "HORKD": 85.4}, "lines": {"teachers": 86.8}},
    "scatter": {name: [[[0.0, 1.0], [1.0, 0.5]], [[3.0], [2.0]]] for name in ("teachers", "student", "other")},
    "accuracy-by-size": [{"label": "lrface-16", "size": s, "accuracy": 60.0 + s} for s in (6, 12, 24)],
    "accuracy-against-cost": [{"label": "16", "group": "ours", "cost": 60, "accuracy": 94.0}],
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_is_drawn_from_what_json_keeps(kind: str, tmp_path: Path) -> None:
    entry = json.loads(json.dumps(plot(kind, CURVES[kind], "a title")))
    first, second = io.BytesIO(), io.BytesIO()
    draw_plot(entry, first)
    draw_plot(entry, second)
    assert first.getvalue() == second.getvalue(), "drawn again from the same figures, it is the same file"
    assert ET.fromstring(first.getvalue()).tag.endswith("svg")
    draw_plot(entry, tmp_path / "a.png")
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3, "there is a line in it"


def test_a_kind_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one of roc"):
        draw_plot(plot("pie", {}, ""), tmp_path / "a.svg")


def test_a_thinned_curve_keeps_its_ends_and_its_small_rates() -> None:
    x = np.arange(10_000) / 9_999
    thinned, same = thin(x, x)
    assert len(thinned) < 210
    assert (thinned[0], thinned[-1]) == (0.0, 1.0)
    assert thinned[:20] == pytest.approx(x[:20], rel=1e-3)
    assert same == thinned


def test_a_histogram_is_a_density_over_all_scores() -> None:
    edges, genuine, impostor = map(np.array, histogram(SCORES[SAME], SCORES[~SAME]))
    assert edges[0] == pytest.approx(SCORES.min(), rel=1e-3)
    assert edges[-1] == pytest.approx(SCORES.max(), rel=1e-3)
    for density in (genuine, impostor):
        assert np.sum(density * np.diff(edges)) == pytest.approx(1, abs=0.01)


def test_a_result_is_written_with_its_machine_and_its_plots(tmp_path: Path) -> None:
    path = write_result("some", {"rows": [1], "plots": [plot("roc", CURVES["roc"], "", "roc-16")]}, tmp_path)
    assert json.loads(path.read_text())["machine"]["packages"]["numpy"] == np.__version__
    assert (tmp_path / "some-roc-16.svg").read_bytes().startswith(b"<?xml")
