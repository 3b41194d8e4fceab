from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_models import DIM, TinyDetector, open_matcher, png, portrait, scene, write_models

from lrface.decisions.calibration import Population
from lrface.errors import (
    ArgumentError,
    CalibrationError,
    ContractError,
    GalleryError,
    ImageError,
    LrfaceError,
    ModelError,
)
from lrface.gallery import Gallery, PhotoTemplate
from lrface.gallery.index import Match
from lrface.matcher import CANDIDATES, FaceMatcher
from lrface.types import Detections, Reason


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def matcher(models: Path) -> Iterator[FaceMatcher]:
    with open_matcher(":memory:", models) as opened:
        for name in ("ana", "bob"):
            opened.enroll(name, [portrait(name, photo) for photo in range(3)])
        yield opened


def test_people_are_named_strangers_are_not(matcher: FaceMatcher) -> None:
    picture = scene(("stranger", 200, 100, 40), ("bob", 150, 30, 16), ("ana", 10, 10, 64), ("ana", 90, 5, 4), photo=9)
    found = matcher.identify(picture)
    assert [(face.name, face.reason) for face in found] == [
        ("ana", "match"),
        (None, "too small"),
        ("bob", "match"),
        (None, "below threshold"),
    ]
    ana, small, bob, stranger = found
    assert ana.box == (10, 10, 74, 74)
    assert (ana.level, bob.level) == (32, 16)
    assert ana.similarity is not None
    assert ana.threshold is not None
    assert ana.similarity >= ana.threshold
    assert ana.candidates[0].name == "ana"
    ids = {person.name: person.id for person in matcher.people()}
    assert (ana.person, stranger.person) == (ids["ana"], None)
    assert {c.name: c.person for c in stranger.candidates} == ids
    assert ana.embedding.shape == (DIM,)
    assert stranger.similarity is not None
    assert stranger.threshold is not None
    assert stranger.similarity < stranger.threshold
    assert {c.name for c in stranger.candidates} == {"ana", "bob"}
    assert (small.similarity, small.threshold, small.candidates) == (None, None, ())


def test_a_picture_may_be_a_path_bytes_or_an_array(matcher: FaceMatcher, tmp_path: Path) -> None:
    picture = portrait("ana", 9)
    (tmp_path / "p.png").write_bytes(png(picture))
    forms = (picture, png(picture), tmp_path / "p.png", str(tmp_path / "p.png"))
    said = [matcher.identify(form)[0].to_dict() for form in forms]
    assert all(one == said[0] for one in said)
    json.dumps(said)


def test_no_face_no_result_and_bad_pictures_are_errors(matcher: FaceMatcher) -> None:
    assert matcher.identify(np.zeros((40, 40, 3), np.uint8)) == []
    assert matcher.identify(np.zeros((1, 1, 3), np.uint8)) == []
    with pytest.raises(ImageError, match="empty"):
        matcher.identify(b"")


def test_an_empty_gallery_names_nobody(models: Path) -> None:
    with open_matcher(":memory:", models) as matcher:
        found = matcher.identify(portrait("ana"))
    assert [(f.name, f.similarity, f.threshold, f.reason) for f in found] == [(None, None, None, "gallery is empty")]


def test_nobody_below_the_threshold_is_ever_named(matcher: FaceMatcher) -> None:
    rng = np.random.default_rng(0)
    for i in range(150):
        name = ["ana", "bob", f"stranger {i}"][i % 3]
        clean = portrait(name, 50 + i, width=int(rng.integers(8, 50)) * 2).astype(np.float32)
        noisy = np.clip(clean + rng.normal(0, rng.uniform(0, 120), clean.shape), 0, 255).astype(np.uint8)
        noisy[0] = clean[0]
        for face in matcher.identify(noisy):
            assert face.similarity is not None
            assert face.threshold is not None
            assert (face.name is not None) == (face.similarity >= face.threshold)
            assert face.name in (None, face.candidates[0].name)
            assert face.name != ("bob" if name == "ana" else "ana")


def test_the_threshold_follows_the_rate_and_the_gallery(models: Path) -> None:
    thresholds = []
    for fpir, people in [(0.1, 1), (0.01, 1), (0.01, 5)]:
        with open_matcher(":memory:", models, fpir=fpir) as matcher:
            for i in range(people):
                matcher.enroll(f"p{i}", portrait(f"p{i}"))
            thresholds.append(matcher.identify(portrait("p0"))[0].threshold)
    assert thresholds == pytest.approx([0.3, 0.45, 0.45 + 0.1 * np.log10(0.01 / (1 - 0.99**0.2))])


def test_detections_keep_their_order(matcher: FaceMatcher) -> None:
    picture = scene(("bob", 150, 30, 40), ("ana", 10, 10, 64))
    found = TinyDetector().detect(picture)
    assert [f.name for f in matcher.identify_faces(picture, found)] == ["bob", "ana"]
    assert [f.name for f in matcher.identify_faces(picture, found[[1, 0]])] == ["ana", "bob"]
    assert matcher.identify_faces(picture, Detections.empty()) == []


def test_landmarks_that_form_no_face_are_unknown(matcher: FaceMatcher) -> None:
    odd = Detections.from_arrays(np.array([[0, 0, 9, 9]]), [0.9], np.zeros((1, 5, 2)))
    (face,) = matcher.identify_faces(portrait("ana"), odd)
    assert (face.name, face.reason) == (None, "landmarks form no face")
    json.dumps(face.to_dict())


def test_removed_people_are_strangers(matcher: FaceMatcher) -> None:
    assert matcher.remove("ana") == 3
    assert [str(p) for p in matcher.people()] == ["bob"]
    assert matcher.identify(portrait("ana", 9))[0].name is None
    with pytest.raises(LrfaceError, match="gallery list"):
        matcher.remove("ana")


def test_it_is_kept_in_the_file(models: Path, tmp_path: Path) -> None:
    with open_matcher(tmp_path / "g", models) as matcher:
        matcher.enroll("ana", portrait("ana"))
    with open_matcher(tmp_path / "g", models) as matcher:
        assert matcher.identify(portrait("ana", 9))[0].name == "ana"


def altered(models: Path) -> None:
    path = models / "tiny-32.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def retrained(models: Path) -> None:
    kept = (models / "calibration.json").read_bytes()
    write_models(models, seed=1)
    (models / "calibration.json").write_bytes(kept)


@pytest.mark.parametrize(
    ("change", "options", "error", "match"),
    [
        (altered, {}, ModelError, "altered"),
        (lambda m: (m / "tiny-16.onnx").unlink(), {}, ModelError, "reinstall"),
        (lambda m: (m / "manifest.json").unlink(), {}, ModelError, "no models"),
        (lambda m: (m / "manifest.json").write_text('{"schema": 1, "models": []}'), {}, ModelError, "space"),
        (lambda m: (m / "calibration.json").unlink(), {}, CalibrationError, "calibrate"),
        (retrained, {}, CalibrationError, "not those of tiny-16"),
        (None, {"fpir": 0}, ArgumentError, "fpir"),
        (None, {"fpir": 1.5}, ArgumentError, "fpir"),
        (None, {"device": "tpu"}, ArgumentError, "choose one of"),
        (None, {"detector": "nowhere.onnx"}, ModelError, "nowhere.onnx"),
    ],
)
def test_what_cannot_be_opened_says_why_and_leaves_no_gallery(
    tmp_path: Path, change: object, options: dict[str, object], error: type[LrfaceError], match: str
) -> None:
    models = write_models(tmp_path / "models")
    if change is not None:
        change(models)  # type: ignore[operator]
    with pytest.raises(error, match=match):
        FaceMatcher.open(tmp_path / "g", models=models, **{"detector": TinyDetector(), **options})
    assert not (tmp_path / "g").exists()


def test_a_gallery_of_other_models_is_refused(models: Path, tmp_path: Path) -> None:
    with open_matcher(tmp_path / "g", models) as matcher:
        matcher.enroll("ana", portrait("ana"))
    for other in (write_models(tmp_path / "retrained", seed=1), write_models(tmp_path / "one network", levels=(16,))):
        with pytest.raises(ContractError, match=r"made by another model.*run `lrface gallery upgrade`"):
            open_matcher(tmp_path / "g", other)
    with open_matcher(tmp_path / "g", models) as matcher:
        assert matcher.identify(portrait("ana", 9))[0].name == "ana"


def test_threads_do_not_mix_up_results(models: Path, tmp_path: Path) -> None:
    people = ["ana", "bob", "cem", "dan"]
    errors: list[BaseException] = []
    with open_matcher(tmp_path / "g", models) as matcher:
        for name in people:
            matcher.enroll(name, portrait(name))

        def identify(name: str) -> None:
            try:
                for photo in range(25):
                    found = matcher.identify(scene((name, 10, 10, 40), (name, 120, 10, 20), photo=photo))
                    assert [f.name for f in found] == [name, name]
            except BaseException as error:
                errors.append(error)

        def enrol() -> None:
            try:
                for i in range(15):
                    matcher.enroll(f"new {i}", portrait(f"new {i}"))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=identify, args=(name,)) for name in people]
        threads.append(threading.Thread(target=enrol))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(matcher.gallery) == 19


def test_people_with_more_photos_need_more(models: Path, tmp_path: Path) -> None:
    """Strangers come closer to a mean of photos, so the likelier person is named, not the more similar one."""
    folder = write_models(tmp_path / "models")
    made = json.loads((folder / "calibration.json").read_text())
    for item in (curve for band in made["probes"] for curve in band["curves"] if curve["photos"] == 5):
        item["similarity"] = [value + 0.3 for value in item["similarity"]]
    (folder / "calibration.json").write_text(json.dumps(made))
    with open_matcher(tmp_path / "g", folder) as matcher:
        matcher.enroll("one", portrait("one"))
        matcher.enroll("many", [portrait("many", photo) for photo in range(5)])
        template = matcher.gallery.search_index().templates
        face = matcher.identify(portrait("one", 3))[0]
        assert face.name == "one"
        both = template.sum(axis=0) + 0.05 * template[1]
        probe = dataclasses.replace(face, embedding=(both / np.linalg.norm(both)).astype(np.float32))
        found = matcher.gallery.search(probe.embedding[None])[0]
        assert [match.name for match in found] == ["many", "one"]
        decided = matcher.decide(probe, found, matcher.gallery.search_index().population)
        assert [candidate.name for candidate in decided.candidates] == ["one", "many"]
        assert decided.false_match_rate == min(candidate.false_match_rate for candidate in decided.candidates)


def test_people_are_ranked_by_rate_when_the_right_one_is_sixth_by_cosine(tmp_path: Path) -> None:
    """Five strangers with many photos are closer; the right person, with one photo, is likelier by the curves."""
    folder = write_models(tmp_path / "models")
    made = json.loads((folder / "calibration.json").read_text())
    for item in (curve for band in made["probes"] for curve in band["curves"] if curve["photos"] == 5):
        item["similarity"] = [value + 0.3 for value in item["similarity"]]
    (folder / "calibration.json").write_text(json.dumps(made))
    rng = np.random.default_rng(0)
    probe, *others = np.linalg.qr(rng.standard_normal((DIM, 8)))[0].T.astype(np.float32)
    with open_matcher(":memory:", folder) as matcher:
        for i, other in enumerate(others[:6]):
            cosine, photos = (0.62, 1) if i == 5 else (0.7, 5)
            vector = (cosine * probe + np.sqrt(1 - cosine**2) * other).astype(np.float32)
            templates = [PhotoTemplate(f"{i}-{n}", 40.0, vector) for n in range(photos)]
            matcher.gallery.add("right" if i == 5 else f"stranger {i}", templates)
        assert [match.name for match in matcher.gallery.search(probe[None], 6)[0]][5] == "right"
        face = dataclasses.replace(matcher.analyze(portrait("anybody"))[0], embedding=probe)
        index = matcher.gallery.search_index()
        decided = matcher.decide(face, index.candidates(probe[None], CANDIDATES)[0], index.population)
    assert (decided.name, decided.reason) == ("right", Reason.MATCH)
    assert len(decided.candidates) == 5
    assert decided.candidates[0].similarity < min(candidate.similarity for candidate in decided.candidates[1:])


def test_the_likeness_of_all_people_moves_the_threshold_of_a_small_group(matcher: FaceMatcher) -> None:
    """Strangers at a camera are as close to three colleagues on a watch list as to everybody else of that place."""
    face = matcher.analyze(portrait("ana"))[0]
    match = Match("ana", 0.5, 1, "id", fpir=0.01, among=3)
    usual, alike = (
        matcher.decide(face, [match], Population(30, matcher.calibration.impostor_mean + more)) for more in (0.0, 0.2)
    )
    assert usual.threshold is not None
    assert alike.threshold == pytest.approx(usual.threshold + 0.2)
    assert "among 3 people" in str(alike.basis)


def test_an_identification_uses_one_state_of_the_gallery(matcher: FaceMatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    ask = matcher.gallery.search_index
    monkeypatch.setattr(matcher.gallery, "search_index", lambda: asked.append(1) or ask())
    found = matcher.identify(scene(("ana", 10, 10, 64), ("bob", 120, 10, 16), ("cem", 180, 10, 40), photo=9))
    assert [face.name for face in found] == ["ana", "bob", None]
    assert len(asked) == 1


def test_the_rate_follows_the_gallery_unless_it_was_given(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "g"
    with open_matcher(path, models) as matcher, open_matcher(path, models, fpir=0.2) as fixed:
        matcher.enroll("ana", portrait("ana"))
        thresholds = []
        for rate in (None, 0.1, 0.001):
            if rate is not None:
                with Gallery.open(path) as gallery:
                    gallery.set_fpir(rate)
            assert (matcher.fpir, fixed.fpir) == (rate or 0.01, 0.2)
            thresholds.append(matcher.identify(portrait("ana", 9))[0].threshold)
    assert thresholds == pytest.approx([0.45, 0.3, 0.55])


def test_a_rate_that_is_none_is_an_error_when_the_gallery_is_opened(models: Path, tmp_path: Path) -> None:
    with open_matcher(tmp_path / "g", models) as matcher:
        matcher.enroll("ana", portrait("ana"))
        matcher.gallery._store.set_fpir(7.0)
    with pytest.raises(GalleryError, match="lrface thresholds"):
        open_matcher(tmp_path / "g", models)
    with open_matcher(tmp_path / "g", models, fpir=0.01) as matcher:
        assert matcher.identify(portrait("ana", 9))[0].name == "ana"


def test_a_mistyped_name_makes_no_gallery(models: Path, tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="no such file"):
        open_matcher(tmp_path / "g", models, create=False)
    assert not list(tmp_path.iterdir())
    open_matcher(":memory:", models, create=False).close()
    with open_matcher(tmp_path / "g", models) as matcher:
        matcher.enroll("ana", portrait("ana"))
    with open_matcher(tmp_path / "g", models, create=False) as matcher:
        assert len(matcher.people()) == 1


@pytest.mark.parametrize(
    "options", [{"fpir": 7}, {"networks": "best"}, {"device": "tpu"}, {"detector": None, "min_face": 1}]
)
def test_wrong_arguments_are_value_errors_too(models: Path, root: Path, options: dict[str, object]) -> None:
    where = {"models": root / "models"} if "min_face" in options else {"models": models, "detector": TinyDetector()}
    with pytest.raises(LrfaceError) as caught:
        FaceMatcher.open(":memory:", **{**where, **options})
    assert isinstance(caught.value, ValueError)


def test_faces_without_a_gallery(models: Path) -> None:
    with open_matcher(":memory:", models) as matcher:
        found = matcher.analyze(scene(("ana", 150, 30, 40), ("bob", 10, 10, 16), ("cem", 90, 10, 4)))
    assert [(face.box[0], face.level, face.network, len(face.embedding)) for face in found] == [
        (10, 16, "tiny-16", DIM),
        (90, 16, "", 0),
        (150, 32, "tiny-32", DIM),
    ]


@pytest.mark.parametrize(("b", "width", "same"), [("ana", 112, True), ("ana", 16, True), ("bob", 112, False)])
def test_two_pictures_of_one_face_each(models: Path, b: str, width: int, same: bool) -> None:
    with open_matcher(":memory:", models) as matcher:
        one, two = portrait("ana", 0), portrait(b, 1, width)
        found, turned = matcher.verify(one, two), matcher.verify(png(two), png(one))
        loose = matcher.verify(one, two, max_false_match_rate=0.1)
        matcher.enroll("ana", one)
        known = matcher.identify(two)[0]
    assert found.same_person is bool(found) is same
    assert found.threshold == pytest.approx(0.55)
    assert loose.threshold == pytest.approx(0.3)
    assert (found.similarity, found.false_match_rate) == pytest.approx((known.similarity, known.false_match_rate))
    assert [face.native_px for face in found.faces] == [face.native_px for face in turned.faces[::-1]]
    assert found.explain().startswith("The same person: similarity" if same else "Not the same person: similarity")
    if width < 112:
        assert turned.similarity == pytest.approx(found.similarity)


@pytest.mark.parametrize(
    ("second", "match"),
    [
        (np.zeros((40, 40, 3), np.uint8), "second picture: no face"),
        (scene(("ana", 10, 10, 40), ("bob", 120, 10, 40)), "second picture: 2 faces"),
        (portrait("ana", width=4), "second picture is only"),
        (b"", "empty"),
    ],
)
def test_pictures_that_cannot_be_compared(models: Path, second: np.ndarray | bytes, match: str) -> None:
    with open_matcher(":memory:", models) as matcher:
        with pytest.raises(ImageError, match=match):
            matcher.verify(portrait("ana"), second)
        with pytest.raises(ImageError, match="both faces"):
            matcher.verify(portrait("ana", width=10), portrait("ana", width=10))
        with pytest.raises(ArgumentError, match="max_false_match_rate"):
            matcher.verify(portrait("ana"), portrait("ana"), max_false_match_rate=0)
