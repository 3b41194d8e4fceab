"""Export and import keep everything; what is no export is refused and leaves nothing behind."""

from __future__ import annotations

import csv
import json
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_gallery import CONTRACT, names, photo, vector

from lrface.errors import GalleryError
from lrface.gallery import Gallery
from lrface.gallery.archive import export_gallery, import_gallery, write_csv
from lrface.gallery.settings import Group
from lrface.gallery.store import Store

KEY = bytes(range(32))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    path = tmp_path / "staff.gallery"
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("Zoë", [photo(1), photo(2)])
        gallery.add("=1+1", [photo(3)])
        gallery.set_group("staff", Group(fpir=0.05, valid_until="2999-01-01"))
        gallery.set_groups("Zoë", ["staff"])
        gallery.set_metadata("Zoë", {"room": [1, {"x": None}]})
        gallery.set_retention("Zoë", "2999-02-01")
        gallery.add_negative("Zoë", vector(9))
        gallery.set_fpir(0.02)
    return Store(path, None)


@pytest.mark.parametrize("key", [None, KEY])
def test_everything_comes_back(
    store: Store, tmp_path: Path, key: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export_gallery(store, tmp_path / "a.zip") == 2
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / "a.zip").stat().st_mode) == 0o600
    if key:
        monkeypatch.setenv("LRFACE_GALLERY_KEY", key.hex())
    assert import_gallery(tmp_path / "a.zip", tmp_path / "new.gallery") == 2
    with Gallery.open(tmp_path / "new.gallery", CONTRACT) as new:
        assert [(p.id, p.name, p.details.metadata, p.photos) for p in store.people()] == [
            (p.id, p.name, p.metadata, p.photos) for p in new.people()
        ]
        assert (new.fpir, new.groups(), new.person("Zoë").groups) == (0.02, store.settings().groups, ("staff",))
        assert names(new, photo(3).embedding, 1) == ["=1+1"]
        assert new.owner(photo(2).sha256) == "Zoë"
        assert new.verify() == []
        assert [p.added for p in new.photos("Zoë")] == [p.added for p in store.person("Zoë").photos]
    assert ("Zoë".encode() in (tmp_path / "new.gallery").read_bytes()) is (key is None)
    for again in (
        lambda: export_gallery(store, tmp_path / "a.zip"),
        lambda: import_gallery(tmp_path / "a.zip", tmp_path / "new.gallery"),
    ):
        with pytest.raises(GalleryError, match=r"already|exists"):
            again()


def test_a_table_of_who_is_enrolled(store: Store, tmp_path: Path) -> None:
    write_csv(store, tmp_path / "people.csv")
    with (tmp_path / "people.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["photos"], row["groups"]) for row in rows] == [("'=1+1", "1", ""), ("Zoë", "2", "staff")]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda header, people: header.update(version=2), "update lrface"),
        (lambda header, people: header.update(format="x"), "not a gallery's export"),
        (lambda header, people: header.update(people=7), "no whole export"),
        (lambda header, people: header.update(fpir=7), "no whole export"),
        (lambda header, people: header["contract"].update(dim=3), "no whole export"),
        (lambda header, people: people[0].update(name="../x"), "no whole export"),
        (lambda header, people: people[0].update(photos=[]), "no whole export"),
        (lambda header, people: people[0].update(id="1"), "no whole export"),
        (lambda header, people: people[0]["photos"][0].update(embedding="x"), "no whole export"),
        (lambda header, people: people[0].pop("tags"), "no whole export"),
        (lambda header, people: people[1].update(name=people[0]["name"]), "twice"),
        (lambda header, people: people[1].update(photos=people[0]["photos"]), "twice"),
    ],
)
def test_what_is_no_export(
    store: Store, tmp_path: Path, change: Callable[[dict[str, object], list[dict[str, object]]], object], match: str
) -> None:
    export_gallery(store, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        header = json.loads(archive.read("gallery.json"))
        people = [json.loads(line) for line in archive.read("people.jsonl").splitlines()]
    change(header, people)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("gallery.json", json.dumps(header))
        archive.writestr("people.jsonl", "\n".join(map(json.dumps, people)))
    with pytest.raises(GalleryError, match=match):
        import_gallery(tmp_path / "b.zip", tmp_path / "new.gallery")
    assert not (tmp_path / "new.gallery").exists()


def test_the_paths_in_the_wrong_order_are_told(store: Store, tmp_path: Path) -> None:
    export_gallery(store, tmp_path / "a.zip")
    with pytest.raises(GalleryError, match="new gallery, whose path comes after the export's"):
        import_gallery(tmp_path / "staff.gallery", tmp_path / "a.zip")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"\0" * 100])
def test_files_of_others(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    for source in (tmp_path / "a.zip", tmp_path / "missing.zip", tmp_path):
        with pytest.raises(GalleryError, match=r"no whole export|cannot read"):
            import_gallery(source, tmp_path / "new.gallery")
    assert not (tmp_path / "new.gallery").exists()


def test_an_encrypted_gallery_is_not_exported_in_the_clear(tmp_path: Path) -> None:
    store = Store(tmp_path / "staff.gallery", CONTRACT, key=KEY)
    with pytest.raises(GalleryError, match="snapshot"):
        export_gallery(store, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
