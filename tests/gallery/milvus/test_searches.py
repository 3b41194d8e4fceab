"""Searches in Milvus: the same answers as a file's, of one moment."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from tiny_gallery import CONTRACT, NEVER, names, photo, populate, soon, vector

from lrface.errors import GalleryError
from lrface.gallery import Gallery


def test_the_answers_are_those_of_a_file(gallery: Gallery, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "file.gallery", CONTRACT) as file:
        for each in (file, gallery):
            populate(each)
        probes = np.stack([vector(7), *(vector(500 + i, near=7) for i in range(4)), *(vector(i) for i in range(12))])
        there, here = gallery.search_index(), file.search_index()
        for one, other in zip(there.candidates(probes, 3), here.candidates(probes, 3), strict=True):
            assert [(m.name, m.photos, m.fpir, m.among) for m in sorted(one, key=str)] == [
                (m.name, m.photos, m.fpir, m.among) for m in sorted(other, key=str)
            ]
        for one, other in zip(gallery.search(probes, 5), file.search(probes, 5), strict=True):
            assert [m.name for m in one] == [m.name for m in other]
            assert [m.similarity for m in one] == pytest.approx([m.similarity for m in other], abs=1e-5)
        assert (len(there), there.people, there.names) == (len(here), here.people, here.names)
        assert (there.fpir, there.enrolled.photos) == (here.fpir, here.enrolled.photos)
        assert there.population.impostor_mean == pytest.approx(here.population.impostor_mean, abs=1e-6)
        near = [each.reaching(probes, lambda photos: np.full(len(probes), 0.1 * photos)) for each in (there, here)]
        assert near[0] == near[1]
        assert sum(near[0]) > 15
        assert [e.action for e in gallery.audit_log()] == [e.action for e in file.audit_log()]
        assert gallery.verify() == file.verify() == []


def test_whoever_searches_has_the_same_people_until_something_changes(gallery: Gallery, url: str) -> None:
    gallery.add("ana", [photo(1)])
    index = gallery.search_index()
    assert gallery.search_index() is index
    with Gallery.open(url, CONTRACT) as other:
        other.add("bob", [photo(2)])
    assert index.search(photo(2).embedding[None], 1)[0][0].name == "ana"  # of that moment
    soon(lambda: names(gallery, photo(2).embedding, 1), ["bob"])
    assert gallery.search_index() is not index


def test_who_is_searched_is_counted_while_others_enrol(gallery: Gallery) -> None:
    """Of somebody who is not searched today there are more photos than at the moment of the index."""
    gallery.add("Ana", [photo(1)])
    gallery.add("Bob", [photo(2)])
    gallery.set_retention("Bob", NEVER)
    index = gallery.search_index()
    gallery.add("Bob", [photo(3)])
    assert index.names == ["Ana"]
    assert index.enrolled.photos[1] >= 1


def test_another_day_is_another_list_of_people(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.add("Ana", [photo(1)])
    gallery.add("Bob", [photo(2)])
    gallery.set_retention("Ana", dt.date.today().isoformat())
    assert len(gallery.search_index()) == 2

    tomorrow = dt.date.today() + dt.timedelta(days=1)

    class Tomorrow(dt.date):
        @classmethod
        def today(cls) -> dt.date:
            return tomorrow

    monkeypatch.setattr("lrface.gallery.milvus.reader.dt.date", Tomorrow)
    assert names(gallery, photo(1).embedding) == ["Bob"]
    assert len(gallery.search_index()) == 1


def test_closed_by_another_thread(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a camera searches."""
    gallery.add("Ana", [photo(1)])
    index = gallery.search_index()
    client = gallery._store._connection._client
    search = client.search

    def closing(*values: object, **more: object) -> object:
        gallery.close()
        return search(*values, **more)

    monkeypatch.setattr(client, "search", closing)
    with pytest.raises(GalleryError, match="open it again"):
        index.search(vector(1)[None], 1)
