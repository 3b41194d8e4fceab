"""Writes the card of an exported student: what it does, how it was made, what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from training.common.manifest import MEASURED
from training.data.bank import SHARD, UNMIXED
from training.embedder.networks import count_macs
from training.embedder.variant import Variant
from training.recipe import Recipe

PUBLISHED = {
    "reid0095.onnx": " (face-reidentification-retail-0095, Intel Corporation, Open Model Zoo, Apache-2.0; see `NOTICE`)"
}
"""Origin and licence of the weights that a network can start from, by file name."""


def card(
    recipe: Recipe,
    student: nn.Module,
    files: dict[str, str],
    worst: float,
    data: dict[str, Any],
    log: list[dict[str, Any]],
    variants: list[Variant],
    earlier: Sequence[tuple[Recipe, list[dict[str, Any]]]] = (),
) -> str:
    """Markdown.

    Args:
        recipe: of the run.
        student: the trained network.
        files: SHA-256 by precision, the default first.
        worst: largest difference of the float32 file to torch.
        data: ``data.json`` of the run.
        log: ``log.jsonl`` of the run.
        variants: validation figures and speed of both precisions.
        earlier: recipes and logs of the runs that this one went on from, the first one first.
    """
    last = log[-1]
    plan = asdict(recipe)
    teachers = ", ".join(t if isinstance(t, str) else t.file for t in recipe.teachers)
    sources = ", ".join(f"{name} {count:,}" for name, count in data["sources"].items())
    stages = [*earlier, (recipe, log)]
    if first := stages[0][0].student.start:
        origin = PUBLISHED.get(first, "")
        begun = [f"| starts from | the weights of `{first}`{origin}, which training changed |"]
    else:
        begun = [f"| starts from | the student of `training/recipes/{recipe.init}.toml` |"] if recipe.init else []
    if earlier:
        runs = ", ".join(f"`{one.name}` ({_minutes(told):.0f} minutes)" for one, told in earlier)
        begun.append(f"| earlier runs | {runs}: each began with the averaged weights of the one before |")
    if recipe.guide:
        begun.append(
            f"| taught by | the student of `training/recipes/{recipe.guide}.toml`, fed the sharp face;"
            " that one by the teachers |"
        )
    if recipe.bank.teacher:
        begun.append(
            f"| mixtures | {recipe.bank.share:.0%} of each batch from {recipe.bank.shards * SHARD:,} small views of"
            f" blended, composed and warped faces ({UNMIXED:.0%} of the views: of unmixed ones), labelled by"
            f" `training/recipes/adapt/{recipe.bank.teacher}.toml` |"
        )
    losses = " + ".join(f"{loss.weight:g} {loss.name}{loss.arguments or ''}" for loss in recipe.losses)
    spec, narrowest = recipe.student, recipe.degradation.narrowest
    minutes = sum(_minutes(told) for _, told in stages)
    size = f"{narrowest} to {spec.level}" if narrowest else f"{spec.level}x{spec.level}"
    lines = [
        f"# {recipe.name}",
        "",
        f"Embeds faces of {size} pixels into {recipe.student.dim} numbers of"
        f" unit length (space `{recipe.space or recipe.name}`). Ships as {next(iter(files))}.",
        "",
        *(
            f"- `{'float32/' if len(files) > 1 and precision == 'float32' else ''}{recipe.name}.onnx`, {precision},"
            f" SHA-256 `{digest}`"
            for precision, digest in files.items()
        ),
        "",
        "| | |",
        "|---|---|",
        f"| network | {_network(recipe)};"
        f" {sum(p.numel() for p in student.parameters()) / 1e6:.2f} M parameters,"
        f" {count_macs(student) * (1 + recipe.mirror) / 1e6:.0f} M multiply-accumulates a face"
        + ", half of them for its mirror image, whose features are averaged with its own |" * recipe.mirror
        + " |" * (not recipe.mirror),
        "| input | `faces` float32 `[batch, 3, r, r]`, RGB, `(x - 127.5) * 0.0078125`; the ArcFace-aligned 112x112 crop"
        + (" shrunk by area" if recipe.student.level < 112 else "")
        + (", to which narrower faces are enlarged |" if narrowest else " |"),
        f"| output | `embedding` float32 `[batch, {recipe.student.dim}]`, unit length"
        + ("; `quality` float32 `[batch]`, 0..1: its own estimate of its cosine to the teachers" * (recipe.quality > 0))
        + f"; float32 parity with torch {worst:.0e} |",
        f"| teachers | {teachers}, concatenated, projected to {recipe.student.dim} dimensions |",
        f"| data | {data['faces']:,} aligned faces: {sources} |",
        f"| terms | {recipe.terms} |",
        f"| losses | {losses} |",
        f"| degradation | {plan['degradation']} |",
        f"| schedule | {plan['schedule']} |",
        *begun,
        f"| seed | {recipe.seed} |",
        f"| training time | {minutes:.0f} minutes, the last run {last['epoch']} epochs |",
        "",
        "## Figures",
        "10-fold accuracy in % and TAR in % at FAR 1e-2; no mirroring unless the network does it itself. Validation"
        " pairs: people not in the training split; averaged weights at the end of the run.",
        "",
        "| protocol | accuracy | TAR | cosine to teachers |",
        "|---|---|---|---|",
        *figure_lines(variants),
        "",
        *MEASURED,
        "",
        "Speed when exported: "
        + ", ".join(f"{v.precision} {v.milliseconds:.3f} ms a face" for v in variants)
        + " (onnxruntime, one thread, batches of 32, network alone, on a machine that may have had other work).",
        "",
        "## Use",
        "Finding known people in pictures where faces are small, with a threshold for a stated false-positive rate."
        " Not for decisions about a person without human review. Accuracy differs between groups of people as it"
        " does in the training data; it has not been measured by group.",
        "",
        f"Made by `python -m training distill training/recipes/{recipe.name}.toml` and `python -m training export`.",
    ]
    return "\n".join(lines) + "\n"


def figure_lines(variants: Sequence[Variant]) -> list[str]:
    """The lines of a card's table with the validation figures of each file, by width where there are several."""
    many = any(len(v.figures) > 1 for v in variants)
    return [
        line
        for v in variants
        for width, figures in v.figures.items()
        for at in (f"{v.precision}, {width} px" if many else v.precision,)
        for line in (
            f"| validation, LR-LR aligned, {at} | {figures['lr_lr']:.2f} | {figures['tar_1e-2']:.1f} |"
            f" {figures['cosine']:.3f} |",
            f"| validation, HR (teachers) - LR aligned, {at} | {figures['hr_lr']:.2f} | - | - |",
        )
    ]


def _minutes(log: list[dict[str, Any]]) -> float:
    return sum(float(line["seconds"]) for line in log) / 60


def _network(recipe: Recipe) -> str:
    spec = recipe.student
    if spec.network == "mobilefacenet":
        more = f", {spec.extra} residual blocks and a second head more" if spec.extra else ""
        return f"MobileFaceNet with squeeze-and-excitation{more}"
    return f"residual trunk, widths {spec.widths}, depths {spec.depths}"
