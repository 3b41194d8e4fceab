from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from lrface.decisions.calibration import Calibration
from lrface.measuring.impostor_curves import FALSE_MATCH_RATES, curve_of, fit_tail, share_shape
from lrface.measuring.measure import bands_of
from lrface.measuring.statistics import Probes, gate, statistics
from lrface.models.manifest import Manifest
from lrface.models.writing import write_calibration
from training.common.manifest import add_model, sha256
from training.data.faces import FaceSet
from training.embedder.calibrate import calibrate
from training.embedder.export import to_onnx
from training.embedder.students import Student


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for level in (16, 32):
        to_onnx(Student(level, 8, (8, 8, 8)).eval(), folder / f"m{level}.onnx")
        add_model(
            {
                "name": f"m{level}", "kind": "embedder", "level": level, "file": f"m{level}.onnx", "license": "-",
                "sha256": sha256(folder / f"m{level}.onnx"), "card": "-", "template": "arcface-112", "space": "toy",
                "input": {"name": "faces", "height": level, "width": level, "channels": "RGB", "mean": 127.5,
                          "scale": 0.0078125},
                "output": {"name": "embedding", "dim": 8, "normalized": True},
            },
            folder,
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def faces() -> FaceSet:
    """12 people of 8 photos in two sources: each person a colour pattern, each photo a noisy copy."""
    rng = np.random.default_rng(0)
    looks = rng.integers(40, 215, (12, 7, 7, 3))
    crops = [np.kron(look, np.ones((16, 16, 1))) + rng.normal(0, 12, (112, 112, 3)) for look in looks for _ in range(8)]
    table = pd.DataFrame({
        "name": [f"f{i}" for i in range(96)], "source": ["a"] * 48 + ["b"] * 48,
        "identity": [str(i // 8) for i in range(96)], "split": "val", "native_crop_px": 112,
    })  # fmt: skip
    return FaceSet(np.clip(np.stack(crops), 0, 255).astype(np.uint8), table, "toy")


def test_thresholds_hold_the_false_match_rate_that_they_promise(models: Path, faces: FaceSet) -> None:
    calibrate(models, faces)
    written = json.loads((models / "calibration.json").read_text())
    assert written["models"] == {e.name: e.sha256 for e in Manifest.load(models).embedders.values()}
    assert written["enrolment"] == "m32"
    expected = [("m16", *ends) for ends in ([0, 8], [8, 10], [10, 12], [12, 14], [14, 16], [16, 18])]
    expected += [("m32", *ends) for ends in ([16, 20], [20, 24], [24, 32], [32, 48], [48, None])]
    assert [(band["network"], *band["widths"]) for band in written["probes"]] == expected
    for band in written["probes"]:
        # Eight photos a person, one of which is always left over: templates of ten cannot be made.
        assert [item["photos"] for item in band["curves"]] == [1, 2, 3, 4, 5, 7]
        assert band["min_quality"] is None
        for item in band["curves"]:
            assert item["similarity"] == sorted(item["similarity"])
            assert len(item["fmr"]) == len(item["similarity"]) == len(FALSE_MATCH_RATES)
            own = item.get("own")  # a probe is never compared with a template that it is a photo of
            if item["photos"] == 1:
                assert own["comparisons"] == 96 * 5 - 12 * 5
            assert own is None or own["similarity"] == sorted(own["similarity"])
            # Only people of the same source are impostors: 5 of 12 others, for 96 probes.
            assert item["comparisons"] == 96 * 5 * min(5, 7 // item["photos"])
    for band in written["tracks"]:
        # of a track of n photos, n are in it: a person's template of one photo is another one
        drawn = {(item["drawn"], item["photos"]): item.get("own") for item in band["curves"]}
        assert drawn[4, 1]["comparisons"] == pytest.approx(1250, rel=0.15)
        assert drawn[1, 1]["comparisons"] == 96 * 5 - 12 * 5
        assert all(own is None or own["similarity"] == sorted(own["similarity"]) for own in drawn.values())
    # One-photo impostor scores of large faces, the slow way.
    from lrface.embedding.embedders import Embedder

    unit = Embedder(Manifest.load(models).embedders[32], models).embed(faces.crops)
    person = np.arange(96) // 8
    scores = [
        float(unit[i] @ unit[j])
        for i in range(96)
        for j in range(96)
        if person[i] != person[j] and (i < 48) == (j < 48)
    ]
    calibration = Calibration.of(Manifest.load(models))
    curve = calibration.band("m32", 100.0).curve(1)
    threshold = curve.threshold(0.1)
    own = [float(unit[i] @ unit[j]) for i in range(96) for j in range(96) if i != j and person[i] == person[j]]
    # half of the probes are degraded, and so less like the person's photos than these are
    assert 0.5 <= curve.missed(float(np.median(own))) < 0.9
    assert curve.missed(-1.0) == 0
    assert np.mean(np.array(scores) >= threshold) == pytest.approx(0.1, abs=0.05)
    assert calibration.impostor_mean == pytest.approx(np.mean(scores), abs=1e-4)


def test_an_alignment_penalty_is_kept(models: Path, faces: FaceSet) -> None:
    calibrate(models, faces)
    written = json.loads((models / "calibration.json").read_text())
    written["alignment_penalty"] = {"usual_error": 0.07, "rate": 4.0}
    write_calibration(models, written)
    assert calibrate(models, faces)[0]["alignment_penalty"] == {"usual_error": 0.07, "rate": 4.0}


def test_a_network_is_measured_where_it_serves_and_where_photos_may_be(models: Path, tmp_path: Path) -> None:
    data = json.loads((models / "manifest.json").read_text())
    for entry, serves in zip(data["models"], ({"fast": [None, 20]}, {"fast": [20, None], "accurate": [None, None]}),
                             strict=True):  # fmt: skip
        entry.update(serves=serves, enrolment=entry["level"] == 32)
    (tmp_path / "manifest.json").write_text(json.dumps(data))
    found = bands_of(Manifest.load(tmp_path))
    assert [band[1:] for band in found if band[0] == 16][-1] == (16, 20)
    assert next(band[1:] for band in found if band[0] == 32) == (0, 8)
    assert found[-1] == (32, 48, None)


def test_the_runtime_accepts_it_for_these_models_only(models: Path, faces: FaceSet) -> None:
    from lrface.errors import LrfaceError

    calibrate(models, faces)
    data = bytearray((models / "calibration.json").read_bytes())
    data[len(data) // 2] ^= 1
    (models / "calibration.json").write_bytes(data)
    with pytest.raises(LrfaceError, match="altered"):
        Calibration.of(Manifest.load(models))
    calibrate(models, faces)
    assert Calibration.of(Manifest.load(models)) is not None
    written = json.loads((models / "calibration.json").read_text())
    written["models"]["m16"] = "0" * 64
    write_calibration(models, written)
    with pytest.raises(LrfaceError, match="not those of m16"):
        Calibration.of(Manifest.load(models))


@pytest.mark.parametrize("shape", [-0.3, -0.1, 0.0, 0.15])
def test_a_tail_is_found_again(shape: float) -> None:
    """From drawn values; what it says of a rate of one in 1,000 holds within a third."""
    pareto = pytest.importorskip("scipy.stats").genpareto
    drawn = pareto.rvs(shape, scale=0.05, size=20_000, random_state=3)
    scale, found = fit_tail(drawn)
    assert scale == pytest.approx(0.05, rel=0.05)
    assert found == pytest.approx(shape, abs=0.04)
    far = scale * np.expm1(-found * np.log(1e-3)) / found
    assert pareto.sf(far, shape, scale=0.05) == pytest.approx(1e-3, rel=0.35)


def test_few_values_give_an_exponential_tail() -> None:
    assert fit_tail(np.linspace(0.01, 0.05, 9)) == pytest.approx((0.03, 0.0))
    with pytest.raises(ValueError, match="add people"):
        fit_tail(np.zeros(0))


def test_extrapolated_thresholds_hold_on_other_people() -> None:
    """Made-up people: curves from 60 of them, false-match rates ten times rarer than the table on 400 others."""
    rng = np.random.default_rng(0)

    def draw(people: int, photos: int) -> np.ndarray:
        centres = np.repeat(rng.standard_normal((people, 24)), photos, axis=0)
        vectors = centres + 0.8 * rng.standard_normal(centres.shape)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    cohort, others = draw(60, 12), draw(400, 1)
    person = np.array([f"s/{i // 12}" for i in range(len(cohort))])
    probes = Probes("m16", 8.0, 10.0, np.arange(len(cohort)), cohort, np.linspace(0, 1, len(cohort)),
                    np.arange(len(cohort)) % 2 == 1)  # fmt: skip
    made = statistics(cohort, [probes], person, rng)
    from lrface.decisions.curves import CurveRecord

    curve = msgspec.convert(made["probes"][0]["curves"][0], CurveRecord).curve()
    scores = (others @ others.T)[np.triu_indices(len(others), 1)]
    for fmr in (1e-2, 1e-3, 3e-4):
        assert np.mean(scores >= curve.threshold(fmr)) == pytest.approx(fmr, rel=0.5)
    assert 0 < made["probes"][0]["min_quality"] < 1


@pytest.mark.parametrize(
    ("hits", "expected"),
    [
        ([0] * 30 + [1] * 70, 0.30),  # the poorest thirty never match
        ([0] * 30 + [1] + [0] * 9 + [2] * 60, 0.40),  # nine more for one match in 121
        ([1] * 100, 0.01),  # one in a hundred may be lost
        ([0] * 100, 0.0),
    ],
)
def test_the_gate_costs_one_match_in_a_hundred(hits: list[int], expected: float) -> None:
    shuffled = np.random.default_rng(0).permutation(100)
    assert gate(np.arange(100)[shuffled] / 100, np.array(hits)[shuffled]) == pytest.approx(expected)


def test_the_tails_of_a_networks_bands_have_one_shape_and_keep_their_mean_excess() -> None:
    rng = np.random.default_rng(3)
    curves = [curve_of(rng.normal(0, spread, 20_000).astype(np.float32), 1) for spread in (0.1, 0.1, 0.12)]
    before = [dict(curve["tail"]) for curve in curves]
    share_shape(curves)
    mean = np.mean([tail["shape"] for tail in before])
    for old, new in zip(before, (curve["tail"] for curve in curves), strict=True):
        assert new["shape"] == pytest.approx(mean, abs=1e-4)
        assert new["scale"] / (1 - new["shape"]) == pytest.approx(old["scale"] / (1 - old["shape"]), rel=1e-3)
    share_shape([])  # no band has a person with so many photos
