"""The detector in int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from click.testing import CliRunner
from drawn_faces import Painter
from fake_detectors import portraits

from lrface.models.sessions import open_session
from training.detector.cli import detector
from training.detector.quantize import quantize, views_of

ROOT = Path(__file__).parents[3]


def portrait_picture() -> np.ndarray:
    """A portrait as the network reads it."""
    image = portraits()["astronaut"][0][:320, 64:448]
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)


def test_int8_finds_what_float32_finds(tmp_path: Path) -> None:
    """The network that ships, quantised anew on drawn scenes."""
    painter = Painter(5)
    scenes = [painter.scene(640)[0] for _ in range(4)] + [painter.scene(160)[0]]
    exact = ROOT / "models" / "float32" / "lrface-detector.onnx"
    small = quantize(exact, tmp_path / "small.onnx", views_of(scenes))
    session = {path: open_session(path, None) for path in (exact, small)}
    assert {each.precision for each in session.values()} == {"float32", "int8"}
    image = portrait_picture()
    boxes, scores, landmarks = (
        np.stack(each) for each in zip(*(run.run(None, {"image": image}) for run in session.values()), strict=True)
    )
    best = int(scores[0].argmax())
    assert scores[:, 0, best].min() > 0.6
    side = float(np.diff(boxes[0, 0, best][[0, 2]])[0])
    np.testing.assert_allclose(boxes[1, 0, best], boxes[0, 0, best], atol=0.08 * side)
    np.testing.assert_allclose(landmarks[1, 0, best], landmarks[0, 0, best], atol=0.08 * side)
    assert np.abs(scores[1] - scores[0]).mean() < 0.01


def test_quantising_without_scenes_says_what_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRFACE_SCENES", str(tmp_path / "nothing"))
    done = CliRunner().invoke(detector, ["quantize", "--models", str(tmp_path)])
    assert done.exit_code == 2
    assert "give the folders of scenes.zip and of an earlier export" in done.output
