from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import calibration, embedder_bytes, embedder_entry, write_models

from lrface.decisions.calibration import Calibration, Population
from lrface.errors import ArgumentError, CalibrationError
from lrface.models.manifest import Manifest

RATES = [0.1, 0.01, 0.001, 0.0001]
SIMILARITIES = [0.2, 0.3, 0.45, 0.5]
TAIL = {"scale": 0.05 / math.log(10), "shape": 0.0}


NET = "tiny-16", 12.0  # a network, and the width of a face


def people(size: int, mean: float | None = None) -> Population:
    return Population(size, mean)


def curves(made: dict[str, Any]) -> list[dict[str, Any]]:
    """The curves of the first band."""
    found: list[dict[str, Any]] = made["probes"][0]["curves"]
    return found


def data() -> dict[str, Any]:
    made = calibration([embedder_entry(16, embedder_bytes(16))])
    curves(made)[0].update(fmr=RATES, similarity=SIMILARITIES, tail=TAIL)
    return made


def load(tmp_path: Path, made: object) -> Calibration:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(made))
    return Calibration.load(path)


@pytest.mark.parametrize(
    ("fmr", "expected"),
    [
        *zip(RATES, SIMILARITIES, strict=True),
        (10**-1.5, 0.25),
        (10**-2.5, 0.375),
        (1e-5, 0.55),  # beyond the table: the exponential tail, .05 a decade
        (1e-7, 0.65),
    ],
)
def test_the_threshold_of_a_rate_and_the_rate_of_a_similarity(tmp_path: Path, fmr: float, expected: float) -> None:
    made = load(tmp_path, data())
    assert made.threshold(*NET, 1, people(1), fmr) == pytest.approx(expected)
    assert made.false_match_rate(expected, *NET, 1, people(1)) == pytest.approx(fmr)


@pytest.mark.parametrize("shape", [-0.3, -0.1, 0.0, 0.2])
def test_the_tail_is_a_generalised_pareto_distribution(tmp_path: Path, shape: float) -> None:
    """Against scipy's survival function; a tail of negative shape ends."""
    pareto = pytest.importorskip("scipy.stats").genpareto
    made = data()
    curves(made)[0]["tail"] = {"scale": 0.04, "shape": shape}
    curve = load(tmp_path, made).band(*NET).curve(1)
    for excess in (0.0, 0.01, 0.05, 0.12, 0.3):
        expected = 1e-4 * pareto.sf(excess, shape, scale=0.04)
        assert curve.fmr(0.5 + excess) == pytest.approx(expected, rel=1e-6, abs=1e-15)
        if expected > 0:
            assert curve.threshold(expected) == pytest.approx(0.5 + excess, abs=1e-6)


def test_a_similarity_below_the_curve_is_everybodys(tmp_path: Path) -> None:
    made = load(tmp_path, data())
    assert made.false_match_rate(0.1, *NET, 1, people(1)) == 1.0
    assert made.threshold(*NET, 1, people(1), 0.9) == 0.2


@pytest.mark.parametrize("size", [1, 10, 1000])
@pytest.mark.parametrize("fpir", [0.09, 0.01, 1e-4])
def test_a_gallery_of_n_multiplies_the_chances(tmp_path: Path, size: int, fpir: float) -> None:
    made = load(tmp_path, data())
    threshold = made.threshold(*NET, 1, people(size), fpir)
    assert 1 - (1 - made.false_match_rate(threshold, *NET, 1, people(size))) ** size == pytest.approx(fpir)


def test_thresholds_rise_with_the_gallery_and_with_care(tmp_path: Path) -> None:
    made = load(tmp_path, data())
    assert (np.diff([made.threshold(*NET, 1, people(n), 0.01) for n in (1, 2, 10, 1000, 10**6, 10**9)]) > 0).all()
    assert (np.diff([made.threshold(*NET, 1, people(10), f) for f in (0.5, 0.1, 0.01, 1e-6, 1e-12)]) > 0).all()


def test_photos_have_curves_of_their_own(tmp_path: Path) -> None:
    """Between two measured counts the stricter one holds, beyond the last the last."""
    made = data()
    curves(made)[1]["similarity"] = [0.4, 0.55, 0.65, 0.7, 0.74]
    found = [load(tmp_path, made).threshold(*NET, photos, people(1), 0.01) for photos in (1, 2, 5, 9)]
    assert found == pytest.approx([0.3, 0.55, 0.55, 0.55])


@pytest.mark.parametrize(
    ("size", "mean", "moved"),
    [(1, None, 0.0), (19, 0.5, 0.0), (20, 0.05, 0.05), (20, -0.02, -0.02), (500, 0.1, 0.1)],
)
def test_people_who_resemble_each_other_move_the_thresholds(
    tmp_path: Path, size: int, mean: float | None, moved: float
) -> None:
    made = load(tmp_path, data())
    alike, cohort = people(size, mean), people(size)
    for fpir in (0.2, 0.01, 1e-5):
        expected = made.threshold(*NET, 1, cohort, fpir) + moved
        assert made.threshold(*NET, 1, alike, fpir) == pytest.approx(expected)
        group = made.threshold(*NET, 1, cohort, fpir, among=3) + moved  # also that of a few of them
        assert made.threshold(*NET, 1, alike, fpir, among=3) == pytest.approx(group)
    assert made.false_match_rate(0.4 + moved, *NET, 1, alike) == pytest.approx(
        made.false_match_rate(0.4, *NET, 1, cohort)
    )
    assert ("likeness" in str(made.basis(*NET, 1, alike, 0.01))) is (moved != 0)


def test_strangers_are_named_as_often_as_was_promised(tmp_path: Path) -> None:
    """Simulated: impostor similarities drawn from the very curve, a gallery of 20, fpir 0.05."""
    rng = np.random.default_rng(0)
    sample = np.sort(rng.normal(0, 0.1, 400_000))[::-1]
    rates = np.geomspace(0.1, 1e-4, 20)
    made = data()
    curves(made)[0].update(
        fmr=rates.tolist(), similarity=sample[(rates * len(sample)).astype(int)].tolist(), comparisons=len(sample)
    )
    threshold = load(tmp_path, made).threshold(*NET, 1, people(20), 0.05)
    named = (rng.normal(0, 0.1, (20_000, 20)).max(1) >= threshold).mean()
    assert named == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d.update(schema=1), "schema"),
        (lambda d: d.pop("probes"), "probes"),
        (lambda d: d.pop("models"), "models"),
        (lambda d: d.pop("enrolment"), "enrolment"),
        (lambda d: d.update(impostor_mean=float("nan")), "not JSON"),
        (lambda d: d.update(impostor_mean=1e72), "impostor_mean"),
        (lambda d: d.update(alignment_penalty={"usual_error": 0.05, "rate": float("inf")}), "not JSON"),
        (lambda d: d["probes"][0].update(curves=[]), "curves"),
        (lambda d: d["probes"][0].update(widths=[8, 4]), "overlap"),
        (lambda d: d["probes"].append({**d["probes"][0], "widths": [4, 5]}), "overlap"),
        (lambda d: d["probes"][0].update(widths=[0]), "malformed"),
        (lambda d: d["probes"][0].update(min_quality=[0.2]), "malformed"),
        (lambda d: curves(d)[0].update(fmr=RATES[::-1]), "fmr must fall"),
        (lambda d: curves(d)[0].update(similarity=SIMILARITIES[::-1]), "similarity rise"),
        (lambda d: curves(d)[0].update(similarity=[0.1, 0.2, 0.3, float("nan")]), "not JSON"),
        (lambda d: curves(d)[0].update(similarity=[0.1, 0.2, 0.3, 1e30]), r"<= 1.0 - at .*similarity"),
        (lambda d: curves(d)[0].update(fmr=[0.1, 0.01, 0.001, 0.0]), "> 0.0 - at .*fmr"),
        (lambda d: curves(d)[0].update(fmr=[0.1]), "length >= 2 - at .*fmr"),
        (lambda d: curves(d)[0].pop("tail"), "tail"),
        (lambda d: curves(d)[0].update(tail={"scale": 0.0, "shape": 0.0}), "tail.scale"),
        (lambda d: curves(d)[0].update(tail={"scale": 1e30, "shape": 0.0}), "tail.scale"),
        (lambda d: curves(d)[0].update(tail={"scale": 0.1, "shape": float("nan")}), "not JSON"),
        (lambda d: curves(d)[0].update(photos=0), "photos"),
        (lambda d: curves(d)[0]["own"].update(similarity=[0.1, 0.2]), "own similarities"),
        (lambda d: curves(d)[0]["own"].update(similarity=[0.2] * 16 + [0.1]), "own similarities"),
        (lambda d: curves(d)[0]["own"].update(similarity=[2.0] * 17), "<= 1.0 - at .*own"),
        (lambda d: d.update(people=10**400), "people"),
        (lambda d: d.update(people=-5), "people"),
    ],
)
def test_malformed(tmp_path: Path, change: Any, match: str) -> None:
    made = data()
    change(made)
    with pytest.raises(CalibrationError, match=match):
        load(tmp_path, made)


def test_a_hostile_file_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text("[" * 200_000)
    with pytest.raises(CalibrationError, match="not JSON"):
        Calibration.load(path)
    path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(CalibrationError, match="regular file"):
            Calibration.load(path)


@pytest.mark.parametrize("made", [[], 5, "x", None])
def test_not_a_calibration(tmp_path: Path, made: object) -> None:
    with pytest.raises(CalibrationError, match="schema"):
        load(tmp_path, made)


def test_missing_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="calibrate"):
        Calibration.load(tmp_path / "none.json")
    (tmp_path / "x.json").write_bytes(b"\xff{")
    with pytest.raises(CalibrationError, match="JSON"):
        Calibration.load(tmp_path / "x.json")


@pytest.mark.parametrize("fpir", [0, 1, -1, 2, float("nan")])
def test_rates_out_of_range(tmp_path: Path, fpir: float) -> None:
    with pytest.raises(ArgumentError, match="fpir"):
        load(tmp_path, data()).threshold(*NET, 1, people(1), fpir)


def test_faces_that_were_not_measured(tmp_path: Path) -> None:
    made = load(tmp_path, data())
    with pytest.raises(CalibrationError, match="tiny-64"):
        made.threshold("tiny-64", 12.0, 1, people(1), 0.01)
    for width in (0.0, -3.0, float("nan")):
        with pytest.raises(CalibrationError, match="px wide"):
            made.threshold("tiny-16", width, 1, people(1), 0.01)


def test_each_width_has_the_curves_of_its_band(tmp_path: Path) -> None:
    made = data()
    (band,) = made["probes"]
    small = [{**curve, "similarity": [value + 0.1 for value in curve["similarity"]]} for curve in band["curves"]]
    made["probes"] = [{**band, "widths": [10, None]}, {**band, "widths": [6, 10], "curves": small}]
    loaded = load(tmp_path, made)
    found = [loaded.threshold("tiny-16", width, 1, people(1), 0.01) for width in (3, 6, 9.9, 10, 500)]
    assert found == pytest.approx([0.4, 0.4, 0.4, 0.3, 0.3])


def test_no_threshold_is_above_what_nobody_reaches(tmp_path: Path) -> None:
    made = data()
    curves(made)[0]["tail"] = {"scale": 0.9, "shape": 0.9}
    assert load(tmp_path, made).threshold(*NET, 1, people(10**9), 1e-9) == 2.0


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["models"].update({"tiny-16": "0" * 64}),
        lambda d: d["models"].pop("tiny-16"),
        lambda d: d.update(space="other"),
        lambda d: d.update(enrolment="tiny-16"),
        lambda d: d.update(probes=d["probes"][1:]),
        lambda d: d.update(probes=d["probes"][:1]),
    ],
)
def test_thresholds_of_other_models_are_refused(tmp_path: Path, change: Any) -> None:
    folder = write_models(tmp_path)
    manifest = Manifest.load(folder)
    assert Calibration.of(manifest).enrolment == "tiny-32"
    made = json.loads((folder / "calibration.json").read_text())
    change(made)
    (folder / "calibration.json").write_text(json.dumps(made))
    with pytest.raises(CalibrationError, match="calibrate"):
        Calibration.of(manifest)


@pytest.mark.parametrize("mean", [math.nan, math.inf, -1e72, 1.1])
def test_a_mean_that_is_no_similarity_is_damage(tmp_path: Path, mean: float) -> None:
    """Two flipped bits of two templates once moved the threshold to -1e72: every stranger was named."""
    with pytest.raises(CalibrationError, match="gallery verify"):
        load(tmp_path, data()).threshold(*NET, 1, people(30, mean), 0.01)


@pytest.mark.parametrize(("mean", "shift"), [(0.3, 0.3), (-0.05, -0.05), (-0.6, -0.1)])
def test_people_unlike_each_other_lower_a_threshold_only_a_little(tmp_path: Path, mean: float, shift: float) -> None:
    made = data() | {"impostor_mean": 0.0}
    assert load(tmp_path, made).shift(people(30, mean)) == pytest.approx(shift)
