"""Carries exported networks over to another embedding space by one matrix, without training them again.

The matrix is the ridge regression of the joint space's targets on the network's own embeddings of small views of
training faces. It is multiplied to the embedding, and the product is normalised: as the normalisation ignores length,
this is the same as a multiplication before the first one. The network's own weights and its quality stay as they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from training.common.files import replacing
from training.common.manifest import add_model, sha256
from training.data.faces import FaceSet
from training.data.pairs import Pairs
from training.data.views import student_view, to_input
from training.embedder.card import figure_lines
from training.embedder.distill import load_student
from training.embedder.export import FLOAT32, measure_file
from training.embedder.targets import project
from training.embedder.variant import Variant
from training.recipe import Degradation

VIEWS = 12_000
"""Views of training faces that the matrix is learnt from."""

RIDGE = 1e-2
"""Weight of the penalty on the matrix, as a share of the mean variance of an embedding's numbers."""

Array = npt.NDArray[np.float32]


def ridge_matrix(embeddings: Array, targets: Array, penalty: float = RIDGE) -> Array:
    """The matrix ``[a, b]`` with the least ``|embeddings @ matrix - targets|^2``, plus a penalty on its size.

    Args:
        embeddings: float32 ``[n, a]``.
        targets: float32 ``[n, b]``.
        penalty: see ``RIDGE``.
    """
    x, y = embeddings.astype(np.float64), targets.astype(np.float64)
    moment = x.T @ x
    weight = penalty * np.trace(moment) / len(moment) * np.eye(len(moment))
    return np.asarray(np.linalg.solve(moment + weight, x.T @ y), np.float32)


def append_matrix(source: Path, target: Path, output: str, matrix: Array) -> None:
    """Write a network whose output ``output`` ``[batch, a]`` is multiplied by a matrix ``[a, b]`` and normalised.

    Raises:
        ValueError: the network has no such output, or it is of another length.
    """
    model = onnx.load(str(source))
    graph = model.graph
    last = next((value for value in graph.output if value.name == output), None)
    if last is None or last.type.tensor_type.shape.dim[-1].dim_value != len(matrix):
        raise ValueError(f"{source} has no output {output!r} of {len(matrix)} numbers")
    before, weight, product = (f"{output}_{part}" for part in ("before_remap", "remap_matrix", "remapped"))
    while any(before in node.output for node in graph.node):  # it was remapped before
        before, weight, product = (f"{name}_again" for name in (before, weight, product))
    for node in graph.node:
        for values in (node.input, node.output):
            for i, value in enumerate(values):
                values[i] = before if value == output else value
    graph.initializer.append(numpy_helper.from_array(matrix, weight))
    graph.node.extend([
        helper.make_node("MatMul", [before, weight], [product]),
        helper.make_node("LpNormalization", [product], [output], axis=1, p=2),
    ])  # fmt: skip
    last.type.tensor_type.shape.dim[-1].dim_value = matrix.shape[1]
    onnx.checker.check_model(model)
    with replacing(target) as part:
        onnx.save(model, str(part))


def remap(
    name: str,
    folder: Path,
    space_of: Path,
    faces: FaceSet,
    embeddings: Array,
    pairs: Pairs,
    views: int = VIEWS,
) -> dict[str, float]:
    """Carry one network of a models folder, and its float32 form, over to a run's space: files, manifests and card.

    The matrix is learnt with the float32 form, where there is one, and is the same for both.

    Args:
        name: of the network in the folder's manifest.
        folder: a models folder.
        space_of: folder of a run whose space it is.
        faces: crops; the matrix is learnt from the ``train`` split.
        embeddings: the teachers' unit embeddings ``[len(faces), d]``, of that run's teachers.
        pairs: validation pairs.
        views: how many views the matrix is learnt from.

    Returns:
        Validation figures of the file that ships, at the network's level.

    Raises:
        ValueError: no such network, it reads faces of other widths than its own, or it is in that space already.
    """
    recipe, _, basis = load_student(space_of)
    space = recipe.space or recipe.name
    places = [place for place in (folder / FLOAT32, folder) if (place / "manifest.json").exists()]
    entries = {place: entry for place in places if (entry := _entry(place, name))}
    if folder not in entries:
        raise ValueError(f"{folder} lists no embedder {name!r}")
    if entries[folder]["space"] == space:
        raise ValueError(f"{name} is in the space {space} already")
    first, entry = next(iter(entries.items()))
    level, old = int(entry["level"]), str(entry["space"])
    targets, rng, rows = project(embeddings, basis), np.random.default_rng(1), faces.rows("train")
    some = rng.choice(rows, min(views, len(rows)), replace=False)
    seen = [student_view(faces.crops[i], level, Degradation(), rng) for i in some]
    matrix = ridge_matrix(_embed(first / entry["file"], entry["output"]["name"], seen), targets[some])
    variants, hashes = list[Variant](), dict[str, str]()
    for place, entry in entries.items():
        file, before = place / entry["file"], str(entry["sha256"])
        append_matrix(file, file, entry["output"]["name"], matrix)
        if before not in hashes:  # else the float32 form is the one that ships
            precision = "float32" if place == first else "int8"
            variants.append(measure_file(file, precision, (level,), level, faces, targets, pairs))
        hashes[before] = entry["sha256"] = sha256(file)
        entry["space"], entry["output"]["dim"] = space, matrix.shape[1]
        add_model(entry, place)
    card = folder / entries[folder]["card"]
    with replacing(card) as part:
        part.write_text(_changed(card.read_text(), old, space, hashes, variants, len(some), space_of.name))
    return variants[-1].figures[level]


def _entry(folder: Path, name: str) -> dict[str, Any] | None:
    listed = json.loads((folder / "manifest.json").read_text())["models"]
    return next((dict(item) for item in listed if item["name"] == name and item["kind"] == "embedder"), None)


def _embed(file: Path, output: str, views: list[npt.NDArray[np.uint8]]) -> Array:
    session = ort.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    name, found = session.get_inputs()[0].name, []
    for start in range(0, len(views), 64):
        tensor = np.ascontiguousarray(to_input(np.stack(views[start : start + 64])))
        found.append(session.run([output], {name: tensor})[0])
    return np.concatenate(found)


def _changed(
    text: str, old: str, space: str, hashes: dict[str, str], variants: list[Variant], views: int, run: str
) -> str:
    """The card, with the new space, hashes and validation figures, and a section that says what was changed."""
    for before, after in hashes.items():
        text = text.replace(before, after)
    text = text.replace(f"(space `{old}`)", f"(space `{space}`)")
    lines = [line for line in text.splitlines() if not line.startswith("| validation, ")]
    head = next(i for i, line in enumerate(lines) if line.startswith("| protocol | accuracy | TAR |"))
    columns = ["| protocol | accuracy | TAR | cosine to teachers |", "|---|---|---|---|"]
    lines[head : head + 2] = [*columns, *figure_lines(variants)]
    note = [
        "## Carried over to another space",
        f"The network was trained in the space `{old}`, as the table above says, and was not trained again. Its"
        f" embedding is multiplied by one matrix and normalised again: the ridge regression, on {views:,} views of"
        f" training faces, of the targets of the run `{run}` (space `{space}`) on the network's own"
        f" embeddings. Its quality is what it was: the cosine that it expects in the space `{old}`.",
        "",
    ]
    at = lines.index("## Figures")
    lines[at:at] = note
    return "\n".join(lines) + "\n"
