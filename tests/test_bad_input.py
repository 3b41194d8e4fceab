"""The issue's list of bad input, through the real command line: a result, or one clear line and exit code 1."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import zlib
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from shell import lrface, lrface_with_peak, refused

from lrface.models.manifest import models_folder
from lrface.models.writing import write_calibration


def odd_pictures(folder: Path, portrait: Path) -> list[Path]:
    """One person in every format that is unusual but sound."""
    colour = Image.open(portrait).convert("RGB")
    deep = cv2.imread(str(portrait)).astype(np.uint16) * 257
    cv2.imwrite(str(folder / "16bit-colour.png"), deep)
    cv2.imwrite(str(folder / "16bit-grey.png"), cv2.cvtColor(deep, cv2.COLOR_BGR2GRAY))
    colour.convert("L").save(folder / "grey.jpg")
    colour.convert("LA").save(folder / "grey-alpha.png")
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.quantize(256).save(folder / "palette.png")
    colour.convert("RGBA").save(folder / "alpha.webp")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    colour.transpose(Image.Transpose.ROTATE_90).save(folder / "exif-rotated.jpg", exif=exif)
    blank = Image.new("RGB", colour.size)
    for name in ("animated.gif", "animated.webp", "animated.png"):
        colour.save(folder / name, save_all=True, append_images=[blank, blank])
    return sorted(folder.iterdir())


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + crc + b"\x00\x00\x00\x08IDATxxxxxxxxyyyy"


def bad_pictures(folder: Path, portrait: Path) -> list[Path]:
    Image.open(portrait).convert("RGB").save(folder / "truncated.jpg", quality=90)
    whole = (folder / "truncated.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "truncated.png").write_bytes(portrait.read_bytes()[:100_000])
    (folder / "only-a-header.jpg").write_bytes(whole[:20])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not a picture")
    (folder / "huge.png").write_bytes(png_header(30_000, 30_000))
    (folder / "a-folder.jpg").mkdir()
    (folder / "a-folder.jpg" / "empty.png").write_bytes(b"")
    return [*sorted(folder.iterdir()), folder / "missing.jpg"]


def another_person(people: Path, portrait: Path) -> Path:
    """people/Another/photo.jpg: head and shoulders of the portrait, as another file."""
    (people / "Another").mkdir(parents=True)
    Image.open(portrait).convert("RGB").crop((60, 0, 400, 330)).save(people / "Another" / "photo.jpg")
    return people


def test_unusual_pictures_give_the_person(tmp_path, enrolled, portrait):
    pictures = odd_pictures(tmp_path, portrait)
    done = lrface("identify", enrolled, "--json", *pictures)
    assert done.returncode == 0, done.stderr
    seen = {Path(line["source"]).name: line["faces"] for line in map(json.loads, done.stdout.splitlines())}
    known = {name: [face for face in faces if face["name"]] for name, faces in seen.items()}
    assert {name: [face["name"] for face in faces] for name, faces in known.items()} == {
        path.name: ["Eileen Collins"] for path in pictures
    }
    x1, y1, x2, y2 = known["exif-rotated.jpg"][0]["box"]
    assert 178 < (x1 + x2) / 2 < 269  # in the picture as it is shown
    assert 65 < (y1 + y2) / 2 < 176


def test_bad_pictures_are_named_and_the_others_done(tmp_path, enrolled, portrait):
    pictures = bad_pictures(tmp_path, portrait)
    done, peak_mib = lrface_with_peak("identify", enrolled, "--json", "--out", tmp_path / "out", *pictures, portrait)
    refused(done, *(path.name for path in pictures), f"{len(pictures)} of {len(pictures) + 1} pictures")
    assert [json.loads(line)["source"] for line in done.stdout.splitlines()] == [str(portrait)]
    assert sorted(path.name for path in (tmp_path / "out" / "run-0001").iterdir()) == [
        "astronaut.jpg",
        "identifications.jsonl",
    ]
    assert peak_mib < 2000  # decoding the huge one would take 2,600


def test_bad_photos_at_enrolment_stop_nobody_else(tmp_path, portrait):
    people, gallery = tmp_path / "people", tmp_path / "new.gallery"
    for name in ("Broken", "Faceless", "Nobody"):
        (people / name).mkdir(parents=True)
    another_person(people, portrait)
    bad_pictures(people / "Broken", portrait)
    bad_pictures(people / "Another", portrait)
    cv2.imwrite(str(people / "Faceless" / "wall.jpg"), np.full((300, 300, 3), 127, np.uint8))
    done = lrface("enroll", gallery, people)
    refused(done, "no usable photo of Broken, Faceless, Nobody", "all others are enrolled")
    for refused_photo in ("truncated.jpg", "huge.png", "wall.jpg: no face found"):
        assert refused_photo in done.stdout
    listed = lrface("gallery", "list", gallery)
    assert listed.stdout == "Another\t1 photos\n"


@pytest.mark.parametrize(
    ("files", "word"),
    [(None, "No such file"), ([], "people/<name>"), (["loose.jpg"], "people/<name>"), (["Ada/"], "no photo")],
)
def test_folders_with_nobody_to_enrol(tmp_path, files, word):
    folder = tmp_path / "people"
    for file in files or []:
        folder.mkdir(exist_ok=True)
        (folder / file).mkdir() if file.endswith("/") else (folder / file).write_bytes(b"")
    if files == []:
        folder.mkdir()
    refused(lrface("enroll", tmp_path / "new.gallery", folder), word)


def test_what_is_left_out_of_a_folder_is_said(tmp_path, enrolled, portrait):
    shutil.copy(portrait, tmp_path / "astronaut.png")
    (tmp_path / "@eaDir").mkdir()
    shutil.copy(portrait, tmp_path / "@eaDir" / "astronaut.png")
    for name in ("._astronaut.png", "notes.txt", "clip.mov", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    done = lrface("identify", enrolled, "--json", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["source"] for line in done.stdout.splitlines()] == [str(tmp_path / "astronaut.png")]
    assert "2 not a picture" in done.stderr
    assert "notes.txt" in done.stderr
    assert "@eaDir" in done.stderr


def test_folder_without_pictures_to_identify(tmp_path, enrolled):
    refused(lrface("identify", enrolled, tmp_path), "no picture in this folder")


# -- models -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path) -> Path:
    return Path(shutil.copytree(models_folder(), tmp_path / "models"))


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", ["lrface-16.onnx", "lrface-112.onnx", "lrface-detector.onnx"])
def test_model_with_one_byte_changed(models, enrolled, portrait, file):
    flip_a_byte(models / file)
    refused(lrface("identify", enrolled, portrait, "--models", models), file, "altered", "reinstall lrface")
    refused(lrface("models", "verify", "--models", models), "reinstall lrface")


SPOILERS = {
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "no models at"),
    "manifest is no JSON": (lambda folder: (folder / "manifest.json").write_text("{"), "not JSON"),
    "no calibration": (lambda folder: (folder / "calibration.json").unlink(), "calibration"),
    "a digit of the calibration": (lambda folder: one_digit(folder / "calibration.json"), "altered"),
    "model is missing": (lambda folder: (folder / "lrface-16.onnx").unlink(), "lrface-16.onnx"),
    "no folder": (shutil.rmtree, "no models at"),
}


def one_digit(path: Path) -> None:
    """Another number, in range: nothing but the hash tells."""
    path.write_text(path.read_text("utf-8").replace("0.0", "0.1", 1), "utf-8")


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_spoiled_models_folder(models, enrolled, portrait, spoiler):
    spoil, word = SPOILERS[spoiler]
    spoil(models)
    refused(lrface("identify", enrolled, portrait, "--models", models), word)


def other_model(models: Path) -> None:
    """Gives the network of enrolment a doc string: the same graph, another file; manifest and calibration follow."""
    path = models / "lrface-112.onnx"
    before = sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes() + b"\x32\x05other")  # ModelProto.doc_string
    after = sha256(path.read_bytes()).hexdigest()
    manifest, calibration = ((models / name).read_text("utf-8") for name in ("manifest.json", "calibration.json"))
    assert before in manifest
    (models / "manifest.json").write_text(manifest.replace(before, after), "utf-8")
    write_calibration(models, json.loads(calibration.replace(before, after)))


def test_gallery_of_another_model(tmp_path, models, enrolled, portrait):
    other_model(models)
    gallery = shutil.copy(enrolled, tmp_path / "staff.gallery")
    people = another_person(tmp_path / "people", portrait)
    for command in (("identify", gallery, portrait), ("enroll", gallery, people)):
        refused(lrface(*command, "--models", models), "another model", "enrol")
    done = lrface("identify", gallery, portrait)
    assert "Eileen Collins" in done.stdout


# -- galleries --------------------------------------------------------------------------------------------------------

GALLERIES = {
    "missing": (None, "no gallery at"),
    "text": (b"not a gallery, a long text instead of one\n" * 99, "gallery"),
    "cut off": ("cut", ""),
}


@pytest.mark.parametrize("name", GALLERIES)
@pytest.mark.parametrize("command", ["identify", "gallery list"])
def test_bad_gallery(tmp_path, enrolled, portrait, name, command):
    content, word = GALLERIES[name]
    gallery = tmp_path / "bad.gallery"
    if content == "cut":
        content = enrolled.read_bytes()[:-9000]
    if content is not None:
        gallery.write_bytes(content)
    pictures = [portrait] if command == "identify" else []
    refused(lrface(*command.split(), gallery, *pictures), "bad.gallery", word)
    assert (gallery.read_bytes() if gallery.exists() else None) == content  # neither made nor changed nor emptied


def test_full_disk_during_enrolment_loses_nobody(tmp_path, enrolled, portrait):
    gallery = shutil.copy(enrolled, tmp_path / "staff.gallery")
    people = another_person(tmp_path / "people", portrait)
    limit = os.path.getsize(gallery) // 2
    done = lrface(
        "enroll", gallery, people, "--force", before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    refused(done, "staff.gallery")
    assert lrface("gallery", "list", gallery).stdout == "Eileen Collins\t1 photos\n"
    assert lrface("enroll", gallery, people, "--force").returncode == 0  # with room again


def test_removing_somebody_who_is_not_there(tmp_path, enrolled):
    gallery = shutil.copy(enrolled, tmp_path / "staff.gallery")
    refused(lrface("gallery", "remove", gallery, "Grace Hopper"), "Grace Hopper", "gallery list")
    assert lrface("gallery", "list", gallery).stdout.startswith("Eileen Collins")


# -- videos -----------------------------------------------------------------------------------------------------------

VIDEOS = {
    "missing.mp4": (None, "no such file"),
    "text.mp4": (b"a text file named mp4\n" * 99, "not a video"),
    "empty.mp4": (b"", "empty"),
    "folder.mp4": ("folder", "folder"),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_bad_video(tmp_path, enrolled, name):
    content, word = VIDEOS[name]
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    done = lrface("watch", enrolled, path, "--out", tmp_path / "out")
    refused(done, name, word)
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "shown"),
    [("250", "camera 250"), ("rtsp://admin:s3cret@127.0.0.1:9/live", "rtsp://***@127.0.0.1:9/live")],
)
def test_camera_that_does_not_answer(enrolled, source, shown):
    done = lrface("watch", enrolled, source)
    refused(done, shown)
    assert "s3cret" not in done.stderr + done.stdout


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--device", "tpu"), "unknown device"),
        (("--device", "coreml" if os.uname().sysname == "Linux" else "cuda:9"), "device"),
        (("--fpir", "0"), "fpir"),
        (("--fpir", "2"), "fpir"),
        (("--detector", "missing.onnx"), "missing.onnx"),
    ],
)
def test_bad_options(enrolled, portrait, options, word):
    refused(lrface("identify", enrolled, portrait, *options), word)


def test_out_is_a_file(tmp_path, enrolled, portrait):
    (tmp_path / "out").write_text("x")
    done = lrface("identify", enrolled, portrait, "--out", tmp_path / "out" / "deeper")
    refused(done, "choose another folder")
