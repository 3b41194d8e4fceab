"""A named pipe, a device or an endless link wherever a user may name a file: an error at once, and nothing is made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tiny_gallery import CONTRACT, Gallery
from tiny_models import embedder_bytes

from lrface.cli import app
from lrface.errors import GalleryError

if not hasattr(os, "mkfifo"):
    pytest.skip("this system has no named pipes: run the test on Linux or macOS", allow_module_level=True)

ADD = "models add net.onnx --to new --people people --channels RGB --mean 127.5 --std 127.5"
PLACES = [
    "enroll SPECIAL people", "enroll new.gallery SPECIAL", "enroll new.gallery people --models SPECIAL",
    "enroll new.gallery people --detector SPECIAL", "identify SPECIAL photo.png", "identify GALLERY SPECIAL",
    "identify GALLERY photo.png --out SPECIAL", "watch GALLERY SPECIAL", "watch GALLERY SPECIAL.toml",
    "thresholds SPECIAL", "gallery list SPECIAL", "gallery verify SPECIAL", "gallery snapshot SPECIAL new.gallery",
    "gallery snapshot GALLERY SPECIAL", "gallery export GALLERY SPECIAL", "gallery export GALLERY SPECIAL --csv",
    "gallery import SPECIAL new.gallery", "gallery import new.zip SPECIAL", "gallery upgrade SPECIAL",
    "models list --models SPECIAL", "models verify --models SPECIAL", "demo --out SPECIAL",
    ADD.replace("net.onnx", "SPECIAL"), ADD.replace("new", "SPECIAL"), ADD.replace("people people", "people SPECIAL"),
]  # fmt: skip
waits_for_ever = pytest.mark.timeout(60)  # as a named pipe does that is opened to be read


@waits_for_ever
@pytest.mark.parametrize("words", PLACES)
def test_a_special_file_is_refused(tmp_path, monkeypatch, capfd, enrolled, portrait, words):
    monkeypatch.chdir(tmp_path)
    gallery = shutil.copy(enrolled, tmp_path / "staff.gallery")
    (tmp_path / "people" / "Ada").mkdir(parents=True)
    shutil.copy(portrait, tmp_path / "people" / "Ada")
    shutil.copy(portrait, tmp_path / "photo.png")
    Path("net.onnx").write_bytes(embedder_bytes(32))
    suffix = ".toml" * ("SPECIAL.toml" in words)
    os.mkfifo(f"pipe{suffix}")
    Path(f"loop{suffix}").symlink_to(f"loop{suffix}")
    Path(f"zero{suffix}").symlink_to("/dev/zero")
    before = sorted(tmp_path.rglob("*"))
    for special in ("pipe", "loop", "zero"):
        called = words.replace("GALLERY", str(gallery)).replace("SPECIAL", special)
        assert app.run(called.split()) == 1, called
        err = capfd.readouterr().err
        assert special in err
        assert "lrface: " in err.splitlines()[-1]
        assert "Traceback" not in err
        assert sorted(tmp_path.rglob("*")) == before, called


@waits_for_ever
@pytest.mark.parametrize("key", ["pipe", "loop", "/dev/zero", "a\0b"])
def test_a_key_is_read_from_a_file_only(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    monkeypatch.delenv("LRFACE_GALLERY_KEY", raising=False)
    monkeypatch.setattr(os, "environ", os.environ | {"LRFACE_GALLERY_KEY_FILE": key})  # no real one can hold a NUL
    with pytest.raises(GalleryError, match="check LRFACE_GALLERY_KEY_FILE"):
        Gallery.open(tmp_path / "staff.gallery", CONTRACT)
