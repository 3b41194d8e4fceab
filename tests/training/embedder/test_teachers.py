from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pd = pytest.importorskip("pandas")

from onnx import TensorProto, helper, numpy_helper

from training.data.faces import FaceSet
from training.embedder.teachers import Preprocessing, Teacher, cached_embeddings, embed_all, open_teachers
from training.recipe import TeacherSpec


def _mean_colour_teacher(path: Path) -> Path:
    """An 'embedder' whose output is the mean of each input channel: it shows what preprocessing fed it."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)],
        "teacher",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.array([2, 3], np.int64), "axes")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (Preprocessing(size=112, rgb=True, mean=0.0, scale=1.0), [30, 20, 10]),
        (Preprocessing(size=64, rgb=False, mean=0.0, scale=1.0), [10, 20, 30]),
        (Preprocessing(size=128, rgb=False, mean=10.0, scale=0.5), [0, 5, 10]),
    ],
)
def test_preprocessing_is_the_one_asked_for(tmp_path: Path, spec: Preprocessing, expected: list[float]) -> None:
    crops = np.full((2, 112, 112, 3), (10, 20, 30), np.uint8)
    unit = np.array(expected) / np.linalg.norm(expected)
    out = Teacher(_mean_colour_teacher(tmp_path / "any.onnx"), spec).embed(crops)
    np.testing.assert_allclose(out, [unit, unit], atol=1e-5)


def test_a_recipe_names_any_embedder_with_its_preprocessing(tmp_path: Path) -> None:
    _mean_colour_teacher(tmp_path / "any.onnx")
    (teacher,) = open_teachers([TeacherSpec("any.onnx", size=32, rgb=False, mean=0.0, scale=1.0)], tmp_path)
    assert teacher.tensor(np.zeros((1, 112, 112, 3), np.uint8)).shape == (1, 3, 32, 32)
    with pytest.raises(ValueError, match="unknown teacher"):
        open_teachers(["any.onnx"], tmp_path)


def test_embeddings_are_computed_once_and_resumed(tmp_path: Path) -> None:
    spec = Preprocessing(mean=0.0, scale=1.0)
    path = _mean_colour_teacher(tmp_path / "any.onnx")
    crops = np.random.default_rng(0).integers(0, 255, (6, 112, 112, 3), np.uint8)
    faces = FaceSet(crops, pd.DataFrame({"name": list("abcdef")}), "key")
    first = cached_embeddings([Teacher(path, spec)], faces, tmp_path)
    np.testing.assert_allclose(first, Teacher(path, spec).embed(crops), atol=1e-3)
    (shard,) = tmp_path.glob("embeddings-*/00000000.npy")
    np.save(shard, np.zeros_like(np.load(shard)))
    assert not cached_embeddings([Teacher(path, spec)], faces, tmp_path).any()  # read, not computed again
    shard.unlink()
    np.testing.assert_array_equal(cached_embeddings([Teacher(path, spec)], faces, tmp_path), first)


def test_real_teachers_agree_who_is_who(shared: Path) -> None:
    """Genuine validation pairs are closer than impostor pairs to both teachers together, mirrored pictures closest."""
    import cv2

    teachers = open_teachers(["edgeface_xs.onnx", "reid0095.onnx"], shared / "data" / "teachers")
    pairs = pd.read_csv(shared / "data" / "train" / "val_pairs.csv")
    table = pd.read_parquet(shared / "data" / "train" / "faces-0.parquet", columns=["name", "image"])
    table = table.set_index("name")["image"]
    here = pairs[pairs["a"].isin(table.index) & pairs["b"].isin(table.index)]
    here = pd.concat([here[here["same"] == 1].head(12), here[here["same"] == 0].head(12)])

    def embed(names: pd.Series) -> np.ndarray:
        crops = np.stack([cv2.imdecode(np.frombuffer(table[n], np.uint8), cv2.IMREAD_COLOR) for n in names])
        return embed_all(teachers, crops)

    a, b = embed(here["a"]), embed(here["b"])
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), 1, atol=1e-5)
    similarity = np.sum(a * b, axis=1)
    assert a.shape == (len(here), 768)
    assert np.median(similarity[:12]) > 0.35 > 0.2 > np.median(similarity[12:])
