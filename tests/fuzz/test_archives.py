"""Damaged and hostile exports of galleries: each becomes a sound gallery, or is refused and leaves no file.

`LRFACE_FUZZ_CASES=10000 pytest tests/fuzz/test_archives.py --timeout 0` runs more cases than the 200 of every run.
"""

from __future__ import annotations

import os
import random
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from mutations import mutated
from tiny_gallery import CONTRACT, Gallery, photo, vector

from lrface.errors import LrfaceError
from lrface.gallery.archive import export_gallery, import_gallery
from lrface.gallery.settings import Group

CASES = int(os.environ.get("LRFACE_FUZZ_CASES", "200"))


def whole(folder: Path) -> dict[str, str]:
    """The files of a sound export."""
    with Gallery.open(folder / "whole.gallery", CONTRACT) as gallery:
        gallery.set_fpir(0.02)
        gallery.set_group("staff", Group(0.03, None, "2099-12-31"))
        for person in range(3):
            gallery.add(f"person {person}", [photo(3 * person + i) for i in range(1 + person)])
        gallery.set_tags("person 1", ["a tag"])
        gallery.set_groups("person 1", ["staff"])
        gallery.set_metadata("person 1", {"badge": 1})
        gallery.add_negative("person 1", vector(5000))
        export_gallery(gallery._store, folder / "whole.zip")
    with zipfile.ZipFile(folder / "whole.zip") as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def write_damaged(path: Path, files: dict[str, str], rng: random.Random) -> None:
    """Writes an export of which a file's JSON, one line of it, or the bytes of the archive are damaged."""
    broken = {name: text.encode() for name, text in files.items()}
    kind = rng.randrange(4)
    if kind < 3:
        name = rng.choice(sorted(files))
        lines = files[name].splitlines()
        at = rng.randrange(len(lines))
        new = [line.encode() for line in lines]
        new[at : at + 1] = rng.choice([[mutated(lines[at], rng)]] * 5 + [[], [new[at]] * 2])
        broken[name] = b"\n".join(new) + b"\n" * rng.randrange(3)
    if kind == 0 and rng.random() < 0.1:
        del broken[rng.choice(sorted(broken))]
    with zipfile.ZipFile(path, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for name, data in broken.items():
            archive.writestr(name, data)
    if kind == 3:
        raw = bytearray(path.read_bytes())
        for _ in range(rng.randint(1, 8)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        path.write_bytes(raw[: rng.randrange(len(raw))] if rng.random() < 0.2 else raw)


def test_damaged_exports(tmp_path: Path) -> None:
    files, ends = whole(tmp_path), Counter[str]()
    messages: list[str] = []
    archive, target = tmp_path / "broken.zip", tmp_path / "new.gallery"
    for case in range(CASES):
        write_damaged(archive, files, random.Random(case))
        started = time.process_time()
        try:
            import_gallery(archive, target)
        except LrfaceError as error:
            ends["refused"] += 1
            messages.append(str(error))
            assert not target.exists(), case
        else:
            ends["imported"] += 1
            with Gallery.open(target) as gallery:
                assert gallery.verify() == [], case
                gallery.people()
                gallery.search(np.ones((1, gallery.contract.dim), np.float32))
                gallery.expire()
                gallery.audit_log()
                export_gallery(gallery._store, tmp_path / "again.zip")
                (tmp_path / "again.zip").unlink()
            target.unlink()
        assert time.process_time() - started < 3, case
    assert ends["refused"] > CASES // 4, ends
    assert ends["imported"], ends
    assert all(message.isprintable() for message in messages)
