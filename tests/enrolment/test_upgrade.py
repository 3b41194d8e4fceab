"""A gallery of other models is brought to these: from photos found by their hash, or from kept crops."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_models import TinyDetector, open_matcher, write_models, write_people

from lrface.embedding.embedders import Embedder
from lrface.enrolment.upgrade import UpgradeReport, upgrade_gallery
from lrface.errors import ContractError, GalleryError
from lrface.gallery import Contract, Gallery
from lrface.gallery.store import Store
from lrface.models.manifest import Manifest


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return write_people(tmp_path / "people", {"ana": 2, "bob": 1})


def other_models(path: Path, crop: bytes | None = None) -> None:
    """As if another network had made the templates; with a `crop`, that is kept of every photo."""
    store = Store(path, None)
    rng = np.random.default_rng(0)
    templates = {}
    for person in store.read(lambda person: person).people.values():
        assert person is not None
        for photo in person.photos:
            vector = rng.standard_normal(store.contract.dim).astype(np.float32)
            made = dataclasses.replace(photo, embedding=vector / np.linalg.norm(vector))
            templates[photo.sha256] = made if crop is None else dataclasses.replace(made, crop=crop)
    store.upgrade(dataclasses.replace(store.contract, space="another"), templates)
    store.close()


def upgrade(path: Path, models: Path, *folders: Path, remove_missing: bool = False) -> UpgradeReport:
    manifest = Manifest.load(str(models))
    store = Store(path, None)
    try:
        embedder = Embedder(manifest.enrolment, manifest.folder)
        return upgrade_gallery(store, Contract.of(manifest), TinyDetector(), embedder, folders, remove_missing)
    finally:
        store.close()


def enrolled(models: Path, path: Path, people: Path, keep_crops: bool = False) -> np.ndarray:
    """A gallery of other models; returns the templates of these."""
    with open_matcher(path, models) as matcher:
        matcher.gallery.set_keep_crops(keep_crops)
        matcher.enroll_folder(people)
        templates = matcher.gallery.search_index().templates
    other_models(path)
    with pytest.raises(ContractError, match="lrface gallery upgrade"):
        open_matcher(path, models)
    return np.array(templates)


def test_from_photos_under_other_names(models: Path, people: Path, tmp_path: Path) -> None:
    path = tmp_path / "staff.gallery"
    templates = enrolled(models, path, people)
    people.rename(tmp_path / "archive")
    for number, file in enumerate(sorted((tmp_path / "archive").rglob("*.*"))):
        file.rename(file.with_name(f"renamed {number}.x"))
    report = upgrade(path, models, tmp_path / "archive")
    assert (report.people, report.photos, report.lost) == (2, 3, ())
    with open_matcher(path, models) as matcher:
        assert np.abs(matcher.gallery.search_index().templates - templates).max() < 1e-5
        assert matcher.gallery.verify() == []
    assert upgrade(path, models).photos == 0  # it is of these models now


def test_from_kept_crops(models: Path, people: Path, tmp_path: Path) -> None:
    path = tmp_path / "staff.gallery"
    templates = enrolled(models, path, people, keep_crops=True)
    assert upgrade(path, models).photos == 3
    with open_matcher(path, models) as matcher:
        assert np.abs(matcher.gallery.search_index().templates - templates).max() < 1e-5


@pytest.mark.parametrize("size", [(10, 10), (112, 56), (4000, 4000)])
def test_crops_of_wrong_sizes_are_no_crops(models: Path, people: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "staff.gallery"
    enrolled(models, path, people, keep_crops=True)
    other_models(path, bytes(cv2.imencode(".png", np.zeros((*size, 3), np.uint8))[1]))
    with pytest.raises(GalleryError, match="nothing was changed"):
        upgrade(path, models)


def test_crops_are_kept_only_where_somebody_chose_so(models: Path, people: Path, tmp_path: Path) -> None:
    path = tmp_path / "staff.gallery"
    with open_matcher(path, models) as matcher:
        matcher.enroll_folder(people)
        assert not any(photo.crop for photo in matcher.gallery.photos("ana"))
        matcher.gallery.remove("ana")
        matcher.gallery.set_keep_crops(True)
        matcher.enroll_folder(people)
        crop = matcher.gallery.photos("ana")[0].crop
        assert cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_COLOR).shape == (112, 112, 3)
        assert crop[-200:-100] in path.read_bytes()
        matcher.gallery.set_keep_crops(False)
        assert not any(photo.crop for photo in matcher.gallery.photos("ana"))
        assert matcher.gallery.verify() == []
    assert crop[-200:-100] not in path.read_bytes()


def test_nobody_is_lost_without_being_asked(models: Path, people: Path, tmp_path: Path) -> None:
    path = tmp_path / "staff.gallery"
    enrolled(models, path, people)
    before = path.read_bytes()
    with pytest.raises(GalleryError, match=r"no usable photo of bob.*--remove-missing.*nothing was changed"):
        upgrade(path, models, people / "ana")
    assert path.read_bytes() == before
    report = upgrade(path, models, people / "ana", remove_missing=True)
    assert (report.people, report.removed) == (1, ("bob",))
    with Gallery.open(path) as gallery:
        assert [person.name for person in gallery.people()] == ["ana"]
        assert gallery.verify() == []
