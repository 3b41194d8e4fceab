"""Training of landmark refinement: samples with exact landmarks, the loss, a run that resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.landmark_refinement import alignment_error
from lrface.alignment import TEMPLATE, estimate_similarity
from lrface.detection.landmark_refinement import INPUT_SIDE, INPUT_TEMPLATE, LandmarkRefiner
from lrface.models.manifest import Manifest
from lrface.models.sessions import open_session
from training.landmarks.export import NAME, add_to_manifest, card, to_onnx
from training.landmarks.network import EYES, Deployed, Landmarker, alignment_basis, loss
from training.landmarks.samples import Sources, Views, blended_face, detector_landmarks, draw, shrunk_face
from training.landmarks.train import Recipe, batch_at, load, train


class Labels:
    """One face, 60 px high, in the middle of a scene."""

    boxes = np.array([[70, 60, 120, 120]], np.float32)
    landmarks = (TEMPLATE * 70 / 112 + [60, 55]).astype(np.float32)[None]
    marked, ignored = np.array([True]), np.array([False])


class Scenes:
    """Grey scenes with the landmarks as white dots."""

    train, validation = np.array([0, 1, 1]), np.array([2])

    def image(self, i: int) -> np.ndarray:
        return dotted(np.full((200, 220, 3), 60 + 20 * i, np.uint8), Labels.landmarks[0])

    def labels(self, i: int) -> Labels:
        return Labels()


class Pastes:
    crops = np.stack([np.full((112, 112, 3), value, np.uint8) for value in (90, 140)])
    rows = np.array([0, 1])
    landmarks = np.stack([TEMPLATE, TEMPLATE])
    shape = TEMPLATE

    def __len__(self) -> int:
        return 2


def sources() -> Sources:
    return Sources.of(Scenes(), Pastes(), Views())  # type: ignore[arg-type]


def dotted(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    for x, y in points:
        cv2.circle(image, (round(float(x)), round(float(y))), 4, (255, 255, 255), -1)
    return image


def dots(image: np.ndarray, near: np.ndarray, reach: float) -> np.ndarray:
    """Middles of the bright spots near given points."""
    bright = np.clip(image[..., 0].astype(float) - 170, 0, None)
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]]
    found = []
    for x, y in near:
        weight = bright * (np.hypot(xs - x, ys - y) <= reach)
        found.append([(weight * xs).sum() / weight.sum(), (weight * ys).sum() / weight.sum()])
    return np.array(found)


@pytest.mark.parametrize("width", [28.0, 40.0, 64.0])
def test_a_blended_face_lies_where_its_landmarks_say(width: float) -> None:
    side = round(2 * width) + 2
    for seed in range(5):
        crop = dotted(np.full((112, 112, 3), 90, np.uint8), TEMPLATE)
        background = np.full((side, side, 3), 120, np.uint8)
        rng = np.random.default_rng(seed)
        picture, points = blended_face(background, crop, TEMPLATE, width, Views(turn=10), rng)
        assert picture.shape == background.shape
        assert np.abs(dots(picture, points, width * 0.12) - points).max() < 0.5
        size = 112 / np.hypot(*estimate_similarity(points)[:, 0])
        assert size == pytest.approx(width, rel=0.2)  # it is also stretched


def test_a_scene_s_face_lies_where_its_landmarks_say() -> None:
    for seed in range(5):
        picture, points = shrunk_face(sources(), 30.0, Views(), np.random.default_rng(seed))
        assert picture.shape == (62, 62, 3)
        assert np.abs(dots(picture, points, 3.5) - points).max() < 0.5


def test_samples_are_a_function_of_the_seed_and_the_face_is_in_the_frame() -> None:
    where = sources()
    assert where.large.tolist() == [[0, 0], [1, 0]]
    first, second = (draw(where, Views(), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    for seed in range(60):
        frame, points = draw(where, Views(), np.random.default_rng(seed))
        assert frame.shape == (INPUT_SIDE, INPUT_SIDE, 3)
        assert frame.dtype == np.uint8
        assert np.isfinite(points).all()
        assert np.linalg.norm(points.mean(axis=0) - INPUT_TEMPLATE.mean(axis=0)) < INPUT_SIDE / 2
        assert points[0, 0] < points[1, 0]  # mirrored faces have their eyes renamed
        assert points[3, 0] < points[4, 0]


def test_a_detector_s_errors_are_as_large_as_asked() -> None:
    points = TEMPLATE * 20 / 112
    views = Views(later=0.0)
    moves = [estimate_similarity(detector_landmarks(points, 20, views, np.random.default_rng(i))) for i in range(2000)]
    angles = np.degrees([np.arctan2(m[1, 0], m[0, 0]) for m in moves])
    sizes = np.log([20 / 112 * np.hypot(m[0, 0], m[1, 0]) for m in moves])
    assert 0.9 < np.median(np.abs(angles)) * 1.48 / views.roll < 1.25
    assert 0.9 < np.median(np.abs(sizes)) * 1.48 / views.scale < 1.25


def test_what_moves_the_crop_is_told_from_the_face_s_shape() -> None:
    basis = alignment_basis()
    torch.testing.assert_close(basis @ basis.T, torch.eye(4))
    truth = torch.from_numpy(INPUT_TEMPLATE)[None]
    shift = torch.tensor([0.5 * EYES, 0.0])
    terms = loss(truth + shift, torch.zeros(1), truth)
    assert terms["error"].item() == pytest.approx(0.5, rel=1e-5)
    assert terms["points"].item() == pytest.approx(0.5, rel=1e-5)
    # both mouth corners up, both eyes down, so that size, place and roll stay: no similarity
    residual = torch.randn(10, dtype=torch.float64).float()
    residual -= basis.T @ (basis @ residual)
    assert loss(truth + residual.view(1, 5, 2), torch.zeros(1), truth)["error"].item() < 1e-5


def test_the_error_that_it_says_is_the_likeliest() -> None:
    """The loss is least where the scale said gives the mean error: E|u| = 4 s."""
    truth = torch.from_numpy(INPUT_TEMPLATE)[None].repeat(4000, 1, 1)
    generator = torch.Generator().manual_seed(0)
    length = torch.distributions.Gamma(4.0, 1 / 0.1).sample((4000,))  # |u| under the density, s = 0.1
    way = torch.nn.functional.normalize(torch.randn(4000, 4, generator=generator), dim=1) * length[:, None]
    found = truth + EYES * (way @ alignment_basis()).view(-1, 5, 2)
    spreads = np.log([0.06, 0.08, 0.1, 0.125, 0.16])
    values = [loss(found, torch.full((4000,), float(s)), truth)["alignment"].item() for s in spreads]
    assert int(np.argmin(values)) == 2
    network = Landmarker().eval()
    torch.nn.init.zeros_(network.out.weight)
    network.out.bias.data[10] = np.log(0.1) + 2.0
    said = Deployed(network)(torch.zeros(1, 3, INPUT_SIDE, INPUT_SIDE))[1].item()
    assert said == pytest.approx(0.4 / 5**0.5, rel=1e-4)
    assert said == pytest.approx(loss(found, torch.zeros(4000), truth)["error"].item(), rel=0.03)


TOY = replace(Recipe(), steps=4, batch=4)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = train(TOY, sources(), tmp_path / "whole", every=2)

    class Stopped(Exception):
        pass

    class Stops(Scenes):
        def image(self, i: int) -> np.ndarray:
            if (tmp_path / "parts" / "last.pt").exists():
                raise Stopped
            return super().image(i)

    with pytest.raises(Stopped):
        train(TOY, Sources.of(Stops(), Pastes(), Views()), tmp_path / "parts", every=2)  # type: ignore[arg-type]
    resumed = train(TOY, sources(), tmp_path / "parts", every=2)
    for mine, theirs in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs)
    network, recipe, steps = load(tmp_path / "parts")
    assert (recipe, steps) == (TOY, 4)
    torch.testing.assert_close(network.out.weight, whole.out.weight)
    with pytest.raises(ValueError, match="another recipe"):
        train(replace(TOY, batch=8), sources(), tmp_path / "parts")
    frames, points = batch_at(1, sources(), TOY)
    assert frames.shape == (4, 3, INPUT_SIDE, INPUT_SIDE)
    assert points.shape == (4, 5, 2)


def test_an_export_is_what_was_trained_and_the_runtime_takes_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Landmarker().eval()
    torch.nn.init.normal_(network.out.weight, std=0.01)
    target = tmp_path / f"{NAME}.onnx"
    assert to_onnx(network, target) < 1e-3
    add_to_manifest(target)
    (entry,) = Manifest.load(tmp_path).landmarkers
    refiner = LandmarkRefiner(open_session(target, entry.sha256), entry)
    frames = np.random.default_rng(0).integers(0, 256, (3, INPUT_SIDE, INPUT_SIDE, 3)).astype(np.uint8)
    landmarks, error = refiner.predict(frames)
    expected = Deployed(network)(torch.from_numpy(frames).permute(0, 3, 1, 2).float())
    np.testing.assert_allclose(landmarks, expected[0].detach(), atol=1e-3)
    np.testing.assert_allclose(error, expected[1].detach(), rtol=1e-3)
    assert sum(parameter.numel() for parameter in network.parameters()) < 300_000
    text = card(network, TOY, 4, sources(), entry.sha256, 1e-6)
    assert entry.sha256 in text
    assert "4 of 4 steps" in text
    assert "2 aligned training faces" in text
    assert "2 large faces" in text


def test_alignment_error_by_hand() -> None:
    eyes = float(TEMPLATE[1, 0] - TEMPLATE[0, 0])
    assert alignment_error(TEMPLATE * 0.2 + 7, TEMPLATE * 0.2 + 7) == pytest.approx(0, abs=1e-5)
    assert alignment_error(TEMPLATE + np.array([3, 4]), TEMPLATE) == pytest.approx(5 / eyes, rel=1e-4)
    assert alignment_error((TEMPLATE + np.array([3, 4])) * 0.2, TEMPLATE * 0.2) == pytest.approx(5 / eyes, rel=1e-3)
    wry = TEMPLATE + np.array([[0, 2], [0, -2], [0, 0], [0, -2], [0, 2]])
    assert alignment_error(wry, TEMPLATE) < 2 / eyes
