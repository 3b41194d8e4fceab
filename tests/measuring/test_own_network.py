"""`lrface models add`: a user's network becomes a models folder, or a message says why not."""

from __future__ import annotations

import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from lrface.cli.app import run
from lrface.decisions.calibration import Calibration
from lrface.errors import ArgumentError, EnrolmentError, LrfaceError, ModelError
from lrface.matcher import FaceMatcher
from lrface.measuring.own_network import Preprocessing, add_network
from lrface.models.manifest import Manifest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))
from tiny_models import TinyDetector, embedder_bytes, portrait, write_people

HOW = Preprocessing("RGB", 127.5, 1 / 127.5)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "my net (1).onnx"
    path.write_bytes(embedder_bytes(32))
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("own") / "people", {f"p{i}": 3 for i in range(24)} | {"alone": 1})


def test_a_network_is_added_calibrated_and_used(network: Path, people: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "models"
    added = add_network(network, folder, people, HOW, TinyDetector())
    assert (added.name, added.people, added.photos) == ("my-net-1", 24, 72)
    assert [why for photo, why in added.left_out if photo.endswith("alone")] == ["1 usable photos, 2 are needed"]
    manifest = Manifest.load(folder)
    assert all(status.ok for status in manifest.verify())
    assert manifest.enrolment.input.scale == pytest.approx(1 / 127.5)
    assert Calibration.of(manifest).people == 24
    assert sorted(path.name for path in folder.parent.iterdir()) == ["models"], "nothing half-made is left"
    with FaceMatcher.open(":memory:", models=folder, detector=TinyDetector()) as matcher:
        matcher.enroll("p1", portrait("p1"))
        named, stranger = (matcher.identify(portrait(name, photo=2))[0] for name in ("p1", "p2"))
    assert named.name == "p1"
    assert stranger.name is None


def test_nothing_is_replaced(network: Path, people: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "manifest.json").write_text("my own")
    with pytest.raises(ArgumentError, match="is there already"):
        add_network(network, folder, people, HOW, TinyDetector())
    assert (folder / "manifest.json").read_text() == "my own"


def shaped(inputs: list[object], outputs: list[object]) -> bytes:
    """A network that adds nothing to its input, of any shape; it is refused before or as it is run."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "shaped",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no network", r"x\.onnx is not an ONNX model"),
        (shaped(["n", 112, 112, 3], ["n", 112, 112, 3]), "channels last"),
        (shaped(["n", 3, 128, 128], ["n", 3, 128, 128]), "a side of 8 to 112"),
        (shaped(["n", 3, 112, 96], ["n", 3, 112, 96]), "a side of 8 to 112"),
        (shaped(["n", 512], ["n", 512]), "a side of 8 to 112"),
        (shaped([1, 3, 112, 112], [1, 3, 112, 112]), "exactly 1 faces at a time"),
        (shaped(["n", 3, 16, 16], ["n", 3, 16, 16]), r"\[2, dim\] is wanted"),
    ],
)
def test_a_file_that_is_no_embedder_is_refused(data: bytes, message: str, people: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=message):
        add_network(path, tmp_path / "models", people, HOW, TinyDetector())
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (replace(HOW, size=112), "takes faces of 32x32 pixels"),
        (replace(HOW, scale=0.0), "scale not 0"),
        (replace(HOW, mean=float("nan")), "finite"),
    ],
)
def test_preprocessing_is_checked(how: Preprocessing, message: str, network: Path, people: Path, tmp_path) -> None:
    with pytest.raises(ArgumentError, match=message):
        add_network(network, tmp_path / "models", people, how, TinyDetector())


def test_too_few_people_are_told_how_many_are_needed(network: Path, tmp_path: Path) -> None:
    few = write_people(tmp_path / "people", {f"p{i}": 2 for i in range(4)})
    with pytest.raises(EnrolmentError, match=r"holds 4 people .* at least 20 are needed"):
        add_network(network, tmp_path / "models", few, HOW, TinyDetector())
    with pytest.raises(LrfaceError, match="cannot read the folder"):
        add_network(network, tmp_path / "models", tmp_path / "none", HOW, TinyDetector())


@pytest.mark.parametrize("options", [[], ["--std", "0"], ["--std", "2", "--scale", "3"]])
def test_one_of_std_and_scale_is_wanted(options: list[str], network: Path, tmp_path: Path, capsys) -> None:
    arguments = ["models", "add", str(network), "--to", str(tmp_path / "m"), "--people", str(tmp_path)]
    assert run([*arguments, "--channels", "RGB", "--mean", "127.5", *options]) == 2
    assert "--std" in capsys.readouterr().err


def test_edgeface_is_added_on_the_command_line(shared: Path, tmp_path: Path, capsys) -> None:
    """24 people of LFW; other photos of those who are enrolled are named, and no stranger."""
    with zipfile.ZipFile(shared / "data" / "lfw" / "lfw-deepfunneled.zip") as pictures:
        files: dict[str, list[str]] = {}
        for name in sorted(pictures.namelist()):
            if name.endswith(".jpg"):
                files.setdefault(name.split("/")[1], []).append(name)
        chosen = [names[:2] for names in files.values() if len(names) >= 2][:24]
        for names in chosen:
            place = tmp_path / "people" / names[0].split("/")[1]
            place.mkdir(parents=True)
            for name in names:
                (place / name.split("/")[2]).write_bytes(pictures.read(name))
    arguments = [
        str(shared / "data" / "teachers" / "edgeface_xs.onnx"),
        "--to",
        str(tmp_path / "models"),
        "--size",
        "112",
    ]
    arguments += ["--people", str(tmp_path / "people"), "--channels", "RGB", "--mean", "127.5", "--std", "127.5"]
    assert run(["models", "add", *arguments, "--license", "non-commercial"]) == 0
    assert capsys.readouterr().out.startswith("edgeface_xs")
    assert run(["models", "verify", "--models", str(tmp_path / "models")]) == 0
    manifest = Manifest.load(tmp_path / "models")
    assert (manifest.enrolment.dim, manifest.enrolment.license) == (512, "non-commercial")
    people = sorted((tmp_path / "people").iterdir())
    for place in people[:8]:
        known = tmp_path / "known" / place.name
        known.mkdir(parents=True)
        min(place.iterdir()).rename(known / "1.jpg")
    with FaceMatcher.open(":memory:", models=tmp_path / "models") as matcher:
        matcher.enroll_folder(tmp_path / "known")
        enrolled = {person.name for person in matcher.people()}
        right = 0
        for place in people[:14]:
            face = max(matcher.identify(max(place.iterdir())), key=lambda face: face.native_px)
            assert face.name in ({place.name, None} if place.name in enrolled else {None})
            right += face.name == place.name
    assert right >= len(enrolled) - 2 >= 4
