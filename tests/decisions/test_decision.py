from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import calibration, embedder_bytes, embedder_entry, write_models

from lrface.decisions.calibration import Calibration, Population
from lrface.errors import CalibrationError
from lrface.models.manifest import Manifest

RATES = [0.1, 0.01, 0.001, 0.0001]
SIMILARITIES = [0.2, 0.3, 0.45, 0.5]
TAIL = {"scale": 0.05 / math.log(10), "shape": 0.0}


def people(size: int, at_16: int = 0, mean: float = 0.0) -> Population:
    return Population(size, {16: at_16}, {16: mean})


def data() -> dict[str, Any]:
    made = calibration([embedder_entry(16, embedder_bytes(16))])
    made["impostor"][0].update(fmr=RATES, similarity=SIMILARITIES, tail=TAIL)
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
    assert made.threshold(16, 16, 1, people(1), fmr) == pytest.approx(expected)
    assert made.false_match(expected, 16, 16, 1, people(1)) == pytest.approx(fmr)


@pytest.mark.parametrize("shape", [-0.3, -0.1, 0.0, 0.2])
def test_the_tail_is_a_generalised_pareto_distribution(tmp_path: Path, shape: float) -> None:
    """Against scipy's survival function; a tail of negative shape ends."""
    pareto = pytest.importorskip("scipy.stats").genpareto
    made = data()
    made["impostor"][0]["tail"] = {"scale": 0.04, "shape": shape}
    curve = load(tmp_path, made).curve(16, 16, 1)
    for excess in (0.0, 0.01, 0.05, 0.12, 0.3):
        expected = 1e-4 * pareto.sf(excess, shape, scale=0.04)
        assert curve.fmr(0.5 + excess) == pytest.approx(expected, rel=1e-6, abs=1e-15)
        if expected > 0:
            assert curve.threshold(expected) == pytest.approx(0.5 + excess, abs=1e-6)


def test_a_similarity_below_the_curve_is_everybodys(tmp_path: Path) -> None:
    made = load(tmp_path, data())
    assert made.false_match(0.1, 16, 16, 1, people(1)) == 1.0
    assert made.threshold(16, 16, 1, people(1), 0.9) == 0.2


@pytest.mark.parametrize("size", [1, 10, 1000])
@pytest.mark.parametrize("fpir", [0.09, 0.01, 1e-4])
def test_a_gallery_of_n_multiplies_the_chances(tmp_path: Path, size: int, fpir: float) -> None:
    made = load(tmp_path, data())
    threshold = made.threshold(16, 16, 1, people(size), fpir)
    assert 1 - (1 - made.false_match(threshold, 16, 16, 1, people(size))) ** size == pytest.approx(fpir)


def test_thresholds_rise_with_the_gallery_and_with_care(tmp_path: Path) -> None:
    made = load(tmp_path, data())
    assert (np.diff([made.threshold(16, 16, 1, people(n), 0.01) for n in (1, 2, 10, 1000, 10**6, 10**9)]) > 0).all()
    assert (np.diff([made.threshold(16, 16, 1, people(10), f) for f in (0.5, 0.1, 0.01, 1e-6, 1e-12)]) > 0).all()


def test_photos_have_curves_of_their_own(tmp_path: Path) -> None:
    """Between two measured counts the stricter one holds, beyond the last the last."""
    made = data()
    made["impostor"][1]["similarity"] = [0.4, 0.55, 0.65, 0.7, 0.74]
    found = [load(tmp_path, made).threshold(16, 16, photos, people(1), 0.01) for photos in (1, 2, 5, 9)]
    assert found == pytest.approx([0.3, 0.55, 0.55, 0.55])


@pytest.mark.parametrize(
    ("at_16", "mean", "moved"), [(0, 0.5, 0.0), (19, 0.5, 0.0), (20, 0.05, 0.05), (20, -0.02, -0.02), (500, 0.1, 0.1)]
)
def test_people_who_resemble_each_other_move_the_thresholds(
    tmp_path: Path, at_16: int, mean: float, moved: float
) -> None:
    made = load(tmp_path, data())
    alike, cohort = people(500, at_16, mean), people(500)
    for fpir in (0.2, 0.01, 1e-5):
        expected = made.threshold(16, 16, 1, cohort, fpir) + moved
        assert made.threshold(16, 16, 1, alike, fpir) == pytest.approx(expected)
    assert made.false_match(0.4 + moved, 16, 16, 1, alike) == pytest.approx(made.false_match(0.4, 16, 16, 1, cohort))
    assert ("likeness" in made.basis(16, 16, 1, alike, 0.01)) is (moved != 0)


def test_strangers_are_named_as_often_as_was_promised(tmp_path: Path) -> None:
    """Simulated: impostor similarities drawn from the very curve, a gallery of 20, fpir 0.05."""
    rng = np.random.default_rng(0)
    sample = np.sort(rng.normal(0, 0.1, 400_000))[::-1]
    rates = np.geomspace(0.1, 1e-4, 20)
    made = data()
    made["impostor"][0].update(
        fmr=rates.tolist(), similarity=sample[(rates * len(sample)).astype(int)].tolist(), comparisons=len(sample)
    )
    threshold = load(tmp_path, made).threshold(16, 16, 1, people(20), 0.05)
    named = (rng.normal(0, 0.1, (20_000, 20)).max(1) >= threshold).mean()
    assert named == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d.update(schema=1), "schema"),
        (lambda d: d.pop("impostor"), "impostor"),
        (lambda d: d.pop("models"), "models"),
        (lambda d: d["impostor"][0].update(fmr=RATES[::-1]), "fmr must fall"),
        (lambda d: d["impostor"][0].update(similarity=SIMILARITIES[::-1]), "similarity rise"),
        (lambda d: d["impostor"][0].update(similarity=[0.1, 0.2, 0.3, float("nan")]), "similarity rise"),
        (lambda d: d["impostor"][0].update(fmr=[0.1, 0.01, 0.001, 0.0]), "fmr must fall"),
        (lambda d: d["impostor"][0].update(fmr=[0.1]), "two points"),
        (lambda d: d.update(gallery_level=[1]), "malformed"),
        (lambda d: d["impostor"][0].pop("tail"), "tail"),
        (lambda d: d["impostor"][0].update(tail={"scale": 0.0, "shape": 0.0}), "a tail needs"),
        (lambda d: d["impostor"][0].update(tail={"scale": 0.1, "shape": float("nan")}), "a tail needs"),
        (lambda d: d["impostor"][0].update(photos=0), "one photo"),
        (lambda d: d.update(min_quality=[0.2]), "malformed"),
    ],
)
def test_malformed(tmp_path: Path, change: Any, match: str) -> None:
    made = data()
    change(made)
    with pytest.raises(CalibrationError, match=match):
        load(tmp_path, made)


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
    with pytest.raises(CalibrationError, match="fpir"):
        load(tmp_path, data()).threshold(16, 16, 1, people(1), fpir)


def test_levels_that_were_not_measured(tmp_path: Path) -> None:
    made = load(tmp_path, data())
    for call in (lambda: made.compare_at(32), lambda: made.threshold(16, 32, 1, people(1), 0.01)):
        with pytest.raises(CalibrationError, match="level"):
            call()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["models"].update({"tiny-16": "0" * 64}),
        lambda d: d["models"].pop("tiny-16"),
        lambda d: d.update(space="other"),
        lambda d: d["gallery_level"].pop("16"),
        lambda d: d.update(impostor=d["impostor"][2:]),
        lambda d: d.update(impostor=[i for i in d["impostor"] if (i["probe_level"], i["gallery_level"]) != (32, 16)]),
    ],
)
def test_thresholds_of_other_models_are_refused(tmp_path: Path, change: Any) -> None:
    folder = write_models(tmp_path)
    manifest = Manifest.load(folder)
    assert Calibration.of(manifest).compare_at(16) == 16
    made = json.loads((folder / "calibration.json").read_text())
    change(made)
    (folder / "calibration.json").write_text(json.dumps(made))
    with pytest.raises(CalibrationError, match="calibrate"):
        Calibration.of(manifest)


@pytest.mark.parametrize("mean", [math.nan, math.inf, -1e72, 1.1])
def test_a_mean_that_is_no_similarity_is_damage(tmp_path: Path, mean: float) -> None:
    """Two flipped bits of two templates once moved the threshold to -1e72: every stranger was named."""
    with pytest.raises(CalibrationError, match="gallery verify"):
        load(tmp_path, data()).threshold(16, 16, 1, people(30, 30, mean), 0.01)


@pytest.mark.parametrize(("mean", "shift"), [(0.3, 0.3), (-0.05, -0.05), (-0.6, -0.1)])
def test_people_unlike_each_other_lower_a_threshold_only_a_little(tmp_path: Path, mean: float, shift: float) -> None:
    made = data() | {"impostor_mean": {"16": 0.0}}
    assert load(tmp_path, made).shift(16, people(30, 30, mean)) == pytest.approx(shift)


@pytest.mark.parametrize(
    ("key", "value"), [("impostor_mean", {"16": math.nan}), ("impostor_mean", {"16": 2}), ("min_quality", {"16": -1})]
)
def test_numbers_of_a_calibration_have_ranges(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(CalibrationError, match="malformed"):
        load(tmp_path, data() | {key: value})
