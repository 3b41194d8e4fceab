"""Damaged and hostile ONNX files as a network of the user's own, run by onnxruntime and by OpenVINO.

`LRFACE_FUZZ_CASES=10000 pytest tests/fuzz/test_networks.py --timeout 0` runs more cases than the 200 of every run.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_models import TinyDetector, embedder_bytes, write_people

from lrface.errors import LrfaceError
from lrface.measuring import own_network
from lrface.measuring.own_network import Preprocessing, add_network
from lrface.models.manifest import Manifest
from lrface.models.sessions import open_session

CASES = int(os.environ.get("LRFACE_FUZZ_CASES", "200"))
SIDES = [-1, 0, 1, 2, 3, 4, 8, 31, 32, 33, 112, 2**31, 2**62]
FLOATS = [0.0, -1.0, 1e-38, 3e38, float("nan"), float("inf")]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Other bytes, or a sound file with other shapes, types, names, attributes or weights."""
    if rng.random() < 0.4:
        broken = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            at = rng.randrange(len(broken) if rng.random() < 0.3 else 400)
            broken[at : at + rng.choice([0, 1, 1, 1])] = bytes([rng.randrange(256)])
        return bytes(broken[: rng.randrange(len(broken))] if rng.random() < 0.1 else broken)
    model = onnx.load_from_string(data)
    graph = model.graph
    for _ in range(rng.randint(1, 2)):
        value, node = rng.choice([*graph.input, *graph.output]), rng.choice(graph.node)
        shape, weights = value.type.tensor_type.shape, graph.initializer[0]
        match rng.randrange(11):
            case 0 if shape.dim:
                rng.choice(shape.dim).dim_value = rng.choice(SIDES)
            case 1 if shape.dim:
                rng.choice(shape.dim).dim_param = rng.choice(["", "batch", "x", "a\nb"])
            case 2:
                shape.dim.add().dim_value = rng.choice(SIDES)
            case 3:
                value.type.tensor_type.ClearField("shape")
            case 4:
                value.type.tensor_type.elem_type = rng.randrange(18)
            case 5:
                value.name = rng.choice(["", "x", "../x", "\u202e", "faces", "embedding"])
            case 6:
                node.op_type = rng.choice(["Relu", "Softmax", "Identity", "Loop", "If", "NonZero", "", "Shape"])
            case 7:
                del node.input[:], node.attribute[: rng.randrange(2)]
            case 8 if node.attribute:
                ints = rng.choice(node.attribute).ints
                ints[:] = [rng.choice(SIDES) for _ in ints]
            case 9:
                values = np.frombuffer(weights.raw_data, np.float32).copy()
                values[: rng.choice([1, len(values)])] = rng.choice(FLOATS)
                weights.raw_data = values.tobytes()
            case _:
                model.opset_import[0].version = rng.choice([0, 1, 7, 17, 99])
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `models add` reads of people; once for all cases."""
    folder = write_people(tmp_path_factory.mktemp("own") / "people", {f"p{i}": 2 for i in range(20)})
    return own_network._photos(folder, TinyDetector())


def test_a_damaged_network_is_added_whole_or_refused(tmp_path: Path, photos: Any, monkeypatch) -> None:
    monkeypatch.setattr(own_network, "_photos", lambda people, detector: photos)
    sound, ends, folder = embedder_bytes(32, dim=16), Counter[str](), tmp_path / "models"
    messages: list[str] = []
    for case in range(CASES // 2):
        rng = random.Random(case)
        (tmp_path / "net.onnx").write_bytes(damaged(sound, rng))
        how = Preprocessing(rng.choice(["RGB", "BGR"]), rng.choice([127.5, 0.0]), rng.choice([1 / 127.5, 1e-30, 1e30]))
        try:
            add_network(tmp_path / "net.onnx", folder, tmp_path, how, TinyDetector())
        except LrfaceError as error:
            ends["refused"] += 1
            messages.append(str(error))
            assert not folder.exists(), case
        else:
            ends["added"] += 1
            assert all(status.ok for status in Manifest.load(folder).verify()), case
            folder.rename(tmp_path / f"models-{case}")
        assert not list(tmp_path.glob(".*")), case
    assert ends["refused"] > CASES // 8, ends
    assert ends["added"], ends
    assert all(message.isprintable() for message in messages)


def test_openvino_runs_what_onnxruntime_runs_or_refuses_it() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'lrface[openvino]'")
    sound, ends = embedder_bytes(16, dim=16), Counter[str]()
    numbers = np.random.default_rng(0)
    for case in range(CASES // 4):
        data = damaged(sound, random.Random(case))
        try:
            plain = open_session(data, None)
        except LrfaceError:
            ends["refused by onnxruntime"] += 1
            with pytest.raises(LrfaceError):
                open_session(data, None, "openvino")
            continue
        try:
            session = open_session(data, None, "openvino")
        except LrfaceError:
            ends["refused by openvino"] += 1
            continue
        faces = numbers.standard_normal((case % 11 + 1, 3, 16, 16)).astype(np.float32)
        try:
            expected = plain.run(None, {plain.get_inputs()[0].name: faces})
        except Exception:
            ends["not run by onnxruntime"] += 1
            continue
        try:
            found = session.run(None, {session.get_inputs()[0].name: faces})
        except LrfaceError:
            ends["not run by openvino"] += 1
            continue
        ends["run"] += 1
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(other, one, atol=0.02, rtol=0.02, err_msg=str(case))
    assert ends["run"], ends
