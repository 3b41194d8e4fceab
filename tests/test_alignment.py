from __future__ import annotations

import cv2
import numpy as np
import pytest

from lrface.alignment import CROP, TEMPLATE, Alignment, align, align_faces, estimate_similarity, native_crop_px, shrink
from lrface.errors import ImageError


def placed(scale: float, degrees: float, shift: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The transform crop -> picture and the landmarks of a face placed by it."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    matrix = np.array([[c, -s, shift[0]], [s, c, shift[1]]])
    return matrix, TEMPLATE @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 3.7])
@pytest.mark.parametrize("degrees", [0, 30, -100, 180])
def test_a_similarity_is_recovered_exactly(scale: float, degrees: float) -> None:
    landmarks = placed(scale, degrees, (50, -20))[1]
    found = estimate_similarity(landmarks)
    back = landmarks @ found[:, :2].T + found[:, 2]
    assert found.dtype == np.float32
    assert np.allclose(back, TEMPLATE, atol=1e-3)
    assert native_crop_px(landmarks) == pytest.approx(CROP * scale, rel=1e-5)


def test_it_is_the_least_squares_of_umeyama() -> None:
    """Against the textbook's form by singular values, on landmarks that no similarity maps exactly."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        source = placed(rng.uniform(0.2, 3), rng.uniform(-180, 180), tuple(rng.uniform(-99, 99, 2)))[1]
        source = source + rng.normal(0, 4, (5, 2))
        mu_s, mu_t = source.mean(0), TEMPLATE.mean(0)
        covariance = (TEMPLATE - mu_t).T @ (source - mu_s) / 5
        u, d, vt = np.linalg.svd(covariance)
        sign = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
        rotation = u @ sign @ vt
        scale = np.trace(np.diag(d) @ sign) / ((source - mu_s) ** 2).sum(1).mean()
        expected = np.column_stack([scale * rotation, mu_t - scale * rotation @ mu_s])
        assert np.allclose(estimate_similarity(source), expected, atol=1e-3)


@pytest.mark.parametrize(
    "landmarks",
    [np.zeros((5, 2)), np.full((5, 2), np.nan), np.full((5, 2), np.inf), np.zeros((4, 2)), np.full((5, 2), 7.0)],
)
def test_landmarks_that_are_no_face(landmarks: np.ndarray) -> None:
    with pytest.raises(ImageError, match="landmarks"):
        estimate_similarity(landmarks)


@pytest.mark.parametrize("scale", [0.3, 1.0, 1.9, 2.0, 2.7, 4.0, 6.3])
@pytest.mark.parametrize("degrees", [0, 25])
def test_a_pasted_face_comes_back(scale: float, degrees: float) -> None:
    """Also large faces, which are averaged in blocks first: no shift of half a pixel."""
    coarse = np.random.default_rng(0).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (CROP, CROP), interpolation=cv2.INTER_CUBIC)
    matrix, landmarks = placed(scale, degrees, (300, 200))
    picture = cv2.warpAffine(smooth, matrix, (1200, 1100), flags=cv2.INTER_CUBIC)
    crop = align(picture, landmarks)
    inner = (slice(12, -12), slice(12, -12))
    assert crop.shape == (CROP, CROP, 3)
    assert np.abs(crop[inner].astype(float) - smooth[inner]).mean() < (5 if scale < 1 else 1.5)


def test_large_faces_do_not_alias() -> None:
    """A fine chequerboard, eight pixels to one of the crop, is grey."""
    board = (np.indices((1000, 1000)).sum(0) % 2 * 255).astype(np.uint8)
    crop = align(np.dstack([board] * 3), placed(8, 0, (20, 30))[1])
    assert np.abs(crop.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("shift", [(-40.0, -40.0), (70.0, 90.0), (5000.0, 10.0)])
def test_outside_of_the_picture_is_black(shift: tuple[float, float]) -> None:
    matrix, landmarks = placed(1.0, 0, shift)
    crop = align(np.full((120, 140, 3), 200, np.uint8), landmarks)
    mask = cv2.warpAffine(
        np.full((120, 140), 1, np.uint8), matrix, (CROP, CROP), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    assert (crop[cv2.erode(mask, np.ones((3, 3))) == 1] == 200).all()
    assert (crop[cv2.dilate(mask, np.ones((3, 3))) == 0] == 0).all()


def test_pictures_wider_than_opencv_warps() -> None:
    wide = np.full((100, 40_000, 3), 9, np.uint8)
    assert (align(wide, placed(0.5, 0, (39_900, 20))[1])[10:-10, 10:-10] == 9).all()


@pytest.mark.parametrize("level", [16, 32, 56, 112])
def test_shrinking_is_by_area(level: int) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    small = shrink(crop, level)
    assert small.shape == (level, level, 3)
    if 112 % level == 0:
        f = 112 // level
        means = crop.reshape(level, f, level, f, 3).mean((1, 3))
        assert np.abs(small - means).max() <= 0.51


def test_one_alignment_gives_size_and_crop() -> None:
    landmarks = placed(0.5, 30, (60, 40))[1]
    picture = np.random.default_rng(0).integers(0, 256, (120, 140, 3), dtype=np.uint8)
    alignment = Alignment.of(landmarks)
    assert alignment.native_px == native_crop_px(landmarks) == pytest.approx(56, rel=1e-5)
    np.testing.assert_array_equal(alignment.matrix, estimate_similarity(landmarks))
    np.testing.assert_array_equal(alignment.crop(picture), align(picture, landmarks))


def test_a_face_without_alignment_leaves_the_others_theirs() -> None:
    good = placed(0.5, 0, (0, 0))[1]
    first, none, second = align_faces(np.stack([good, np.full((5, 2), 3.0), good * 2]))
    assert none is None
    assert first is not None
    assert second is not None
    assert second.native_px == pytest.approx(2 * first.native_px, rel=1e-5)
    assert align_faces(np.zeros((0, 5, 2))) == []
