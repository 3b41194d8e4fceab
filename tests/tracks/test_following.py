from __future__ import annotations

import pytest
from tiny_models import open_matcher, portrait, scene, write_models

from lrface.embedding.embedders import embed_faces
from lrface.errors import GalleryInUseError
from lrface.inputs.video import Frame
from lrface.tracks.events import TrackEventKind
from lrface.tracks.following import TrackFollower

ADA, BOB = ("Ada", 20, 40, 40), ("Bob", 120, 40, 40)


@pytest.fixture
def matcher(tmp_path):
    with open_matcher(tmp_path / "g.gallery", write_models(tmp_path / "models")) as found:
        found.enroll("Ada", portrait("Ada"))
        yield found


def look(matcher, follower, i, *faces):
    """One frame through the follower; its events and how many faces were embedded."""
    image = scene(*faces, photo=i)
    frame, found = Frame(i, i / 10, image), matcher.detector.detect(image)
    rows = follower.wanted(frame, found)
    embedded = embed_faces(image, found[rows], matcher.networks)
    return follower.update(frame, found, dict(zip(rows, embedded, strict=True))), len(rows)


def kinds(events):
    return [(event.kind, event.name) for event in events]


def test_a_face_that_looks_the_same_is_embedded_less_and_less(matcher):
    follower = TrackFollower(matcher)
    counts = [look(matcher, follower, i, ADA)[1] for i in range(100)]
    assert counts[:2] == [1, 1]
    assert sum(counts) == follower.embedded < 8
    assert follower.faces == 100


def test_a_larger_face_is_embedded(matcher):
    follower = TrackFollower(matcher)
    assert [look(matcher, follower, i, ("Ada", 20, 40, side))[1] for i, side in enumerate((40, 40, 40, 50))] == [
        1,
        1,
        0,
        1,
    ]


def test_somebody_who_is_enrolled_or_removed_in_the_meantime_changes_the_decision(matcher):
    follower = TrackFollower(matcher)
    assert kinds([event for i in range(3) for event in look(matcher, follower, i, BOB)[0]]) == [("appeared", None)]
    matcher.enroll("Bob", portrait("Bob"))
    assert kinds(look(matcher, follower, 3, BOB)[0]) == [("identified", "Bob")]
    matcher.remove("Bob")
    assert kinds(look(matcher, follower, 4, BOB)[0]) == [("revised", None)]


def test_a_gallery_in_use_delays_a_decision(matcher, monkeypatch):
    follower, index = TrackFollower(matcher), matcher.gallery.search_index

    def held():
        raise GalleryInUseError("held")

    monkeypatch.setattr(matcher.gallery, "search_index", held)
    for i in range(2):
        with pytest.raises(GalleryInUseError):
            look(matcher, follower, i, ADA)
    monkeypatch.setattr(matcher.gallery, "search_index", index)
    events, embedded = look(matcher, follower, 2, ADA)
    assert embedded == 0
    assert kinds(events) == [("appeared", "Ada"), ("identified", "Ada")]


def test_twins_in_one_frame_do_not_both_get_the_name(matcher):
    follower = TrackFollower(matcher)
    for i in range(3):
        look(matcher, follower, i, ADA, ("Ada", 120, 40, 40))
    assert [face.name for face in follower.seen].count("Ada") <= 1


def test_end_leaves_nothing_and_numbers_are_never_used_again(matcher):
    follower = TrackFollower(matcher)
    for i in range(3):
        look(matcher, follower, i, ADA)
    left = follower.end()
    assert [(event.kind, event.track) for event in left] == [(TrackEventKind.LEFT, 1)]
    assert follower.end() == []
    look(matcher, follower, 3, ADA)
    assert [face.track for face in follower.seen] == [2]


@pytest.fixture
def careful(tmp_path):
    """With thresholds for two tracks."""
    with open_matcher(tmp_path / "g.gallery", write_models(tmp_path / "models", tracks=True)) as found:
        found.enroll("Ada", portrait("Ada"))
        yield found


HALF_ASIDE = ("Bob", 40, 40, 40)


def test_a_name_does_not_stay_with_another_person_after_a_cut(careful):
    """Bob's face is where Ada's was, as far as the tracker can tell; the look at him says otherwise."""
    follower = TrackFollower(careful)
    told = [event for i in range(10) for event in look(careful, follower, i, ADA)[0]]
    assert kinds(told) == [("appeared", "Ada"), ("identified", "Ada")]
    told = [event for i in range(10, 13) for event in look(careful, follower, i, HALF_ASIDE)[0]]
    assert kinds(told) == [("left", "Ada"), ("appeared", None)]
    assert (told[0].track, told[0].frame, told[0].box[0]) == (1, 9, pytest.approx(20, abs=3))
    assert [(face.track, face.name) for face in follower.seen] == [(2, None)]
    (left,) = follower.end()
    assert (left.track, left.name, left.frame) == (2, None, 12)


def test_one_view_that_does_not_fit_changes_nothing(careful):
    follower = TrackFollower(careful)
    shown = [ADA] * 10 + [HALF_ASIDE] + [ADA] * 10
    told = [event for i, face in enumerate(shown) for event in look(careful, follower, i, face)[0]]
    assert kinds(told) == [("appeared", "Ada"), ("identified", "Ada")]
    assert [(face.track, face.name) for face in follower.seen] == [(1, "Ada")]


def test_a_face_that_stays_where_it_was_is_the_same_whatever_it_looks_like(careful):
    follower = TrackFollower(careful)
    for i, face in enumerate([ADA] * 10 + [("Bob", 20, 40, 40)] * 20):
        look(careful, follower, i, face)
    assert [face.track for face in follower.seen] == [1]


def test_without_thresholds_for_two_tracks_a_track_is_never_split(matcher):
    follower = TrackFollower(matcher)
    for i, face in enumerate([ADA] * 10 + [HALF_ASIDE] * 5):
        look(matcher, follower, i, face)
    assert [face.track for face in follower.seen] == [1]
