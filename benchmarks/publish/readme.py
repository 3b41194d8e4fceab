"""README's figures, from the JSON that the other benchmarks wrote: nothing in that section is typed by hand.

python -m benchmarks.publish.readme
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.lib.results import RESULTS, ROOT, between, read_result, table

BEGIN, END = "<!-- figures: written by benchmarks/publish/readme.py -->", "<!-- end of figures -->"
PLOT = "benchmarks/results/levels-accuracy-by-size.svg"


def section(results: Path) -> str:
    """The Markdown between the markers."""
    parts = [
        _lfw(_read("lfw", results)),
        _open_set(_read("open_set", results)),
        _uccs(_read("uccs", results)),
        _people(_read("people", results)),
        _detection(_read("detection", results)),
        _landmarks(_read("landmarks", results)),
        _methods(_read("sweep-methods", results)),
    ]
    plot = (
        f"![Accuracy against the width of the face, a line for each network]({PLOT})\n\n"
        "Validation people: an ordinary photo against a face of so many pixels (`benchmarks/levels.py`)."
    )
    return "\n\n".join([*parts, plot])


def _read(name: str, results: Path) -> dict[str, Any]:
    if not (found := read_result(name, results)):
        raise SystemExit(f"{results / name}.json is missing: run its benchmark first")
    return found


def _lfw(result: dict[str, Any]) -> str:
    rows = {(r["model"], r["size"], r["protocol"]): r for r in result["rows"]}
    ours = [r for r in result["rows"] if r["model"].startswith("lrface-") and not r["model"].endswith(", float32")]
    teachers = ("edgeface_xs", "both teachers concatenated")
    plain, scene = [], []
    for r in ours:
        size, protocol, name = f"{r['size']}x{r['size']}", r["protocol"], r["model"]
        if not protocol.startswith("scene"):
            peers = [rows[teacher, r["size"], protocol] for teacher in teachers]
            plain.append([
                size, protocol, name, f"{r['accuracy']:.2f}", f"{r['tar_1e-2']:.1f} / {r['tar_1e-3']:.1f}",
                f"{r['faces_per_second'] / peers[0]['faces_per_second']:.1f}", *(f"{p['accuracy']:.2f}" for p in peers),
            ])  # fmt: skip
        elif protocol.endswith(", known landmarks"):
            kind = protocol.removeprefix("scene ").removesuffix(", known landmarks")
            by = [
                rows[name, r["size"], f"scene {kind}, {how}"]["accuracy"] for how in ("known landmarks", "own detector")
            ]
            found = f"{100 * result['found_in_scene'][str(r['size'])]:.1f}"
            scene.append([size, kind, name, *(f"{value:.2f}" for value in by), found])
    threads = f"{result['threads']} thread" + ("s" if result["threads"] > 1 else "")
    return (
        f"**LFW** ({result['pairs']:,} pairs, View 2, faces shrunk by area; LR-LR: both small, HR-LR: an"
        f" ordinary photo against a small face; `python -m benchmarks.lfw`; speed: {threads}, batches of 32 with their"
        f" resizing, on {result['machine']['cpu']}). The teachers, EdgeFace-XS alone and with reid-0095, are fed the"
        " up-scaled face. The HORKD paper reports 93.83 at 32x32 and 90.03 at 16x16, LR-LR.\n\n"
        + table(
            [
                "faces",
                "protocol",
                "network",
                "accuracy, %",
                "TAR, %, at FAR 1e-2 / 1e-3",
                "speed, EdgeFace-XS = 1",
                "EdgeFace-XS, %",
                "both teachers, %",
            ],
            plain,
        )
        + "\n\nThe same in *scene* degradation: the whole picture shrunk until the aligned face is so wide, and aligned"
        " there, by landmarks known from the full picture or by the bundled detector's (the known ones where it finds"
        " no face).\n\n"
        + table(["faces", "protocol", "network", "known landmarks, %", "own detector, %", "found, %"], scene)
    )


def _open_set(result: dict[str, Any]) -> str:
    lines = [
        [
            f"{r['size']}x{r['size']}", str(r["people"]), str(r["photos"]), f"{r['searches']:,}",
            f"{100 * r['fpir']:.2f}", f"{100 * r['fpir_gate']:.2f}", f"{100 * r['fnir']:.1f}",
        ]
        for r in result["rows"] if r["set"] == "LFW"
    ]  # fmt: skip
    return (
        f"**Strangers named** (FPIR) where {100 * result['fpir']:g} % was asked for, and enrolled people not named"
        " (FNIR), on LFW's people, who are in no training and in no calibration; half of the small faces worn by a"
        " camera besides (`python -m benchmarks.open_set`). One rule of the thresholds, how a gallery's own people move"
        " them, was chosen with a look at these people.\n\n"
        + table(
            [
                "faces",
                "people enrolled",
                "photos of each, up to",
                "strangers' searches",
                "FPIR, %",
                "with a quality gate",
                "FNIR, %",
            ],
            lines,
        )
        + "\n\nEnrolled from small, worn faces (frigate #23450), 20 people at a time, searched at 32x32; screening:"
        " enrolment refuses photos too poor to be recognised by.\n\n"
        + table(
            [
                "photos' faces, px",
                "photos of each, up to",
                "people taken: all / screened",
                "strangers named of",
                "all",
                "screened",
                "FNIR, %: all / screened",
            ],
            [
                [
                    str(r["width"]),
                    str(r["photos"]),
                    f"{r['people_taken']} / {r['people_taken_gate']}",
                    f"{r['strangers']:,}",
                    str(r["named"]),
                    str(r["named_gate"]),
                    f"{100 * r['fnir']:.1f} / {100 * r['fnir_gate']:.1f}",
                ]
                for r in result["frigate_23450"]
            ],
        )
    )


def _uccs(result: dict[str, Any]) -> str:
    closed = [
        [f"{r['size']}x{r['size']}", str(r["subjects"]), f"{r['top1_error']:.1f} ± {r['top1_std']:.1f}",
         f"{r['top5_error']:.1f} ± {r['top5_std']:.1f}"]
        for r in result["rows"] if r["test"] == "HORKD"
    ]  # fmt: skip
    watched = ", ".join(
        f"{r['dir']:.0f} % at {r['false_positives_a_picture']:g}" for r in result["rows"] if r["test"] == "watch list"
    )
    return (
        "**UCCS's protocols on a stand-in, not on UCCS**, which may not be passed on: validation people's faces of"
        f" {result['standin']['crop_px'][0]:g} to {result['standin']['crop_px'][1]:g} px pasted into drawn scenes"
        f" (`python -m benchmarks.uccs`, {len(result['seeds'])} seeds). HORKD's closed set:\n\n"
        + table(["faces", "subjects", "top-1 error, %", "top-5 error, %"], closed)
        + "\n\nOpen-set watch list, whole scenes, bundled detector: enrolled people found and named (DIR) against"
        f" strangers named a picture: {watched}."
    )


def _methods(result: dict[str, Any]) -> str:
    plain = [r for r in result["rows"] if r["method"].startswith("cosine (order 1)")]
    noise = ", ".join(f"{r['lr_lr']:.2f}" for r in plain)
    lines = [
        [r["method"], f"{r['lr_lr']:.2f}", f"{r['hr_lr']:.2f}", f"{r['cosine']:.3f}", f"{r['gain_over_cosine']:+.2f}",
         f"{r['gain_over_upscaled']:+.2f}", f"{r['seconds']:.0f}"]
        for r in result["rows"] if r not in plain[1:]
    ]  # fmt: skip
    return (
        "**Methods, tried small** (a 16x16 student of few channels, a few epochs on a part of the faces, validation"
        f" pairs; `{result['command']}`): what each adds to plain cosine regression this early, not what it is worth"
        f" after long training. Plain cosine with three seeds: {noise}.\n\n"
        + table(
            [
                "loss",
                "LR-LR, %",
                "HR-LR, %",
                "cosine to teachers",
                "gain over cosine",
                "gain over the teachers, face up-scaled",
                "seconds trained",
            ],
            lines,
        )
    )


def _people(result: dict[str, Any]) -> str:
    kinds = ["right", "unknown", "wrong", "missed", "stranger unknown", "stranger named"]
    lines = [
        [r["what"], f"{r['median_native_px']:.0f}", *(str(r.get(kind, 0)) for kind in kinds)] for r in result["rows"]
    ]
    return (
        f"**Whole pictures and a clip** at `fpir` {result['fpir']:g}, with the bundled detector; who a face is, is said"
        " by both teachers on the full-size face (`python -m benchmarks.people`). Width: of the aligned crop, in pixels"
        " of the picture, half as much again as the face.\n\n" + table(["what", "median width", *kinds], lines)
    )


def _detection(result: dict[str, Any]) -> str:
    heights = list(result["rows"][0]["ap"])
    lines = [
        [
            r["model"], *(f"{r['ap'][h]:.3f}" for h in heights), f"{r['false_alarms']['per_1000']:.0f}",
            f"{r['ms']:.1f}",
        ]
        for r in result["rows"]
    ]  # fmt: skip
    return f"**Detection** ({result['protocol']}; `python -m benchmarks.detection`, one thread).\n\n" + table(
        ["detector", *(f"AP, {h} px" for h in heights), "false alarms in 1,000 pictures", "ms, 640x640"], lines
    )


def _landmarks(result: dict[str, Any]) -> str:
    sizes = sorted({r["size"] for r in result["rows"]}, reverse=True)
    by = {(r["model"], r["size"]): r for r in result["rows"]}
    lines = []
    for model in dict.fromkeys(r["model"] for r in result["rows"]):
        cells = (by.get((model, size)) for size in sizes)
        lines.append([model, *("-" if r is None else f"{r['alignment']:.1f} ({100 * r['found']:.0f})" for r in cells)])
    return (
        f"**Landmarks** ({result['protocol']}, here of the alignment that follows; in brackets the share of faces"
        " found, %; `python -m benchmarks.landmarks`), by the width of the aligned crop.\n\n"
        + table(["detector", *(f"{size} px" for size in sizes)], lines)
    )


def filled(readme: Path, results: Path) -> str:
    """README's text with its section anew."""
    return between(readme, BEGIN, END, section(results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    args = parser.parse_args()
    args.readme.write_text(filled(args.readme, args.results))
    print(f"written: {args.readme}")


if __name__ == "__main__":
    main()
