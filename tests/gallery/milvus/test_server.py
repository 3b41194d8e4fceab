"""A Milvus server that is not there, holds something else, or cannot do what is asked; also by the command line."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from milvus_server import MilvusServer
from shell import lrface, refused
from tiny_gallery import CONTRACT, names, photo, vector

from lrface.errors import ContractError, GalleryError, GalleryServerError
from lrface.gallery import Gallery


def test_a_server_that_dies_is_a_clear_error_and_found_again(tmp_path: Path) -> None:
    server = MilvusServer(tmp_path)
    server.start()
    try:
        with Gallery.open(server.url("staff"), CONTRACT) as gallery:
            gallery.add("Ana", [photo(1)])
            gallery.compact()
            server.kill()
            for call in (
                lambda: names(gallery, vector(1)),
                lambda: gallery.add("Bob", [photo(2)]),
                lambda: gallery.person("Ana"),  # who must not be taken for removed
            ):
                began = time.monotonic()
                with pytest.raises(GalleryServerError, match="no connection to the server"):
                    call()
                assert time.monotonic() - began < 30
            with pytest.raises(GalleryError, match="no connection to the server"):
                Gallery.open(server.url("staff"), CONTRACT)
            server.start()
            end = time.monotonic() + 30
            while True:
                try:
                    assert names(gallery, vector(1)) == ["Ana"]
                    break
                except GalleryError:
                    assert time.monotonic() < end, "it was not found again"
                    time.sleep(0.2)
            assert gallery.add("Bob", [photo(2)]) == 1
            assert gallery.verify() == []
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("milvus:///staff", "no host"),
        (Path("milvus://127.0.0.1/staff"), "no host"),
        ("milvus://127.0.0.1:19530", "collection"),
        ("milvus://127.0.0.1:19530/a/b", "collection"),
        ("milvus://127.0.0.1:19530/9a", "collection"),
        ("milvus://127.0.0.1:19530/staff__notes", "collection"),
        ("milvus://127.0.0.1:99999999/staff", "port"),
        ("milvus://secret@127.0.0.1/staff", "LRFACE_MILVUS_TOKEN"),
        ("milvus://root:se?cret@127.0.0.1/staff", "%3F"),
        ("milvus+tls://127.0.0.1:1/staff", "no connection"),
    ],
)
def test_urls_that_cannot_be_used(url: str | Path, match: str) -> None:
    with pytest.raises(GalleryError, match=match) as error:
        Gallery.open(url, CONTRACT)
    assert "cret" not in str(error.value)


def test_no_password_in_an_error(milvus: MilvusServer, monkeypatch: pytest.MonkeyPatch, caplog: object) -> None:
    with pytest.raises(GalleryError) as error:
        Gallery.open("milvus://root:sesame@127.0.0.1:1/staff", CONTRACT)
    monkeypatch.setenv("LRFACE_MILVUS_TOKEN", "sesame")
    with pytest.raises(GalleryError) as other:
        Gallery.open("milvus://127.0.0.1:1/staff", CONTRACT)
    with Gallery.open(milvus.url("staff"), CONTRACT) as gallery:
        shown = repr(gallery._store._connection.address)
    for text in (str(error.value), str(other.value), shown):
        assert "sesame" not in text


def test_collections_that_are_no_gallery(milvus: MilvusServer, url: str) -> None:
    with Gallery.open(url, CONTRACT) as gallery:
        gallery.add("Ana", [photo(1)])
    with pytest.raises(ContractError, match="another model"):
        Gallery.open(url, replace(CONTRACT, space="tiny-2"))
    with pytest.raises(GalleryError, match="cannot search what is encrypted"):
        Gallery.open(url, CONTRACT, key=bytes(32))
    for options in ({"create": False, "contract": CONTRACT}, {"contract": None}):
        with pytest.raises(GalleryError, match="no such collection"):
            Gallery.open(milvus.url("nobody"), **options)
    client = milvus.client()
    if not client.has_collection("other"):
        client.create_collection("other", dimension=8)
    with pytest.raises(GalleryError, match="not a gallery of lrface"):
        Gallery.open(milvus.url("other"), CONTRACT)
    before = client.list_collections()
    with Gallery.open(milvus.url("nobody"), CONTRACT) as empty:
        assert (len(empty), empty.people(), empty.fpir, empty.audit_log(), empty.verify()) == (0, [], None, [], [])
    assert client.list_collections() == before  # nothing was written, so nothing was made
    client.alter_collection_properties("staff", {"lrface.format": "2"})
    try:
        with pytest.raises(GalleryError, match="update lrface"):
            Gallery.open(url, CONTRACT)
    finally:
        client.alter_collection_properties("staff", {"lrface.format": "1"})


def test_a_collection_that_was_dropped_says_so(milvus: MilvusServer) -> None:
    """Whatever its name: "auth" is also in the message of a server that wants another password."""
    with Gallery.open(milvus.empty("authors"), CONTRACT) as gallery:
        gallery.add("Ana", [photo(1)])
        milvus.client().drop_collection("authors")
        with pytest.raises(GalleryError, match="not there any more"):
            gallery.add("Bob", [photo(2)])


def test_a_collection_that_other_models_made_anew(milvus: MilvusServer) -> None:
    """While a service has it open: its templates are not compared with the others, nor put among them."""
    url, client = milvus.empty("remade"), milvus.client()
    with Gallery.open(url, CONTRACT) as gallery:
        gallery.add("Ana", [photo(1)])
        assert names(gallery, vector(132)) == ["Ana"]
        for name in ("remade", "remade__notes"):
            client.drop_collection(name)
        with Gallery.open(url, replace(CONTRACT, space="tiny-2")) as other:
            other.add("Bob", [photo(2)])
            time.sleep(0.4)  # by then others' changes are seen
            for call in (lambda: names(gallery, vector(132)), lambda: gallery.add("Cem", [photo(3)])):
                with pytest.raises(ContractError, match="which was replaced"):
                    call()
            assert [person.name for person in other.people()] == ["Bob"]
    for name in ("remade", "remade__notes"):
        client.drop_collection(name)


def test_without_pymilvus_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(GalleryError, match=r"pip install 'lrface\[milvus\]'"):
        Gallery.open("milvus://127.0.0.1/staff", CONTRACT)


def test_what_a_server_cannot_do_says_so(gallery: Gallery, tmp_path: Path) -> None:
    gallery.add("Ana", [photo(1)])
    with pytest.raises(GalleryError, match="Milvus's own backup"):
        gallery.snapshot(tmp_path / "copy")
    assert not list(tmp_path.iterdir())


def test_the_command_line(milvus: MilvusServer, tmp_path: Path, portrait: Path) -> None:
    """With the bundled models."""
    place = milvus.url("seen")
    (tmp_path / "people" / "Eileen Collins").mkdir(parents=True)
    shutil.copy(portrait, tmp_path / "people" / "Eileen Collins" / "a.jpg")
    refused(lrface("identify", place, portrait), "no such collection", "seen on 127.0.0.1")
    done = lrface("enroll", place, tmp_path / "people", "--keep-crops")
    assert done.returncode == 0, done.stderr
    done = lrface("identify", place, portrait, "--json")
    assert json.loads(done.stdout)["faces"][0]["name"] == "Eileen Collins"
    refused(lrface("gallery", "upgrade", place), "new collection")
    assert "--data" in lrface("serve", "--gallery", place).stderr
    done = lrface("gallery", "remove", place, "Eileen Collins")
    assert done.stdout == "removed Eileen Collins (1 photos)\n"
    with Gallery.open(place) as gallery:
        assert [entry.action for entry in gallery.audit_log()][-1] == "person removed"
        assert len(gallery) == 0
