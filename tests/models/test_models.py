from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shell import ENVIRONMENT
from tiny_models import embedder_bytes, external_data_model, write_models

from lrface.errors import ArgumentError, ModelError, ProviderError
from lrface.models import sessions
from lrface.models.manifest import Manifest
from lrface.models.sessions import open_session, read_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_models(tmp_path / "models")


def edit(folder: Path, change: Any) -> None:
    data = json.loads((folder / "manifest.json").read_text())
    change(data)
    (folder / "manifest.json").write_text(json.dumps(data))


def test_the_manifest_is_read(folder: Path) -> None:
    def add_detector(data: dict[str, Any]) -> None:
        data["models"].append(
            {
                "name": "d",
                "kind": "detector",
                "file": "d.onnx",
                "sha256": "0" * 64,
                "license": "l",
                "card": "c",
                "input": {"name": "image", "channels": "BGR", "mean": 0, "scale": 1, "multiple": 32},
                "output": {"boxes": "boxes", "scores": "scores", "landmarks": "landmarks"},
                "score_threshold": 0.5,
            }
        )
        data["models"].append({"kind": "of a later lrface"})

    edit(folder, add_detector)
    manifest = Manifest.load(folder)
    assert list(manifest.embedders) == [16, 32]
    assert manifest.embedders[16].input.height == 16
    assert manifest.embedders[16].input.scale == 0.0078125
    assert (manifest.detector.input.multiple, manifest.detector.scores) == (32, "scores")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d.update(schema=2), "schema 2"),
        (lambda d: d.pop("schema"), "schema None"),
        (lambda d: d.pop("models"), "no 'models'"),
        (lambda d: d["models"][0].pop("sha256"), "missing required field `sha256`"),
        (lambda d: d["models"][0].update(sha256="abc"), "sha256"),
        (lambda d: d["models"][0].update(file="../evil.onnx"), "leaves the models folder"),
        (lambda d: d["models"][0].update(file="/etc/passwd"), "leaves the models folder"),
        (lambda d: d["models"][0].update(file="..\\evil.onnx"), "leaves the models folder"),
        (lambda d: d["models"][0].update(file="C:evil.onnx"), "leaves the models folder"),
        (lambda d: d["models"][0].update(file=""), "leaves the models folder"),
        (lambda d: d["models"][0].update(level=32), "level"),
        (lambda d: d["models"][0].update(level="many"), "malformed"),
        (lambda d: d["models"][0].update(template="other"), "template"),
        (lambda d: d["models"][0]["input"].update(channels="HSV"), "HSV"),
        (lambda d: d["models"].append(dict(d["models"][0])), "two embedders"),
        (lambda d: d.update(models=5), "malformed"),
        (lambda d: d["models"][0].update(level=float("inf")), "not JSON"),
        (lambda d: d["models"][0].update(file="a\0b.onnx"), "leaves the models folder"),
        (lambda d: d["models"][0]["input"].update(scale=float("nan")), "not JSON"),
        (lambda d: d["models"][0]["input"].update(scale=10**400), "scale"),
        (lambda d: d["models"][0]["input"].update(multiple=-5), "multiple"),
        (lambda d: d["models"][0]["output"].update(dim=10**9), "dim"),
    ],
)
def test_a_malformed_manifest(folder: Path, change: Any, match: str) -> None:
    edit(folder, change)
    with pytest.raises(ModelError, match=match):
        Manifest.load(folder)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "\udcff"])
def test_no_manifest(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ModelError, match=r"reinstall|update"):
        Manifest.load(tmp_path)


def test_a_hostile_manifest_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    for text in ("[" * 200_000, '{"schema": ' + "[" * 200_000, '{"schema": 1' + "0" * 100_000 + "}"):
        path.write_text(text)
        with pytest.raises(ModelError, match=r"not JSON|schema"):
            Manifest.load(tmp_path)
    path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(ModelError, match="regular file"):
            Manifest.load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="cannot read the model"):
        read_model(tmp_path / "m.onnx", None)


def test_verify_names_the_missing_and_the_altered(folder: Path) -> None:
    manifest = Manifest.load(folder)
    assert [status.ok for status in manifest.verify()] == [True, True]
    data = bytearray((folder / "tiny-16.onnx").read_bytes())
    data[-1] ^= 1
    (folder / "tiny-16.onnx").write_bytes(data)
    (folder / "tiny-32.onnx").unlink()
    first, second = manifest.verify()
    assert not first.ok
    assert "altered" in first.detail
    assert not second.ok
    assert "cannot read" in second.detail


def test_without_a_detector_the_error_says_the_fix(folder: Path) -> None:
    with pytest.raises(ModelError, match="by path"):
        _ = Manifest.load(folder).detector


def test_one_byte_changed_is_refused_wherever_it_is(tmp_path: Path) -> None:
    data = embedder_bytes(16)
    sha256 = hashlib.sha256(data).hexdigest()
    for place in np.random.default_rng(0).integers(0, len(data), 20):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(ModelError, match="altered"):
            open_session(bytes(changed), sha256)
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    assert open_session(path, sha256).get_inputs()[0].name == "faces"
    assert open_session(path, sha256.upper())
    path.write_bytes(data[:-1])
    with pytest.raises(ModelError, match="altered"):
        open_session(path, sha256)


def test_the_bytes_that_were_hashed_are_the_bytes_that_are_loaded(tmp_path: Path, monkeypatch: Any) -> None:
    """The file is read once: what is swapped in after the check is never loaded."""
    path = tmp_path / "m.onnx"
    path.write_bytes(embedder_bytes(16, dim=8))
    reads = []
    original = sessions.read_regular

    def swap(path: Path) -> bytes:
        data = original(path)
        reads.append(path)
        path.write_bytes(embedder_bytes(16, dim=9))
        return data

    monkeypatch.setattr(sessions, "read_regular", swap)
    session = open_session(path, hashlib.sha256(original(path)).hexdigest())
    assert session.get_outputs()[0].shape[-1] == 8
    assert reads == [path]


@pytest.mark.parametrize("device", ["cpu", "openvino", "auto"])
@pytest.mark.parametrize("data", [b"", b"not onnx", embedder_bytes(16)[:500]])
def test_bytes_that_are_no_model(data: bytes, device: str) -> None:
    with pytest.raises(ModelError, match="not an ONNX model"):
        open_session(data, None, device)


def test_weights_in_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = external_data_model(tmp_path)
    monkeypatch.chdir(tmp_path)  # where onnxruntime would look for them
    with pytest.raises(ModelError, match="other files"):
        open_session(path, None)


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_weights_in_other_files_are_not_found_by_an_overlong_key(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key's length as a varint of two bytes: legal, read by onnxruntime, not seen by a search for the usual one."""
    data = external_data_model(tmp_path).read_bytes()
    # each message around the key grows by a byte; onnx itself would write the key's length in one
    from onnx import ModelProto

    model = ModelProto.FromString(data)
    tensor = model.graph.initializer[0]
    entries = b""
    for item in tensor.external_data:
        key, value = item.key.encode(), item.value.encode()
        length = bytes([len(key) | 0x80, 0]) if item.key == "location" else bytes([len(key)])
        inner = b"\x0a" + length + key + b"\x12" + bytes([len(value)]) + value
        entries += b"\x6a" + bytes([len(inner)]) + inner
    tensor.ClearField("external_data")
    tail = tensor.SerializeToString() + entries
    model.graph.ClearField("initializer")
    graph = model.graph.SerializeToString() + b"\x2a" + varint(len(tail)) + tail
    model.ClearField("graph")
    crafted = model.SerializeToString() + b"\x3a" + varint(len(graph)) + graph
    assert ModelProto.FromString(crafted).graph.initializer[0].external_data[0].key
    assert b"\n\x08location" not in crafted
    monkeypatch.chdir(tmp_path)  # where onnxruntime would look for them
    with pytest.raises(ModelError, match="can load"):
        open_session(crafted, None, device)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def test_threads_are_capped_at_the_cores(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sessions, "usable_cores", lambda: 2)
    monkeypatch.setattr(sessions, "_warned", set())
    assert [sessions.cap_threads(n) for n in (0, 1, 2, 64, 64)] == [1, 1, 2, 2, 2]
    assert caplog.text.count("threads=64") == 1


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:1", ""])
def test_unknown_devices(device: str) -> None:
    with pytest.raises(ArgumentError, match="choose one of"):
        open_session(embedder_bytes(16), None, device)


def test_a_provider_that_was_not_built_in_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderError, match="device='cpu'"):
        open_session(embedder_bytes(16), None, "cuda")


def test_falling_back_to_the_cpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU wheel offers CUDA on a machine without a GPU, and then quietly runs on the CPU."""

    class Fallen:
        def __init__(self, *_: object, **__: object) -> None: ...

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr("onnxruntime.InferenceSession", Fallen)
    with pytest.raises(ProviderError, match="fell back"):
        open_session(embedder_bytes(16), None, "cuda")


def test_asking_for_cuda_gives_cuda_or_an_error() -> None:
    try:
        session = open_session(embedder_bytes(16), None, "cuda")
    except ProviderError as error:
        said = str(error)
    else:
        said = "device='cpu'" if session.device == "cuda" else "another device"
    assert "device='cpu'" in said


def test_read_model_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="reinstall"):
        read_model(tmp_path / "none.onnx", None)


def test_the_wheel_carries_all_that_ships(root: Path) -> None:
    """Files are named one by one in pyproject.toml: the float32 folder, as large again, is for the checkout."""
    import tomllib

    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    files = {path.name for path in (root / "models").iterdir() if path.is_file()}
    assert {Path(name).name for name in wheel["force-include"]} == files


LOG_LEVEL = """
import onnxruntime, pathlib, sys
onnxruntime.set_default_logger_severity(0)  # the app's
from lrface.models.sessions import open_session
open_session(pathlib.Path(sys.argv[1]), None)
print("the app's own session", file=sys.stderr, flush=True)
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""


def test_the_apps_log_level_of_onnxruntime_stays(folder: Path) -> None:
    model = next(folder.glob("*.onnx"))
    done = subprocess.run(
        [sys.executable, "-c", LOG_LEVEL, str(model)], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    assert "[I:onnxruntime" in done.stderr.partition("the app's own session")[2]
