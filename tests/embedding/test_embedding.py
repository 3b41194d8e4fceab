from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_models import DIM, TinyDetector, embedder_bytes, face, portrait, scene, write_models

from lrface.embedding.embedders import (
    BATCH,
    LARGE_BATCH,
    Embedder,
    Networks,
    embed_faces,
    open_embedders,
    open_networks,
)
from lrface.embedding.quality import AlignmentPenalty, alignment_adjusted_quality
from lrface.errors import ArgumentError, ImageError, ModelError
from lrface.models.manifest import Manifest
from lrface.models.sessions import open_session
from lrface.types import Detections


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def embedders(folder: Path) -> dict[int, Embedder]:
    return open_embedders(Manifest.load(folder))


@pytest.fixture(scope="module")
def networks(folder: Path) -> Networks:
    return open_networks(Manifest.load(folder))


@pytest.mark.parametrize(
    ("native_px", "network"),
    [(6, "tiny-16"), (17.9, "tiny-16"), (18, "tiny-32"), (500, "tiny-32")]
    + [(px, None) for px in (5.9, 0, -3, float("nan"))],
)
def test_the_network_goes_by_width(networks: Networks, native_px: float, network: str | None) -> None:
    found = networks.network_for(native_px)
    assert (None if found is None else found.entry.name) == network


def test_the_sets_of_networks_and_the_network_of_enrolment(tmp_path: Path) -> None:
    """The fast set leaves widths to other networks; photos are embedded by the same one."""
    folder = write_models(tmp_path, (8, 16, 32))
    serves = {8: {"fast": [None, 12]}, 16: {"fast": [12, 40], "accurate": [None, 10]}, 32: {"accurate": [10, None]}}
    serves[32]["fast"] = [40, None]
    data = json.loads((folder / "manifest.json").read_text())
    for entry in data["models"]:
        entry["serves"] = serves[entry["level"]]
        entry["enrolment"] = entry["level"] == 32
    (folder / "manifest.json").write_text(json.dumps(data))
    for which, expected in (("accurate", [16, 32, 32]), ("fast", [8, 16, 32])):
        made = open_networks(Manifest.load(folder), which)
        assert [made.network_for(px).level for px in (9.9, 39, 40)] == expected  # type: ignore[union-attr]
        assert made.enrolment.level == 32
    with pytest.raises(ArgumentError, match="accurate, fast"):
        open_networks(Manifest.load(folder), "quick")


@pytest.mark.parametrize("level", [16, 32])
def test_the_same_face_alone_and_in_a_batch(embedders: dict[int, Embedder], level: int) -> None:
    crops = np.stack([face(f"p{i}") for i in range(BATCH + 7)])
    together = embedders[level].embed(crops)
    alone = np.concatenate([embedders[level].embed(crop[None]) for crop in crops])
    assert together.shape == (BATCH + 7, DIM)
    assert together.dtype == np.float32
    assert np.abs(together - alone).max() < 1e-5
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_the_tensor_is_what_the_manifest_says(folder: Path) -> None:
    """RGB, area shrink, (x - mean) * scale, NCHW: written out once more, slowly."""
    crop = face("ana")
    embedder = Embedder(Manifest.load(folder).embedders[16], folder)
    small = crop.astype(np.float64).reshape(16, 7, 16, 7, 3).mean((1, 3)).round()
    tensor = ((small[..., ::-1] - 127.5) / 128).transpose(2, 0, 1)[None].astype(np.float32)
    expected = open_session(embedder_bytes(16), None).run(None, {"faces": tensor})[0][0]
    assert float(embedder.embed(crop[None])[0] @ expected) > 0.9999


@pytest.mark.parametrize(
    "crops", [np.zeros((1, 96, 96, 3), np.uint8), np.zeros((112, 112, 3), np.uint8), np.zeros((1, 112, 112, 3))]
)
def test_other_crops_are_refused(embedders: dict[int, Embedder], crops: np.ndarray) -> None:
    with pytest.raises(ImageError, match="112"):
        embedders[16].embed(crops)


def test_no_crop_no_embedding(embedders: dict[int, Embedder]) -> None:
    assert embedders[16].embed(np.zeros((0, 112, 112, 3), np.uint8)).shape == (0, DIM)


@pytest.mark.parametrize(
    ("key", "value"), [("output", {"name": "embedding", "dim": 64, "normalized": True}), ("level", 32)]
)
def test_a_graph_unlike_its_manifest_is_refused(tmp_path: Path, key: str, value: object) -> None:
    folder = write_models(tmp_path, levels=(16,))
    data = json.loads((folder / "manifest.json").read_text())
    data["models"][0][key] = value
    if key == "level":
        data["models"][0]["input"].update(height=32, width=32)
    (folder / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(ModelError, match="manifest"):
        open_embedders(Manifest.load(folder))


def test_vectors_without_a_length_are_an_error(embedders: dict[int, Embedder], monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def run(self, *_: object) -> list[np.ndarray]:
            return [np.full((1, DIM), np.nan, np.float32)]

    monkeypatch.setattr(embedders[16], "_session", Broken())
    with pytest.raises(ModelError, match="verify"):
        embedders[16].embed(face("ana")[None])


def test_each_face_by_its_network_in_one_run_a_network(
    networks: Networks, embedders: dict[int, Embedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = scene(("a", 0, 10, 16), ("b", 20, 10, 64), ("c", 100, 10, 14), ("d", 130, 10, 4), ("e", 150, 10, 24))
    runs: list[tuple[int, int]] = []
    for level, embedder in networks.embedders.items():
        original = embedder.embed_with_quality
        monkeypatch.setattr(
            embedder,
            "embed_with_quality",
            lambda c, level=level, original=original: (runs.append((level, len(c))), original(c))[1],
        )
    faces = embed_faces(picture, TinyDetector().detect(picture), networks)
    assert [f.level for f in faces] == [16, 32, 16, 16, 32]
    assert [f.network for f in faces] == ["tiny-16", "tiny-32", "tiny-16", "", "tiny-32"]
    assert [f.embedding.shape for f in faces] == [(DIM,), (DIM,), (DIM,), (0,), (DIM,)]
    assert [f.native_px for f in faces] == pytest.approx([16, 64, 14, 4, 24], rel=1e-4)
    assert sorted(runs) == [(16, 2), (32, 2)]
    whole = embedders[16].embed(face("c")[None])[0]
    assert float(faces[2].embedding @ whole) > 0.99


def test_quality_falls_with_what_the_landmarks_may_be_off_by() -> None:
    def adjusted(quality: float | None, error: float | None) -> float | None:
        return alignment_adjusted_quality(quality, error, AlignmentPenalty(usual_error=0.05, rate=6.0))

    assert adjusted(0.5, 0.05) == 0.5
    assert adjusted(0.5, 0.15) == pytest.approx(0.5 * np.exp(-0.6))
    assert 0.5 < (adjusted(0.5, 0.03) or 0) < 0.6
    assert adjusted(0.99, 0.0) == 1.0
    assert [adjusted(0.5, None), adjusted(0.5, float("nan")), adjusted(None, 0.1)] == [0.5, 0.5, None]


def test_a_detectors_slip_costs_only_its_own_face(networks: Networks) -> None:
    picture = portrait("ana")
    good = TinyDetector().detect(picture)
    landmarks = np.stack([np.zeros((5, 2), np.float32), good.landmarks[0]])
    both = Detections(np.repeat(good.boxes, 2, 0), np.repeat(good.scores, 2), landmarks)
    slip, fine = embed_faces(picture, both, networks)
    assert (slip.native_px, len(slip.embedding)) == (0, 0)
    assert len(fine.embedding) == DIM


@pytest.mark.parametrize(("folder", "level", "device", "most"), [
    ("models/float32", 112, "cpu", LARGE_BATCH),
    ("models/float32", 112, "openvino", LARGE_BATCH),
    ("models/float32", 16, "cpu", BATCH),
    ("models", 16, "cpu", BATCH),  # int8
])  # fmt: skip
def test_a_large_network_runs_few_faces_at_a_time(
    folder: str, level: int, device: str, most: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Embedder(Manifest.load(root / folder).embedders[level], root / folder, device)
    assert embedder.runs_on.endswith("int8") == (folder == "models")
    seen, run = [], embedder._session.run

    def watched(wanted: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        seen.extend(len(value) for value in feeds.values())
        return run(wanted, feeds)

    monkeypatch.setattr(embedder._session, "run", watched)
    crops = np.stack([face(f"p{i}") for i in range(10)])
    found = embedder.embed(crops)
    assert (max(seen), sum(seen)) == (min(most, 10), 10)
    np.testing.assert_allclose(found[9], embedder.embed(crops[9:])[0], atol=2e-2)
