"""The detector's model card, written by the export."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from training.common.manifest import MEASURED
from training.detector.batches import REPLAY
from training.detector.network import Detector
from training.detector.quantize import SAMPLE
from training.detector.recipe import Recipe
from training.detector.scenes import SCENE_REPEATS, SceneSet
from training.detector.targets import ENLARGEMENT
from training.detector.validate import WANTED_PRECISION, Operating

RANGES = ("8-16", "16-32", "32-64", ">64")


def card(
    network: Detector, recipe: Recipe, step: int, files: dict[str, str], parity: dict[str, float],
    validation: dict[str, float], point: Operating, scenes: SceneSet, note: str = "",
) -> str:  # fmt: skip
    """Markdown.

    Args:
        network: the exported one.
        recipe: how it was trained ...
        step: ... and how far.
        files: SHA-256 of the ONNX files by precision: "int8", which ships, and "float32".
        parity: largest differences between torch and ONNX.
        validation: figures of the held-out scenes.
        point: the shipped threshold and what it gives there.
        scenes: of which it was trained on a part.
        note: what else is to be known of this run.
    """
    plan = asdict(recipe)
    views, begin = plan.pop("views"), plan.pop("begin")
    origin = f"from the weights of {begin}" if begin else "from scratch"
    trained = [scenes.labels(int(i)) for i in np.unique(scenes.train)]
    faces = sum(int((~labels.ignored).sum()) for labels in trained)
    lines = [
        "# lrface-detector",
        "",
        "Finds faces from about 8 pixels on, with five landmarks.",
        "",
        f"- `lrface-detector.onnx`, int8 between the first two layers and the last one, SHA-256 `{files['int8']}`",
        f"- `float32/lrface-detector.onnx`, float32, SHA-256 `{files['float32']}`",
        "",
        "| | |",
        "|---|---|",
        f"| network | fully convolutional, dense slim backbone, top-down path, one head shared by strides 8, 16 and 32;"
        f" {sum(p.numel() for p in network.parameters()):,} parameters |",
        "| input | `image` float32 `[batch, 3, H, W]`, BGR, 0..255, H and W multiples of 32 |",
        "| output | before NMS, in input pixels: `boxes [batch, N, 4]` (x1, y1, x2, y2), `scores [batch, N]` 0..1,"
        " `landmarks [batch, N, 5, 2]` (image-left eye, image-right eye, nose, image-left mouth corner, image-right"
        " mouth corner) |",
        f"| parity | float32 ONNX against torch: {parity['pixels']:.0e} px, {parity['score']:.0e} in score |",
        "| score | trained towards YuNet's score of the same cell (Kullback-Leibler divergence), in pictures without"
        " people towards 0; labels teach boxes and landmarks |",
        f"| threshold | {point.threshold}: the lowest of precision {WANTED_PRECISION} on the held-out scenes (float32:"
        f" precision {point.precision:.3f}, recall {point.recall:.3f}, faces of 8 px and more) |",
        f"| int8 | ranges of the activations from {SAMPLE} training scenes, none held out; weights by channel, in 7"
        " bits; biases corrected for what rounding the weights adds (`training/detector/quantize.py`) |",
        f"| data | {len(trained):,} scenes (AFW, medmask, ilc2021, macwinwin, SCUT-HEAD, helmet sites, pictures without"
        f" people and others; {len(scenes.validation)} more are held out) with {faces:,} faces, of the annotation or"
        " found by the teacher, and aligned faces pasted into them. **Research only**: for no set do its sources clear"
        " the people shown. No picture of WIDER FACE |",
        "| teacher | YuNet-n (libfacedetection, BSD/MIT), itself trained on WIDER FACE: its faces in six views of each"
        " scene (three scales, mirrored), its prediction for every cell of each training view (averaged with its mirror"
        f" image's and that of the view enlarged {ENLARGEMENT:g} times) and its features, its landmarks"
        " (mean bias against the ArcFace template removed); no model with a non-commercial licence taught anything"
        " here |",
        f"| recipe | {', '.join(f'{k} {v}' for k, v in plan.items())}; each sample is learned {len(REPLAY)} times, half"
        " of them mirrored |",
        f"| views | {', '.join(f'{k} {v}' for k, v in views.items())}; an epoch shows"
        f" {' and '.join(f'{name} {times} times' for name, times in SCENE_REPEATS.items())}, every other scene once."
        f" From {1 - recipe.closing:.0%} of the steps on nothing mixed, tilted, warped or recoloured, mosaics and"
        " other scenes as background half as often, BatchNorm's statistics frozen |",
        f"| trained | {step} of {recipe.steps} steps, {origin}, one CPU thread; averaged weights. {note} |".replace(
            "  |", " |"
        ),
        "",
        "## Figures",
        "Float32, held-out scenes, at their stored size; the threshold was chosen there. AP at IoU 0.5 by face height"
        " in pixels; landmarks: mean distance to the teacher's in % of the face's size.",
        "",
        "| " + " | ".join(RANGES) + " | landmarks |",
        "|---|---|---|---|---|",
        "| " + " | ".join(f"{validation[name]:.3f}" for name in RANGES) + f" | {validation['nme']:.1f} |",
        "",
        *MEASURED,
        "",
        "## Use",
        "Finding faces to be identified. It misses faces turned away by more than about 90 degrees, upside-down ones"
        " and many below 8 px. Accuracy by group of people has not been measured; the scenes show mostly East Asian"
        " classrooms and news pictures with masks.",
        "",
        "Made by `python -m training detector train` and `python -m training detector export`."
        " `python -m training detector quantize` makes the int8 file anew.",
    ]
    return "\n".join(lines) + "\n"
