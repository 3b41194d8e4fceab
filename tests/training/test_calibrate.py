from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from lrface.models import Manifest
from training.calibrate import FALSE_MATCH_RATES, calibrate
from training.export import to_onnx
from training.faces import FaceSet
from training.manifest import add_model, sha256
from training.students import Student


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
    pairs = {(t["probe_level"], t["gallery_level"]): t for t in written["impostor"]}
    assert set(pairs) == {(16, 16), (16, 32), (32, 16), (32, 32)}
    for item in pairs.values():
        assert item["fmr"] == sorted(item["fmr"], reverse=True)
        assert item["similarity"] == sorted(item["similarity"])
        assert len(item["fmr"]) == len(item["similarity"]) == len(FALSE_MATCH_RATES)
        # Only people of the same source are impostors: 5 of 12 others, each with one vector, for 96 probes.
        assert item["comparisons"] == 96 * 5
    # Clean one-photo impostor scores at level 32, the slow way: the promise must hold for every one of the four cases.
    from lrface.embedding import Embedder

    manifest = Manifest.load(models)
    unit = Embedder(manifest.embedders[32], models).embed(faces.crops)
    person = np.arange(96) // 8
    scores = [
        float(unit[i] @ unit[j])
        for i in range(96)
        for j in range(96)
        if person[i] != person[j] and (i < 48) == (j < 48)
    ]
    curve = pairs[32, 32]
    threshold = np.interp(-2, np.log10(curve["fmr"])[::-1], curve["similarity"][::-1])
    assert np.mean(np.array(scores) >= threshold) <= 0.02


def test_the_runtime_accepts_it_for_these_models_only(models: Path, faces: FaceSet) -> None:
    from lrface.errors import LrfaceError

    calibrate(models, faces)
    assert Manifest.load(models).calibration() is not None
    written = json.loads((models / "calibration.json").read_text())
    written["models"]["m16"] = "0" * 64
    (models / "calibration.json").write_text(json.dumps(written))
    with pytest.raises(LrfaceError):
        Manifest.load(models).calibration()
