"""Hostile names through a gallery: refused, or the same when read, and as a folder inside the folder it is put in.

`LRFACE_FUZZ_CASES=10000 pytest tests/fuzz/test_names.py` runs more cases than the 200 of every test run.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from tiny_gallery import CONTRACT, Gallery, photo

from lrface.errors import EnrolmentError, GalleryError

CASES = int(os.environ.get("LRFACE_FUZZ_CASES", "200"))
PARTS = [
    "ana",
    "Bob",
    "..",
    ".",
    "/",
    "\\",
    "C:",
    "con",
    "~",
    "%00",
    "$HOME",
    "`id`",
    "; rm",
    "\n",
    "\t",
    "\r",
    "\0",
    " ",
]
PARTS += [
    "\x1b[2J",
    "\x9b31m",
    "\u200b",
    "\u200d",
    "\u200c",
    "\u2060",
    "\ufeff",
    "\u3164",
    "\u200e",
    "\u202e",
    "\u2066",
]
PARTS += [
    "\U000e0041",
    "\ufe0f",
    "\u00ad",
    "\udcff",
    "\u2028",
    "\u00a0",
    "\u3000",
    "é",
    "e\u0301",
    "李",
    "علی",
    "👩",
    "🚀",
]
PARTS += ["'", '"', "--", "x" * 199, "\uff0f", "\u2215", "<b>", "NULL", "\ue000", "\u0301", "file:"]


def test_names(tmp_path: Path) -> None:
    rng = random.Random(28)
    target = tmp_path / "target"
    kept: set[str] = set()
    messages: list[str] = []
    with Gallery.open(tmp_path / "staff.gallery", CONTRACT) as gallery:
        for case in range(CASES):
            name = "".join(rng.choices(PARTS, k=rng.randint(1, 5)))
            if rng.random() < 0.2:
                name += chr(rng.randrange(0x110000))
            try:
                gallery.add(name, [photo(case)])
            except EnrolmentError as error:
                messages.append(str(error))
                refused_when_read(tmp_path / "hostile.gallery", name, messages)
                continue
            stored = gallery.owner(photo(case).sha256)
            assert stored is not None
            kept.add(stored)
            assert (target / stored).parent == target
            assert stored.isprintable() or "\u200d" in stored or "\u200c" in stored
            if case % 50 == 0:
                assert gallery.remove(name) >= 1
                kept.discard(stored)
    with Gallery.open(tmp_path / "staff.gallery") as again:
        assert {person.name for person in again.people()} == kept
        assert len(kept) > CASES // 50
    assert all(message.isprintable() for message in messages)


def refused_when_read(path: Path, name: str, messages: list[str]) -> None:
    """Somebody wrote it into a gallery all the same, with right checksums."""
    with Gallery.open(path, CONTRACT) as gallery:
        try:
            gallery._store.add(name, [photo(1)])
        except (UnicodeEncodeError, GalleryError):  # half a surrogate cannot be stored at all
            return
    with Gallery.open(path) as gallery:
        try:
            people = gallery.people()
        except GalleryError as error:
            messages.append(str(error))
        else:
            raise AssertionError(f"{name!a} was read as {people}")
    path.unlink()
