"""OpenVINO as a device: the same answers as onnxruntime for each model that ships, or an error that says what to do."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lrface.alignment import align_faces
from lrface.detection import open_detector
from lrface.embedding.embedders import Embedder
from lrface.errors import ArgumentError, LrfaceError, ProviderError
from lrface.models import onnxruntime_session, openvino_session, sessions
from lrface.models.manifest import Manifest
from lrface.models.openvino_session import OpenVinoSession
from lrface.models.sessions import open_session

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [ROOT / "models", ROOT / "models" / "float32"]
EMBEDDERS = [(folder, entry) for folder in FOLDERS for entry in Manifest.load(folder).embedders.values()]
COSINE = {"float32": 0.999999, "bfloat16": 0.999, "int8": 0.99}
"""Least cosine to onnxruntime's embedding. In int8 the two round the values between the layers differently."""
each_precision = pytest.mark.parametrize("chosen", ["float32", "by OpenVINO"])


@pytest.fixture
def precision(chosen: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a float32 file runs in: also tests float32 on processors on which OpenVINO would choose bfloat16."""
    if chosen == "float32":
        monkeypatch.setattr(openvino_session, "_own_choice", lambda core: "f32")
        return chosen
    return "bfloat16" if openvino_session._own_choice(openvino_session._core()) == "bf16" else "float32"


@cache
def crops(*photos: Path) -> np.ndarray:
    """Faces as cameras see them: 112 px wide and, enlarged again, 20."""
    found = []
    for photo in photos:
        image = cv2.imread(str(photo))
        for alignment in align_faces(open_detector().detect(image).landmarks):
            assert alignment is not None
            crop = alignment.crop(image)
            small = cv2.resize(crop, (20, 20), interpolation=cv2.INTER_AREA)
            found += [crop, cv2.resize(small, (112, 112), interpolation=cv2.INTER_CUBIC), crop[:, ::-1]]
    return np.stack(found)


@each_precision
@pytest.mark.parametrize(
    ("folder", "entry"), EMBEDDERS, ids=[f"{folder.name}-{entry.name}" for folder, entry in EMBEDDERS]
)
def test_embedders_agree_with_onnxruntime(
    folder: Path, entry: Any, precision: str, portrait: Path, stranger: Path
) -> None:
    faces = crops(portrait, stranger)
    usual, other = (Embedder(entry, folder, device) for device in ("cpu", "openvino"))
    in_file = usual.runs_on.removeprefix("cpu in ")
    used = "int8" if in_file == "int8" else precision
    assert other.runs_on == f"openvino in {used}"
    (expected, quality), (found, own) = usual.embed_with_quality(faces), other.embed_with_quality(faces)
    assert (expected * found).sum(axis=1).min() >= COSINE[used]
    np.testing.assert_allclose(own, quality, atol=1e-5 if used == "float32" else 0.03)
    alone = np.concatenate([other.embed(face[None]) for face in faces])
    assert (alone * found).sum(axis=1).min() >= COSINE["float32" if used == "float32" else "bfloat16"]


@each_precision
def test_detector_and_landmarks_agree_with_onnxruntime(precision: str, portrait: Path, stranger: Path) -> None:
    usual, other = (open_detector(device=device) for device in ("cpu", "openvino"))
    assert (other.runs_on, other.refiner.runs_on) == ("openvino in int8", f"openvino in {precision}")
    for photo in (portrait, stranger):
        image = cv2.imread(str(photo))
        for scale in (1.0, 0.25):  # the graph takes any size
            picture = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            expected, found = usual.detect(picture), other.detect(picture)
            assert len(expected) == len(found) == 1
            width = expected.boxes[0, 2] - expected.boxes[0, 0]
            np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.1 * width)
            np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=0.02 * width)
            np.testing.assert_allclose(found.scores, expected.scores, atol=0.02)


def test_bfloat16_is_not_used_where_it_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (ROOT / "models" / "lrface-8.onnx").read_bytes()
    has_it = openvino_session._own_choice(openvino_session._core()) == "bf16"
    monkeypatch.setattr(openvino_session, "_own_choice", lambda core: "bf16")
    monkeypatch.setattr(openvino_session, "LARGEST_ERROR", 1.0)
    # asked for, but said only where the processor has it
    assert open_session(data, None, "openvino").precision == ("bfloat16" if has_it else "float32")
    monkeypatch.setattr(openvino_session, "LARGEST_ERROR", -1.0)
    assert open_session(data, None, "openvino").precision == "float32"


def test_bfloat16_is_not_used_where_it_gives_another_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it can for a damaged graph."""
    real = OpenVinoSession.run

    def run(self: OpenVinoSession, names: Any, feeds: Any) -> Any:
        return [each[: len(each) // 2] if self.precision == "bfloat16" else each for each in real(self, names, feeds)]

    monkeypatch.setattr(OpenVinoSession, "run", run)
    monkeypatch.setattr(openvino_session, "_own_choice", lambda core: "bf16")
    data = (ROOT / "models" / "lrface-8.onnx").read_bytes()
    assert open_session(data, None, "openvino").precision == "float32"


def small(**how: Any) -> tuple[OpenVinoSession, onnxruntime_session.Session]:
    data = (ROOT / "models" / "lrface-landmarks.onnx").read_bytes()
    core = openvino_session._core()
    graph = open_session(data, None)
    return OpenVinoSession(core, core.read_model(data), "it", "openvino", "float32", 1, graph, **how), graph


@pytest.mark.parametrize("sizes", [(1, 4, 8), (1,), (3,), ()])
def test_batches_that_are_cut_and_filled_up_give_the_same(sizes: tuple[int, ...]) -> None:
    session, usual = small(sizes=sizes)
    rng = np.random.default_rng(0)
    for batch in (1, 2, 5, 8, 19):
        given = {"frames": rng.uniform(0, 255, (batch, 3, 48, 48)).astype(np.float32)}
        for found, expected in zip(session.run(None, given), usual.run(None, given), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-3)
    assert len(session._compiled) == max(len(sizes), 1)


def test_a_device_that_takes_one_shape_runs_a_graph_of_any_size() -> None:
    """The detector in float32, as an NPU runs it; here on the CPU."""
    data = (ROOT / "models" / "float32" / "lrface-detector.onnx").read_bytes()
    core, usual = openvino_session._core(), open_session(data, None)
    session = OpenVinoSession(core, core.read_model(data), "it", "openvino", "float32", 1, usual, any_shape=False)
    rng = np.random.default_rng(0)
    for batch, height in ((2, 64), (1, 96), (1, 64)):
        given = {"image": rng.uniform(0, 255, (batch, 3, height, 64)).astype(np.float32)}
        for found, expected in zip(session.run(None, given), usual.run(None, given), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-2)
    assert len(session._compiled) == 2


def test_threads_do_not_mix_their_runs() -> None:
    session, usual = small()
    rng = np.random.default_rng(0)
    given = [{"frames": rng.uniform(0, 255, (n % 3 + 1, 3, 48, 48)).astype(np.float32)} for n in range(6)]
    expected = [usual.run(["landmarks"], feeds)[0] for feeds in given]
    wrong: list[object] = []

    def work(own: int) -> None:
        for _ in range(20):
            found = session.run(["landmarks"], given[own])[0]
            session.run(["landmarks"], given[own - 1])  # must not change what was returned before
            if np.abs(found - expected[own]).max() > 1e-2:
                wrong.append(own)

    workers = [threading.Thread(target=work, args=(own,)) for own in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("device", "error", "said"),
    [
        ("openvino:gpu", ProviderError, "intel-opencl-icd.*device='openvino'"),
        ("openvino:npu", ProviderError, "NPU driver.*device='openvino'"),
        ("openvino:cpu", ArgumentError, "choose one of .*openvino:gpu"),
        ("openvino:gpu:1", ArgumentError, "choose one of"),
        ("auto:1", ArgumentError, "choose one of .* or auto"),
    ],
)
def test_devices_that_are_not_there(
    device: str, error: type[LrfaceError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_session, "openvino_devices", lambda: ["openvino"])
    with pytest.raises(error, match=said):
        open_detector(device=device)


def test_openvino_that_is_not_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise ImportError("No module named 'openvino'")

    monkeypatch.setattr("lrface.models.runtime.import_openvino", missing)
    openvino_session._core.cache_clear()
    try:
        assert openvino_session.openvino_devices() == []
        with pytest.raises(ProviderError, match=r"pip install 'lrface\[openvino\]', or use device='cpu'"):
            open_detector(device="openvino")
    finally:
        openvino_session._core.cache_clear()


def test_falling_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that was compiled for another device than the one that was asked for."""
    core = openvino_session._core()

    class Fallen:
        read_model = core.read_model
        get_property = core.get_property
        available_devices = ("CPU", "GPU.0", "GPU.1")

        def compile_model(self, model: Any, device: str, settings: dict[str, Any]) -> Any:
            assert device == "GPU"
            assert settings["INFERENCE_PRECISION_HINT"] == "f32"
            return core.compile_model(model, "CPU", {})

    monkeypatch.setattr(openvino_session, "_core", Fallen)
    with pytest.raises(ProviderError, match=r"fell back to \['CPU'\]"):
        open_session((ROOT / "models" / "lrface-8.onnx").read_bytes(), None, "openvino:gpu")


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({"cpu": 1.0, "openvino": 0.5, "openvino:gpu": 0.7}, "openvino"),
        ({"cpu": 1.0, "openvino": 0.5, "openvino:gpu": 0.2}, "openvino:gpu"),
        ({"cpu": 1.0, "openvino": 0.95, "openvino:gpu": 2.0}, "cpu"),  # no tenth saved
        ({"cpu": 1.0, "openvino": 0.95}, "cpu"),  # the GPU fails
    ],
)
def test_auto_takes_the_fastest_that_works(
    seconds: dict[str, float], best: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = open_session((ROOT / "models" / "lrface-8.onnx").read_bytes(), None)

    class Stub:
        precision = "float32"

        def __init__(self, device: str) -> None:
            self.device = device
            self.get_inputs, self.get_outputs, self.run = real.get_inputs, real.get_outputs, real.run

    def opened(data: bytes, name: str, device: str, threads: int) -> Stub:
        if device not in seconds:
            raise ProviderError(f"no {device}")
        return Stub(device)

    monkeypatch.setattr(sessions, "_open", opened)
    monkeypatch.setattr(sessions, "openvino_devices", lambda: ["openvino", "openvino:gpu"])
    monkeypatch.setattr(sessions, "_seconds", lambda session, given: seconds[session.device])
    with caplog.at_level("INFO"):
        assert open_session(b"", None, "auto").device == best
    assert f"device auto: {best} runs" in caplog.text


def test_auto_is_one_that_is_really_there() -> None:
    session = open_session((ROOT / "models" / "lrface-16.onnx").read_bytes(), None, "auto")
    assert session.device in ("cpu", "cuda", "coreml", *openvino_session.openvino_devices())
    assert session.precision == "int8"
