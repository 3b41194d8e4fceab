from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrface.tracks.template import View, fuse_views


def views_of(seed: int, count: int, noise: float = 0.8, dim: int = 32) -> list[View]:
    """Noisy views of one person."""
    rng = np.random.default_rng(seed)
    true = rng.standard_normal(dim)
    found = []
    for quality in rng.uniform(0.3, 0.9, count).tolist():
        vector = true + noise * rng.standard_normal(dim)
        width = float(rng.uniform(14, 20))
        found.append(View((vector / np.linalg.norm(vector)).astype(np.float32), quality, width, "net"))
    return found


@given(st.integers(0, 10**6), st.integers(1, 12), st.data())
def test_order_of_frames_does_not_matter_and_one_more_copy_changes_nothing(seed, count, data):
    views = views_of(seed, count)
    other = data.draw(st.permutations(views))
    copies = [*other, *data.draw(st.lists(st.sampled_from(views), max_size=5))]
    expected = fuse_views(views)
    for found in (fuse_views(other), fuse_views(copies)):
        np.testing.assert_array_equal(found.vector, expected.vector)
        assert found.effective_views(0.3) == expected.effective_views(0.3)
        assert (found.native_px, found.quality) == (expected.native_px, expected.quality)


def test_a_person_who_stands_still_gives_one_view():
    still = views_of(1, 200, noise=0.05)
    assert fuse_views(still).effective_views(0.3) < 1.2
    assert fuse_views(views_of(1, 16, noise=1.5, dim=512)).effective_views(0.3) > 10


def test_more_views_come_closer_to_the_person():
    true = np.random.default_rng(4).standard_normal(512)
    similarity = [
        float(fuse_views(views_of(4, count, 1.5, 512)).vector @ (true / np.linalg.norm(true))) for count in (1, 4, 16)
    ]
    assert similarity == sorted(similarity)
    assert similarity[-1] > 0.9


def test_a_face_of_somebody_else_is_left_out():
    own, other = views_of(1, 8, noise=0.5), views_of(2, 1)
    assert len(fuse_views([*own, *other]).shares) == len(fuse_views(own).shares)
    np.testing.assert_array_equal(fuse_views([*own, *other]).vector, fuse_views(own).vector)


@pytest.mark.parametrize("count", [2, 4, 5, 9])
def test_views_that_all_disagree_have_a_template(count):
    """Each is less like the others than chance: faces of as many people, or no faces at all."""
    apart = np.eye(count) - 1 / count
    vectors = (apart / np.linalg.norm(apart, axis=1, keepdims=True)).astype(np.float32)
    found = fuse_views([View(vector, 0.5, 16.0, "net") for vector in vectors])
    assert len(found.shares) >= 1
    assert np.isfinite(found.vector).all()


def test_a_better_view_counts_more():
    a, b = np.eye(2, dtype=np.float32)
    fused = fuse_views([View(a, 0.8, 20.0, "net"), View(b, 0.4, 20.0, "net")])
    assert fused.vector[0] > 4 * fused.vector[1]
    assert fused.quality == 0.8


def test_no_view():
    with pytest.raises(ValueError, match="needs a view"):
        fuse_views([])
