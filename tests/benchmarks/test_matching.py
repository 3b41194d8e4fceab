"""From the pictures of a data set to ranks: cutting, embedding, searching."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_detectors import Nothing
from tiny_models import TinyDetector, face, png, scene, write_models

from benchmarks.lib.crops import (
    FACE_BOX,
    crop_face,
    crop_pictures,
    detect_single_face,
    landmarks_from_box,
    shrink_and_enlarge,
)
from benchmarks.lib.datasets.records import FaceRecord
from benchmarks.lib.matching import Chain, FaceCrop, Templates
from lrface.alignment import TEMPLATE, align, native_crop_px
from lrface.errors import ImageError
from lrface.gallery import Contract, Gallery, PhotoTemplate
from lrface.metrics import UNRANKED
from lrface.models.manifest import Manifest
from lrface.types import Detections


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return Chain(Manifest.load(write_models(tmp_path_factory.mktemp("models"))))


def cut(name: str, photo: int, size: float) -> FaceCrop:
    return FaceCrop(face(name, photo), size, True)


def test_landmarks_of_a_box_are_those_of_an_upright_face() -> None:
    assert landmarks_from_box(FACE_BOX) == pytest.approx(TEMPLATE, abs=1e-4)
    half = landmarks_from_box(np.array(FACE_BOX) / 2 + 10)
    assert native_crop_px(half) == pytest.approx(56, abs=1e-3)
    assert half == pytest.approx(TEMPLATE / 2 + 10, abs=1e-4)


def test_a_face_of_a_scene_is_cut_at_the_detection_that_overlaps_its_box(tmp_path: Path) -> None:
    image = scene(("Ada", 40, 30, 40), ("Bo", 150, 100, 64))
    (tmp_path / "a.png").write_bytes(png(image))
    records = [
        FaceRecord(tmp_path / "a.png", "Bo", (148.0, 104.0, 212.0, 160.0)),
        FaceRecord(tmp_path / "a.png", "?", (0, 0, 30, 30)),
    ]
    ((rows, (bo, other)),) = crop_pictures(records, TinyDetector())
    assert rows == [0, 1]
    assert (bo.found, other.found) == (True, False)
    assert bo.native_px == pytest.approx(64, abs=0.5)
    assert np.abs(bo.crop.astype(int) - shrink_and_enlarge(face("Bo"), 64)).mean() < 3
    assert other.native_px == pytest.approx(30 * 112 / 89, rel=0.15)


def test_given_landmarks_and_aligned_crops_need_no_detector(tmp_path: Path) -> None:
    image = scene(("Ada", 40, 30, 40))
    landmarks = TinyDetector().detect(image).landmarks[0]
    (tmp_path / "a.png").write_bytes(png(image))
    (tmp_path / "b.png").write_bytes(png(face("Ada")))
    records = [FaceRecord(tmp_path / "a.png", landmarks=landmarks), FaceRecord(tmp_path / "b.png", aligned=True)]
    given, whole = (cuts[0] for _, cuts in crop_pictures(records, Nothing()))
    assert np.array_equal(given.crop, align(image, landmarks))
    assert np.array_equal(whole.crop, face("Ada"))
    assert (given.found, whole.found, whole.native_px) == (True, True, 112)
    with pytest.raises(ImageError, match="not an aligned 112x112 crop"):
        crop_face(image, records[1], Detections.empty())


@pytest.mark.parametrize("side", [20, 24, 160])
def test_detections_in_a_picture_of_one_face_come_back_to_its_own_pixels(side: int) -> None:
    """The detector is shown a larger, framed picture; it "finds" a mark there."""

    class Mark:
        def detect(self, image: np.ndarray) -> Detections:
            assert min(image.shape[:2]) >= 64
            y, x = np.argwhere(image[..., 2].astype(int) - image[..., 0] > 120).mean(axis=0)
            return Detections.from_arrays([[x - 9, y - 9, x + 9, y + 9]], [0.9], np.tile([x, y], (1, 5, 1)))

    image = np.zeros((side, side + 4, 3), np.uint8)
    image[side // 2 : side // 2 + 2, 6:8] = (0, 0, 255)
    found = detect_single_face(image, Mark())
    assert found.landmarks[0, 0] == pytest.approx([6.5, side // 2 + 0.5], abs=0.3)


def test_the_search_is_the_gallerys(chain: Chain, tmp_path: Path) -> None:
    """Templates as in `lrface.gallery`, but for every person and every rank."""
    manifest = Manifest.load(write_models(tmp_path))
    enrolled = [("Ada", 1, 90.0), ("Ada", 2, 18.0), ("Bo", 1, 17.0), ("Cy", 1, 64.0)]
    faces = chain.embed([cut(*one) for one in enrolled], enrolled=True)
    templates = Templates(faces, [name for name, _, _ in enrolled])
    probes = [("Ada", 7, 70.0), ("Bo", 7, 70.0), ("Cy", 7, 12.0), ("Ada", 8, 12.0), ("stranger", 1, 70.0)]
    embedded = chain.embed([cut(*one) for one in probes])
    found = chain.search(embedded, [name for name, _, _ in probes], templates)

    gallery = Gallery.open(":memory:", Contract.of(manifest))
    for i, (name, photo, size) in enumerate(enrolled):
        gallery.add(name, [PhotoTemplate(f"{name}{photo}", size, faces.vectors[i])])
    for i, (name, _, _) in enumerate(probes):
        (matches,) = gallery.search(embedded.vectors[i : i + 1], 5)
        assert found.top[i] == pytest.approx(matches[0].similarity, abs=1e-5)
        assert templates.people[found.named[i]] == matches[0].name
        names = [match.name for match in matches]
        assert found.mated[i] == (name in names)
        if name in names:
            assert found.rank[i] == names.index(name) + 1
            assert found.own[i] == pytest.approx(matches[names.index(name)].similarity, abs=1e-5)
    assert (found.own[-1], found.rank[-1]) == (-np.inf, UNRANKED)


def test_records_are_embedded_in_their_order(chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.lib.matching.CHUNK", 3)
    names = ["Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal"]
    records = []
    for i in range(4):  # two faces a picture, and their records far apart
        (tmp_path / f"{i}.png").write_bytes(png(scene((names[i], 10, 10, 40), (names[i + 4], 150, 60, 20))))
    for i, name in enumerate(names):
        box = (10.0, 10.0, 50.0, 50.0) if i < 4 else (150.0, 60.0, 170.0, 80.0)
        records.append(FaceRecord(tmp_path / f"{i % 4}.png", name, box))
    found = chain.embed_records(records, TinyDetector())
    assert found.native_px == pytest.approx([40] * 4 + [20] * 4, abs=0.5)
    for i, name in enumerate(names):
        whole = chain.embed([FaceCrop(face(name), float(found.native_px[i]), True)])
        assert float(whole.vectors[0] @ found.vectors[i]) > 0.85


def test_a_size_between_levels_is_brought_back_as_alignment_would(chain: Chain) -> None:
    crops = np.stack([face("Ada"), face("Bo")])
    assert np.array_equal(chain.embed_at(crops, 16), chain.networks.embedders[16].embed(crops))
    small = np.stack([cv2.resize(crop, (12, 12), interpolation=cv2.INTER_AREA) for crop in crops])
    back = np.stack([cv2.resize(crop, (112, 112), interpolation=cv2.INTER_LINEAR) for crop in small])
    assert np.array_equal(chain.embed_at(crops, 12), chain.networks.embedders[16].embed(back))
