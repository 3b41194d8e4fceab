from __future__ import annotations

import numpy as np
import pytest
from fakes import identification, picture

from lrface.outputs import annotate


def has_colour(image: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(image.astype(int) - colour).max(axis=2) <= 12).any())


@pytest.mark.parametrize(
    ("face", "label", "colour"),
    [
        (identification("Ada", 0.634), "Ada 0.63", annotate.KNOWN),
        (identification("Ada\n\x1b[2J", 0.6), "Ada\\n\\x1b[2J 0.60", annotate.KNOWN),
        (identification(None, 0.2), "unknown", annotate.UNKNOWN),
        (identification(None, None, reason="gallery is empty"), "unknown", annotate.UNKNOWN),
        (identification(None, None, reason="too small"), "too small", annotate.UNSURE),
    ],
)
def test_label_and_colour(face, label, colour):
    assert annotate.label_of(face) == label
    before = picture(320, 240)
    after = annotate.draw(before, [face])
    assert has_colour(after, colour)
    assert (before == 100).all()  # a copy is drawn into
    assert (after[100:, 150:] == 100).all()  # nothing far from the face


@pytest.mark.parametrize("name", ["Jürgen Ñandú", "Łukasz Żółć", "山田太郎", "Юрий", "Ελένη"])
def test_names_in_any_script_are_written_with_their_own_letters(name):
    def written(text):
        canvas = picture(400, 40, 0)
        annotate.put_text(canvas, text, (0, 0), 20)
        return canvas

    assert written(name).any()
    for letter in set(name) - set(" "):
        assert not np.array_equal(written(letter), written("?"))


@pytest.mark.parametrize(("size", "box"), [((640, 360), (600, 2, 630, 20)), ((640, 360), (-5, 350, 8, 380))])
def test_label_stays_inside_the_picture(size, box):
    face = identification("Somebody Longname", 0.5, box)
    text_width, text_height = annotate.text_size(annotate.label_of(face), 12)
    after = annotate.draw(picture(*size), [face])
    bar = (np.abs(after.astype(int) - annotate.KNOWN).max(axis=2) <= 12).sum()
    assert bar > 0.5 * text_width * text_height


def test_labels_of_neighbours_do_not_hide_each_other():
    def bars(faces):
        drawn = annotate.draw(picture(640, 360), faces).astype(int)
        return sum(
            int((np.abs(drawn - colour).max(axis=2) <= 12).sum()) for colour in (annotate.KNOWN, annotate.UNKNOWN)
        )

    left = identification("Ada Lovelace", 0.5, (100, 100, 120, 125))
    near = identification(None, 0.1, (125, 101, 145, 126))
    far = identification(None, 0.1, (425, 101, 445, 126))
    assert bars([left, near]) == pytest.approx(bars([left, far]), rel=0.03)


@pytest.mark.parametrize("size", [(1, 1), (9, 300), (300, 9), (30, 30)])
def test_tiny_pictures_do_not_break_it(size):
    assert annotate.draw(picture(*size), [identification("Ada", 0.6)]).shape == (size[1], size[0], 3)


def test_lines_and_letters_grow_with_the_picture():
    def marked(factor):
        box = tuple(factor * v for v in (100.0, 60.0, 130.0, 95.0))
        drawn = annotate.draw(picture(640 * factor, 360 * factor), [identification("Ada", 0.6, box)])
        return (drawn != 100).any(axis=2).mean()

    assert marked(3) == pytest.approx(marked(1), rel=0.5)
