"""The detector's export: folding and back, parity, what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ort = pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")

from training.detector.export import to_onnx
from training.detector.folding import folded
from training.detector.network import Detector
from training.detector.recipe import Recipe
from training.detector.train import STATISTICS_BATCHES, Trainer


def moved_statistics() -> Detector:
    network = Detector().train()
    with torch.no_grad():
        for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.weight.uniform_(-1.5, 1.5)
            norm.weight[0] = 0  # a filter that training has switched off
            norm.bias.uniform_(-1, 1)
        for _ in range(3):
            network(torch.rand(2, 3, 64, 64) * 255)
    return network.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Detector, Path, dict[str, float]]:
    """A network, its file, and the largest differences between them."""
    network, file = moved_statistics(), tmp_path_factory.mktemp("exported") / "lrface-detector.onnx"
    return network, file, to_onnx(network, file)


def test_folding_changes_nothing() -> None:
    network = moved_statistics()
    image = torch.rand(1, 3, 96, 64) * 255
    with torch.no_grad():
        for plain, fused in zip(network(image), folded(network)(image), strict=True):
            torch.testing.assert_close(plain, fused, rtol=1e-4, atol=1e-4)


def test_training_goes_on_from_what_was_exported(
    exported: tuple[Detector, Path, dict[str, float]], tmp_path: Path
) -> None:
    network, file, _ = exported
    batches = [SimpleNamespace(images=(torch.rand(1, 3, 64, 96) * 255).byte()) for _ in range(STATISTICS_BATCHES)]
    images = torch.cat([batch.images for batch in batches])
    trainer = Trainer(Recipe())
    trainer.begin(file, batches)
    assert trainer.recipe.begin.startswith("lrface-detector.onnx (")
    with torch.no_grad():
        expected = network(images.float())
        for found, value in zip(trainer.averaged.eval()(images.float()), expected, strict=True):
            torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-3)
        # with the statistics of these images, which it was begun with, it says the same
        for found, value in zip(trainer.network.train()(images.float()), expected, strict=True):
            torch.testing.assert_close(found, value, rtol=0.02, atol=0.02)
    to_onnx(trainer.averaged.eval(), tmp_path / "again.onnx")


def test_export_is_refused_where_it_differs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("training.detector.export.PARITY_PX", -1.0)
    with pytest.raises(ValueError, match="differs from torch"):
        to_onnx(Detector().eval(), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_exported_keeps_the_contract(exported: tuple[Detector, Path, dict[str, float]]) -> None:
    _, file, worst = exported
    assert 0 < worst["pixels"] < 1e-2
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    for batch, height, width in ((2, 64, 96), (1, 160, 32)):
        image = np.random.default_rng(0).uniform(0, 255, (batch, 3, height, width)).astype(np.float32)
        boxes, scores, marks = session.run(["boxes", "scores", "landmarks"], {"image": image})
        cells = height * width * 21 // 1024
        assert (boxes.shape, scores.shape) == ((batch, cells, 4), (batch, cells))
        assert marks.shape == (batch, cells, 5, 2)
        assert ((scores >= 0) & (scores <= 1)).all()
        assert (boxes[..., 2:] > boxes[..., :2]).all()
