"""Export and import of a gallery in Milvus, and the crops it keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from milvus_server import MilvusServer
from tiny_gallery import CONTRACT, names, photo, populate, vector

from lrface.errors import GalleryError
from lrface.gallery import Gallery
from lrface.gallery.archive import export_gallery, import_gallery
from lrface.gallery.milvus import store, turns
from lrface.gallery.milvus.connection import Connection


def test_export_and_import_keep_everything(gallery: Gallery, milvus: MilvusServer, tmp_path: Path) -> None:
    populate(gallery)
    assert export_gallery(gallery._store, tmp_path / "a.zip") == 22
    with pytest.raises(GalleryError, match="somebody is in"):
        import_gallery(tmp_path / "a.zip", milvus.url("staff"))
    copy = milvus.empty("copied")
    for target in (copy, tmp_path / "file.gallery"):
        assert import_gallery(tmp_path / "a.zip", target) == 22
        with Gallery.open(target, CONTRACT) as new:
            assert new.people() == gallery.people()
            assert (new.fpir, new.groups()) == (gallery.fpir, gallery.groups())
            assert new.verify() == []
            assert names(new, vector(7)) == names(gallery, vector(7))


def test_an_import_that_was_interrupted_is_begun_again(
    gallery: Gallery, milvus: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        gallery.add(f"p{number}", [photo(number)])
    export_gallery(gallery._store, tmp_path / "a.zip")
    copy = milvus.empty("copied")
    with monkeypatch.context() as patch:
        patch.setattr(store, "_REQUEST", 0)
        patch.setattr(turns.Turn, "renew", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            import_gallery(tmp_path / "a.zip", copy)
    with Gallery.open(copy, CONTRACT) as opened, pytest.raises(GalleryError, match="import again"):
        opened.search_index()
    assert import_gallery(tmp_path / "a.zip", copy) == 3
    with Gallery.open(copy, CONTRACT) as opened:
        assert opened.verify() == []
        assert len(opened) == 3


def test_an_import_with_crops_is_sent_in_parts(
    gallery: Gallery, milvus: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server refuses a request of more than 64 MiB."""
    gallery.set_keep_crops(True)
    for number in range(3):
        own = [photo(100 * number + i) for i in range(30)]
        gallery.add(f"p{number}", [replace(each, crop=bytes(40_000)) for each in own])
    export_gallery(gallery._store, tmp_path / "a.zip")
    sizes, commit = [], Connection.commit

    def measured(connection: Connection, rows: list[dict[str, str]]) -> None:
        sizes.append(sum(len(row["blob"]) for row in rows))
        commit(connection, rows)

    monkeypatch.setattr(Connection, "commit", measured)
    copy = milvus.empty("copied")
    assert import_gallery(tmp_path / "a.zip", copy) == 3
    assert max(sizes) < 2 * 2**20 < sum(sizes)
    with Gallery.open(copy, CONTRACT) as new:
        assert [len(p.crop) for person in new.everybody() for p in person.photos] == 90 * [40_000]
        assert new.verify() == []


def test_crops_are_kept_and_deleted(gallery: Gallery) -> None:
    gallery.add("Ana", [replace(photo(1), crop=b"a picture")])
    gallery.set_keep_crops(True)
    gallery.add("Ana", [replace(photo(2), crop=b"a picture")])
    assert [p.crop for p in gallery.photos("Ana")] == [b"", b"a picture"]
    gallery.set_keep_crops(False)
    assert [p.crop for p in gallery.photos("Ana")] == [b"", b""]
    assert gallery.verify() == []


def test_crops_that_an_interrupted_call_left_are_deleted(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.set_keep_crops(True)
    gallery.add("Ana", [replace(photo(1), crop=b"a picture")])
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "all", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            gallery.set_keep_crops(False)
    gallery.set_keep_crops(False)
    assert [p.crop for p in gallery.photos("Ana")] == [b""]
    assert gallery.verify() == []
