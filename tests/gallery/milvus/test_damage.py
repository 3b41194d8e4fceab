"""Rows in Milvus that somebody has altered, and what is left on the server's disk."""

from __future__ import annotations

import pytest
from milvus_server import MilvusServer
from tiny_gallery import names, photo, vector

from lrface.errors import GalleryError, GalleryInUseError
from lrface.gallery import Gallery
from lrface.gallery.milvus.reader import MilvusReader


def test_nothing_of_a_removed_person_is_left_on_the_servers_disk(gallery: Gallery, milvus: MilvusServer) -> None:
    """Once it has compacted its files, which milvus-lite does where there are four of a size."""
    traces = [b"Anastasia", b"Persephone", b"left-handed"]

    def held() -> set[bytes]:
        files = [file.read_bytes() for file in (milvus.folder / "data").rglob("*") if file.is_file()]
        return {trace for trace in traces for content in files if trace in content}

    gallery.add("Anastasia", [photo(1), photo(2)])
    gallery.set_tags("Anastasia", ["left-handed"])
    gallery.compact()
    assert held() == {*traces} - {b"Persephone"}  # it would be found
    gallery.rename("Anastasia", "Persephone")
    gallery.remove("Persephone")
    for number in range(12):
        gallery.add(f"person {number}", [photo(1000 + number)])
        gallery.compact()
        if not held():
            return
    assert held() == set()


def test_a_template_that_is_altered_is_noticed(gallery: Gallery, milvus: MilvusServer) -> None:
    gallery.add("Ana", [photo(1)])
    gallery.add("Bob", [photo(2), photo(3)])
    client = milvus.client()
    (row,) = client.query("staff", filter='name == "Bob"', output_fields=["*"])
    client.upsert("staff", [{**row, "vector": [float(v) for v in vector(5)]}])
    assert [(entry.name, entry.reason) for entry in gallery.verify()] == [
        ("Bob", "the template is not the mean of the photos")
    ]
    with pytest.raises(GalleryError, match=r"damaged.*Bob"):
        gallery.photos("Bob")
    with pytest.raises(GalleryError, match=r"damaged.*Bob"):
        gallery.add("Bob", [photo(4)])
    assert [entry.name for entry in gallery.remove_damaged()] == ["Bob"]
    assert gallery.verify() == []
    assert [p.name for p in gallery.people()] == ["Ana"]
    assert gallery.search_index().population.size == 1


def test_a_damaged_person_is_removed_like_any_other(
    gallery: Gallery, milvus: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says who is gone, so that a service erases what it has kept. Nobody whole is taken for damaged."""
    gallery.add("Ana", [photo(1)])
    gallery.add("Bob", [photo(2), photo(3)])
    bob = gallery.person("Bob").id
    client = milvus.client()
    (row,) = client.query("staff", filter='name == "Bob"', output_fields=["*"])
    client.upsert("staff", [{**row, "vector": [float(v) for v in vector(5)]}])
    assert gallery.remove("Bob") == 2
    assert [(e.action, e.person) for e in gallery.audit_log(most=1)] == [("person removed", bob)]
    assert gallery.verify() == []

    def late(*_: object) -> None:
        raise GalleryInUseError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(MilvusReader, "_find", late)
        with pytest.raises(GalleryInUseError):
            gallery.remove("Ana")
    assert [person.name for person in gallery.people()] == ["Ana"]


def test_an_altered_log_is_noticed(gallery: Gallery, milvus: MilvusServer) -> None:
    gallery.add("Ana", [photo(1)])
    gallery.add("Bob", [photo(2)])
    client = milvus.client()
    client.delete("staff__notes", filter='key == "entry 1"')
    (entry,) = gallery.verify()
    assert "audit log" in entry.reason
    gallery.remove_damaged()
    assert gallery.verify() == []
    assert len(gallery) == 2


def test_a_name_that_may_be_none_is_not_shown(gallery: Gallery, milvus: MilvusServer) -> None:
    """Whoever may write to the collection may write anything."""
    gallery.add("Ana", [photo(1)])
    client = milvus.client()
    (row,) = client.query("staff", filter='name == "Ana"', output_fields=["*"])
    client.upsert("staff", [{**row, "name": "\x1b[31mAna"}])
    for call in (gallery.people, lambda: gallery.people(most=5), lambda: names(gallery, vector(1))):
        with pytest.raises(GalleryError, match=r"damaged.*U\+001B"):
            call()
    assert len(gallery.remove_damaged()) == 1
    assert gallery.people() == []
