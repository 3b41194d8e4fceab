"""MobileFaceNet: the published weights, the gradients of its layers, its export, a run by hours."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("pandas")

import torch.nn.functional as F
from torch import Tensor
from toy_run import toy

from training.common.files import read_log
from training.data.faces import FaceSet
from training.data.pairs import Pairs
from training.embedder.card import card
from training.embedder.distill import distill, earlier_runs, load_student
from training.embedder.export import export, to_onnx
from training.embedder.mobilefacenet import (
    Activation,
    Depthwise,
    MobileFaceNet,
    Pool,
    SqueezeExcitation,
    solve_head,
    start_from,
)
from training.embedder.variant import Variant
from training.recipe import Degradation, LossSpec, Recipe, Schedule, StudentSpec

SPEC = StudentSpec(64, 8, network="mobilefacenet")
HOURS = Schedule(hours=1e-6, batch=4, rate=1e-4, ema=0.9)
RECIPE = Recipe(
    "wide", ("none.onnx",), SPEC, (LossSpec("order1"),), HOURS, Degradation(narrowest=12, sharp=0.2), quality=0.2
)


def _small() -> tuple[FaceSet, np.ndarray, Pairs]:
    """The toy set with few pairs: this network takes long."""
    faces, embeddings, pairs = toy()
    some = np.r_[:6, 32:38]
    return faces, embeddings, Pairs(pairs.a[some], pairs.b[some], pairs.same[some], np.arange(12) % 2)


def _published(folder: Path) -> Path:
    return folder / "data" / "teachers" / "reid0095.onnx"


def test_it_starts_as_the_published_network(shared: Path) -> None:
    """The same embedding for the same picture: theirs 128x128 BGR of 0 to 255, ours the square within 112x112 RGB."""
    model = MobileFaceNet().eval()
    start_from(model, _published(shared))
    model.head = torch.nn.Identity()
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 3, 112, 112)).astype(np.float32))
    square = F.interpolate(x[:, :, 4:110, 3:109], (128, 128), mode="bilinear", align_corners=False)
    theirs = (square * 128 + 127.5).flip(1).numpy()
    session = ort.InferenceSession(_published(shared), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    expected = np.concatenate([session.run(None, {name: face[None]})[0].reshape(1, -1) for face in theirs])
    with torch.no_grad():
        found = model(x).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_another_network_is_refused(tmp_path: Path) -> None:
    entry, out = (onnx.helper.make_tensor_value_info(name, 1, [1, 3, 8, 8]) for name in ("input", "out"))
    weight = onnx.numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")
    node = onnx.helper.make_node("Conv", ["input", "w"], ["out"])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [entry], [out], [weight])),
              tmp_path / "other.onnx")  # fmt: skip
    with pytest.raises(ValueError, match="another network"):
        start_from(MobileFaceNet(), tmp_path / "other.onnx")


@pytest.mark.parametrize("stride", [1, 2])
def test_the_depthwise_gradient_is_autograds(stride: int) -> None:
    torch.manual_seed(0)
    layer = Depthwise(6, stride).double()
    x = torch.randn(2, 6, 8, 12, dtype=torch.float64, requires_grad=True)
    same = x.detach().clone().requires_grad_()
    weight, bias = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))
    wanted = F.conv2d(same, weight, bias, stride, 1, 1, 6)
    _same_gradients(layer(x), wanted, (x, *layer.parameters()), (same, weight, bias))


def test_the_pooling_gradient_is_autograds() -> None:
    torch.manual_seed(0)
    layer = Pool(6, 4).double()
    x = torch.randn(3, 6, 4, 4, dtype=torch.float64, requires_grad=True)
    same = x.detach().clone().requires_grad_()
    weight, bias = (p.detach().clone().requires_grad_() for p in layer.parameters())
    _same_gradients(layer(x), F.conv2d(same, weight, bias, groups=6), (x, *layer.parameters()), (same, weight, bias))


def test_the_gradient_of_squeeze_and_excitation_is_autograds() -> None:
    torch.manual_seed(0)
    layer = SqueezeExcitation(6, 4).double()
    plain = copy.deepcopy(layer)
    x = torch.randn(2, 6, 4, 8, dtype=torch.float64, requires_grad=True)
    same = x.detach().clone().requires_grad_()
    means = same.mean((2, 3), keepdim=True)
    wanted = same * torch.sigmoid(plain.expand(plain.act(plain.reduce(means))))
    _same_gradients(layer(x), wanted, (x, *layer.parameters()), (same, *plain.parameters()))


def _same_gradients(out: Tensor, wanted: Tensor, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    torch.testing.assert_close(out, wanted)
    direction = torch.randn_like(out)
    out.backward(direction)
    wanted.backward(direction)
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


def test_the_exported_graph_is_the_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MobileFaceNet(8, 64).eval()
    slopes = [0.3, -0.7, 2.5]
    for i, module in enumerate(m for m in model.modules() if isinstance(m, Activation)):
        module.slope.fill_(slopes[i % 3])
    assert to_onnx(model, tmp_path / "m.onnx", with_quality=True) <= 1e-5
    graph = onnx.load(tmp_path / "m.onnx").graph
    used = {node.op_type for node in graph.node}
    assert "LeakyRelu" in used
    assert not used & {"PRelu", "Where"}  # onnxruntime fuses LeakyRelu alone with the convolution before it
    entry = graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in entry[1:]] == [3, 64, 64]
    assert entry[0].dim_param


def test_the_network_of_small_crops_starts_near_the_large_one(shared: Path) -> None:
    """On a smooth picture half the resolution shows the same face."""
    small = np.random.default_rng(0).uniform(-1, 1, (4, 3, 4, 4)).astype(np.float32)
    x = F.interpolate(torch.from_numpy(small), 112, mode="bicubic")
    found = []
    for level in (64, 112):
        model = MobileFaceNet(level=level).eval()
        start_from(model, _published(shared))
        model.head = torch.nn.Identity()
        with torch.no_grad():
            found.append(model(F.interpolate(x, level, mode="bilinear")))
    assert found[0].shape == found[1].shape == (4, 256)
    with pytest.raises(ValueError, match="level 96: a mobilefacenet reads crops of 64 or 112"):
        MobileFaceNet(level=96)


def test_the_head_starts_in_the_teachers_space() -> None:
    faces, embeddings, _ = toy()
    torch.manual_seed(0)
    model = MobileFaceNet(embeddings.shape[1], 64).eval()
    before = model.head.weight.clone()
    solve_head(model, faces.crops, embeddings, faces.rows("train"), count=32)
    assert (model.head.weight != before).any()
    assert model.head.weight.isfinite().all()


def test_more_blocks_begin_with_the_same_output(shared: Path) -> None:
    torch.manual_seed(0)
    small, large = MobileFaceNet(8, 64).eval(), MobileFaceNet(8, 64, extra=2).eval()
    missing, unexpected = large.load_state_dict(small.state_dict(), strict=False)
    assert missing
    assert not unexpected
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(small(x), large(x))
    large(x).sum().backward()
    assert all(p.grad is not None for p in large.parameters())
    assert large.blocks[-1].project.weight.grad.abs().sum() > 0
    start_from(large, _published(shared))  # the published weights go to the published blocks


def test_the_card_names_the_first_weights_and_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.embedder.distill.draw_curves", lambda run: None)
    world = _small()
    distill(RECIPE, *world, tmp_path / "wide")
    more = replace(RECIPE, name="wider", init="wide", student=replace(SPEC, extra=1))
    distill(more, *world, tmp_path / "wider")
    told = json.loads((tmp_path / "wide" / "recipe.json").read_text())
    told["student"]["start"] = "reid0095.onnx"  # as if it had begun so
    (tmp_path / "wide" / "recipe.json").write_text(json.dumps(told))
    recipe, student, _ = load_student(tmp_path / "wider")
    data = json.loads((tmp_path / "wider" / "data.json").read_text())
    figures = {64: {"lr_lr": 99.0, "hr_lr": 99.0, "tar_1e-2": 99.0, "cosine": 0.8}}
    variants = [Variant(tmp_path / "wider.onnx", "float32", figures, 1.0)]
    log = read_log(tmp_path / "wider")
    text = card(recipe, student, {"float32": "0" * 64}, 1e-6, data, log, variants, earlier_runs(tmp_path / "wider"))
    assert "starts from | the weights of `reid0095.onnx` (face-reidentification-retail-0095, Intel" in text
    assert "earlier runs | `wide` (" in text
    assert "1 residual blocks and a second head more" in text


def test_a_run_by_hours_stops_resumes_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step a period; killed after the first, it goes on with the hours that are left, and then only reads."""
    monkeypatch.setattr("training.embedder.distill.PERIOD", 0.0)
    monkeypatch.setattr("training.embedder.distill.draw_curves", lambda run: None)
    world = _small()
    recipe = replace(RECIPE, schedule=replace(HOURS, hours=1.0))
    clock = iter(range(0, 10**7, 900))  # each call of the clock: a quarter of an hour
    monkeypatch.setattr("training.embedder.distill.time.monotonic", lambda: float(next(clock)))
    honest = json.dumps
    killed = []

    def kill(*args: object, **options: object) -> str:
        if not killed and isinstance(args[0], dict) and "steps" in args[0] and (tmp_path / "checkpoint.pt").exists():
            killed.append(True)
            raise KeyboardInterrupt
        return honest(*args, **options)

    monkeypatch.setattr("training.embedder.distill.json.dumps", kill)
    with pytest.raises(KeyboardInterrupt):
        distill(recipe, *world, tmp_path)
    first = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert 0 < first["seconds"] < 3600
    distill(recipe, *world, tmp_path)
    last = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert last["seconds"] >= 3600
    assert last["steps"] > first["steps"]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["steps"] for line in lines] == sorted({line["steps"] for line in lines})
    assert {f"val_cosine_{width}" for width in (48, 32, 24, 16)} <= set(lines[-1])
    distill(recipe, *world, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["steps"] == last["steps"]


def test_a_network_of_many_widths_is_exported_with_figures_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.embedder.distill.draw_curves", lambda run: None)
    monkeypatch.setattr("training.embedder.export.MAX_LOSS", 100.0)  # one of the toy's few pairs is many points
    world = _small()
    distill(RECIPE, *world, tmp_path / "run")
    export(tmp_path / "run", tmp_path / "models", *world)
    (entry,) = json.loads((tmp_path / "models" / "manifest.json").read_text())["models"]
    assert entry["input"] == {
        "name": "faces", "height": 64, "width": 64, "channels": "RGB", "mean": 127.5, "scale": 0.0078125
    }  # fmt: skip
    assert entry["output"]["quality"] == "quality"
    text = (tmp_path / "models" / "wide.md").read_text()
    assert "Embeds faces of 12 to 64 pixels" in text
    assert "MobileFaceNet with squeeze-and-excitation" in text
    for width in (64, 48, 32, 24, 16):
        assert f"float32, {width} px |" in text
        assert f"weights in float16, {width} px |" in text
    small, exact = (tmp_path / "models" / folder / "wide.onnx" for folder in ("", "float32"))
    assert small.stat().st_size < 0.7 * exact.stat().st_size
