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
