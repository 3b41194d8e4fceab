"""The whole runtime on real pictures: with a network known to be good (which tests the chain), and with what ships."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lrface.detection import open_detector
from lrface.embedding.embedders import open_networks
from lrface.enrolment.portraits import cut_portrait
from lrface.inputs.images import read_image
from lrface.matcher import FaceMatcher
from lrface.models.manifest import Manifest, models_folder

# Who is where, from left to right, by both teachers together (see benchmarks/end_to_end.py); None was never enrolled.
PEOPLE = {
    "bbt1.jpg": ["raj", "leonard", "howard", "sheldon"],
    "bbt2.jpg": [None, "leonard", "sheldon"],
    "bbt3.jpg": ["sheldon", "howard", "penny", "raj", "leonard"],
    "bbt4.jpg": ["leonard", "amy", "raj", "penny", "sheldon", "bernadette"],
    "bbt5.jpg": ["raj", "penny", "sheldon", "leonard", "howard"],
}


@pytest.fixture(scope="session")
def edgeface(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the teacher EdgeFace-XS as an embedder of level 112."""
    folder = tmp_path_factory.mktemp("edgeface")
    shutil.copy(shared / "data" / "teachers" / "edgeface_xs.onnx", folder)
    sha256 = hashlib.sha256((folder / "edgeface_xs.onnx").read_bytes()).hexdigest()
    entry = {
        "name": "edgeface",
        "kind": "embedder",
        "level": 112,
        "file": "edgeface_xs.onnx",
        "sha256": sha256,
        "license": "non-commercial",
        "card": "",
        "template": "arcface-112",
        "space": "edgeface",
        "input": {"name": "input", "height": 112, "width": 112, "channels": "RGB", "mean": 127.5, "scale": 1 / 127.5},
        "output": {"name": "embedding", "dim": 512, "normalized": False},
    }
    (folder / "manifest.json").write_text(json.dumps({"schema": 1, "models": [entry]}))
    curve = {
        "photos": 1,
        "comparisons": 0,
        "fmr": [0.1, 0.001],
        "similarity": [0.15, 0.3],
        "tail": {"scale": 0.0325, "shape": 0.0},
    }
    (folder / "calibration.json").write_text(
        json.dumps({
            "schema": 3,
            "space": "edgeface",
            "people": 0,
            "models": {"edgeface": sha256},
            "enrolment": "edgeface",
            "impostor_mean": 0.0,
            "alignment_penalty": {"usual_error": 0.05, "rate": 6.0},
            "probes": [{"network": "edgeface", "widths": [0, None], "min_quality": None, "curves": [curve]}],
        })
    )  # fmt: skip
    return folder


def test_a_good_network_names_everybody(shared: Path, edgeface: Path) -> None:
    """Reading, detecting (YuNet), aligning, embedding, averaging, searching: a slip in any would cost names here."""
    cast = shared / "data" / "images" / "cast"
    with FaceMatcher.open(":memory:", models=edgeface, detector=yunet(shared)) as matcher:
        report = matcher.enroll_folder(cast / "enroll")
        assert [person.enrolled for person in report.people] == [5] * 8
        found = {name: [face.name for face in matcher.identify(cast / "probe" / name)] for name in PEOPLE}
    assert found == PEOPLE


def test_what_ships_finds_everybody_and_names_nobody_wrongly(shared: Path) -> None:
    """The bundled detector and networks: every face is found, and named rightly or left unknown."""
    cast = shared / "data" / "images" / "cast"
    reference = open_detector(yunet(shared))
    right = 0
    with FaceMatcher.open(":memory:") as matcher:
        assert matcher.enroll_folder(cast / "enroll").without_photo == ()
        for picture, names in PEOPLE.items():
            faces = matcher.identify(cast / "probe" / picture)
            boxes = reference.detect(read_image(cast / "probe" / picture)).boxes
            for box, name in zip(sorted(boxes.tolist()), names, strict=True):
                face = max(faces, key=lambda f: overlap(f.box, box), default=None)
                assert face is not None
                assert overlap(face.box, box) > 0.4, f"a face of {picture} is not found"
                assert face.name in (name, None), f"{picture}: {name} is called {face.name}"
                right += face.name is not None
    assert right >= 5  # 8 of 22 with the first students: faces of 60 to 140 px, which level 32 sees at 32


def yunet(shared: Path) -> Path:
    return shared / "data" / "detectors" / "yunet_n_dynamic.onnx"


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    both = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_portraits_that_lie_on_their_side_are_enrolled_as_if_upright(shared: Path, quarters: int) -> None:
    detector = open_detector()
    network = open_networks(Manifest.load(models_folder())).enrolment
    for photo in sorted((shared / "data" / "images" / "cast" / "enroll").glob("*/*.png")):
        picture = read_image(photo)
        turned = np.ascontiguousarray(np.rot90(picture, quarters))
        crops = [cut_portrait(each, "", detector).crop for each in (picture, turned)]
        one, other = network.embed(np.stack(crops))
        assert one @ other > 0.9, photo
