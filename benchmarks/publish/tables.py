"""The sections of docs/benchmarks.md, from the JSON that the benchmarks wrote: Markdown with one table or two each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.lib.peer_comparison import FPIRS, PHOTOS, fnir_table
from benchmarks.lib.results import read_result, table
from benchmarks.publish.cards import CHOSEN_ON
from benchmarks.publish.galleries import enrolment_section, gallery_section
from benchmarks.publish.pictures import pictures
from benchmarks.publish.tracks import (
    detect_every_section,
    strangers_section,
    switches_section,
    tracks_section,
    video_section,
)


def page(results: Path, plot: str) -> str:
    """All sections, in order.

    Args:
        results: folder of the benchmarks' JSON.
        plot: the plot of accuracy by face width, as the page links to it.
    """
    sections = [
        _lfw(required("lfw", results)),
        _open_set(required("open_set", results)),
        *([_peers(peers)] if (peers := read_result("open_set_peers", results)) else []),
        _uccs(required("uccs", results)),
        _end_to_end(required("end_to_end", results)),
        _detection(required("detection", results)),
        _landmarks(required("landmarks", results)),
        _devices(required("devices", results)),
        *([tracks_section(found)] if (found := read_result("tracks", results)) else []),
        *([video_section(found)] if (found := read_result("video", results)) else []),
        *([detect_every_section(found)] if (found := read_result("detect_every", results)) else []),
        *([switches_section(found)] if (found := read_result("identity_switches", results)) else []),
        *([strangers_section(found)] if (found := read_result("strangers", results)) else []),
        *([gallery_section(found)] if (found := read_result("gallery", results)) else []),
        *([enrolment_section(found)] if (found := read_result("enrolment", results)) else []),
        *([_training_hours(found)] if (found := read_result("training_hours", results)) else []),
        _methods(required("sweep-methods", results)),
        *pictures(results),
        "## Accuracy by the width of the face\n\n"
        f"![Accuracy against the width of the face, a line for each network]({plot})\n\n"
        "Validation people: an ordinary photo against a face of so many pixels (`python -m benchmarks.levels`).",
    ]
    return "\n\n".join(sections)


def required(name: str, results: Path) -> dict[str, Any]:
    """A benchmark's result.

    Raises:
        SystemExit: it is not there.
    """
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
        "## Verification: LFW\n\n"
        f"{result['pairs']:,} pairs, View 2, faces shrunk by area. LR-LR: both faces are small. HR-LR: an ordinary"
        f" photo against a small face. Speed: {threads}, batches of 32, resizing included, on"
        f" {result['machine']['cpu']}. The teachers (EdgeFace-XS, and EdgeFace-XS with reid-0095) see the small face"
        " enlarged to their input. The HORKD paper reports 93.83 at 32x32 and 90.03 at 16x16, LR-LR."
        " Command: `python -m benchmarks.lfw`.\n\n"
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
        + "\n\nThe same with the whole picture shrunk (*scene* degradation) until the aligned face has this width."
        " The face is then aligned in the small picture: by landmarks known from the full picture, or by the bundled"
        " detector's (by the known ones where the detector finds no face).\n\n"
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
        "## Open-set identification: LFW\n\n"
        f"FPIR: the share of strangers who are named, where {100 * result['fpir']:g} % was asked for. FNIR: the share"
        " of enrolled people who are not named. Half of the small faces are also degraded as by a camera. LFW's people"
        " are in no training data and in no calibration data. **One rule was tuned on this test set**: how the"
        " enrolled people shift the thresholds; and a rate measured here led to one shape for the tails of all bands of"
        " a network, whose effect was then measured on validation people. Command: `python -m benchmarks.open_set`.\n\n"
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
        + "\n\n### Enrolled from small, degraded faces\n\n"
        "20 people at a time, searched at 32x32 (a case that users of Frigate reported: #23450). Screened: enrolment"
        " refuses photos that are too poor.\n\n"
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


def beside_peers(result: dict[str, Any], label: str, plot: str = "") -> str:
    """FNIR of lrface and of networks of others on one set, at a measured FPIR of 1 %, and what to bear in mind.

    Args:
        result: of ``open_set_peers``.
        label: of the set.
        plot: as the page links to it; "" for none.
    """
    rows = [r for r in result["rows"] if r["set"] == label]
    line = next(r for r in rows if r["photos"] == max(PHOTOS))
    picture = f"![Share of enrolled people not named against the width of the face]({plot})\n\n" if plot else ""
    return (
        "Enrolled people whose faces are **not named**, in %, with five photos of each / with one, where 1 % of"
        f" strangers are named ({label} people, {line['people']} enrolled at a time, others strangers, the same"
        " crops for all; the other networks are fed the face enlarged to their input):\n\n"
        f"{fnir_table(rows, label, FPIRS[0])}\n\n{picture}{result['note']}"
    )


def _peers(result: dict[str, Any]) -> str:
    labels = list(dict.fromkeys(r["set"] for r in result["rows"]))
    parts = [
        f"{beside_peers(result, label)}\n\nThe same where .1 % of strangers are named:\n\n"
        f"{fnir_table(result['rows'], label, FPIRS[1])}"
        for label in labels
    ]
    return (
        "## Open-set identification beside other networks\n\n"
        f"Protocol: {result['protocol']}. The threshold is the one at which that share of the strangers' searches is"
        " measured to name somebody; it is not a calibrated one. Command: `python -m benchmarks.open_set --test"
        " peers`.\n\n" + "\n\n".join(parts)
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
        "## UCCS's protocols on a substitute, not on UCCS\n\n"
        "UCCS may not be redistributed. The substitute: validation people's faces of"
        f" {result['standin']['crop_px'][0]:g} to {result['standin']['crop_px'][1]:g} px pasted into drawn scenes,"
        f" {len(result['seeds'])} seeds. Command: `python -m benchmarks.uccs`. HORKD's closed set:\n\n"
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
        "## Losses compared in short training runs\n\n"
        "A small 16x16 student, few epochs, a part of the faces, validation pairs. The table says what a loss adds to"
        " plain cosine regression early in training, not what it adds after long training. Plain cosine with three"
        f" seeds: {noise}. Command: `{result['command']}`.\n\n"
        + table(
            [
                "loss",
                "LR-LR, %",
                "HR-LR, %",
                "cosine to teachers",
                "gain over cosine",
                "gain over the teachers, face enlarged",
                "seconds trained",
            ],
            lines,
        )
    )


def _end_to_end(result: dict[str, Any]) -> str:
    kinds = ["right", "unknown", "wrong", "missed", "stranger unknown", "stranger named"]
    lines = [
        [r["what"], f"{r['median_native_px']:.0f}", *(str(r.get(kind, 0)) for kind in kinds)] for r in result["rows"]
    ]
    return (
        "## End to end: whole pictures and a clip\n\n"
        f"`fpir` {result['fpir']:g}, bundled detector. The reference is what both teachers say of the full-size face."
        " Width: of the aligned crop, in pixels of the picture (about 1.5 times the face's width). Command:"
        " `python -m benchmarks.end_to_end`.\n\n" + table(["what", "median width", *kinds], lines)
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
    return (
        "## Detection\n\n"
        f"Protocol: {result['protocol']}. Command: `python -m benchmarks.detection`, one thread. wider200: 200 pictures"
        f" of WIDER FACE's validation part. {CHOSEN_ON}\n\n"
        + table(["detector", *(f"AP, {h} px" for h in heights), "false alarms in 1,000 pictures", "ms, 640x640"], lines)
    )


def _landmarks(result: dict[str, Any]) -> str:
    sizes = sorted({r["size"] for r in result["rows"]}, reverse=True)
    by = {(r["model"], r["size"]): r for r in result["rows"]}
    lines = []
    for model in dict.fromkeys(r["model"] for r in result["rows"]):
        cells = (by.get((model, size)) for size in sizes)
        lines.append([model, *("-" if r is None else f"{r['alignment']:.1f} ({100 * r['found']:.0f})" for r in cells)])
    return (
        "## Landmarks\n\n"
        f"Protocol: {result['protocol']}. The table shows the error of the alignment that follows from the landmarks,"
        " by the width of the aligned crop; in brackets the share of faces found, in %. Command:"
        " `python -m benchmarks.landmarks`.\n\n" + table(["detector", *(f"{size} px" for size in sizes)], lines)
    )


def _devices(result: dict[str, Any]) -> str:
    by = {(r["model"], r["batch"], r["runs_on"]): r for r in result["rows"]}
    lines = []
    for model, batch in dict.fromkeys((r["model"], r["batch"]) for r in result["rows"]):
        mine = [r for key, r in by.items() if key[:2] == (model, batch) and not key[2].endswith("any batch")]
        if batch not in (1, 4, 32):
            continue
        usual = mine[0]
        for r in mine[1:]:
            runs_on = r["runs_on"].removeprefix("openvino in ")
            lines.append([
                model, str(batch), runs_on, f"{usual['ms']:.2f}", f"{r['ms']:.2f}", f"{r['speed']:.2f}",
                f"{r['cosine']:.5f}",
            ])  # fmt: skip
    return (
        "## OpenVINO beside onnxruntime\n\n"
        f"Protocol: {result['protocol']}. Processor: {result['machine']['cpu']}; others differ, so measure yours. Time"
        " of a face, or of a picture of 640x640. The cosine is the least"
        " between the two outputs. edgeface_xs is one of the teachers. Command: `python -m benchmarks.devices`.\n\n"
        + table(["model", "batch", "precision", "onnxruntime, ms", "OpenVINO, ms", "times as fast", "cosine"], lines)
    )


def _training_hours(result: dict[str, Any]) -> str:
    widths = [
        width for width in (112, 64, 48, 32, 24, 16, 12, 8) if any(f"cosine_{width}" in r for r in result["ends"])
    ]
    columns = [f"{width} px" for width in widths]

    def cosines(row: dict[str, Any]) -> list[str]:
        return [f"{row[f'cosine_{width}']:.3f}" if f"cosine_{width}" in row else "" for width in widths]

    ends = [
        [r["network"], r["run"], f"{r['views'] / 1e6:.2f}", f"{r['hours']:.1f}", *cosines(r)] for r in result["ends"]
    ]
    guesses = [
        [r["network"], " and ".join(r["runs"]), f"{r['views'] / 1e6:.2f}", *cosines(r)] for r in result["expected"]
    ]
    return (
        "## What more training brings\n\n"
        f"{result['protocol']} Command: `python -m benchmarks.training_hours`.\n\n"
        + table(["network", "end of the run", "million views", "hours", *columns], ends)
        + "\n\n**The next table is a guess; nothing in it is measured.** It supposes that what is missing to a cosine"
        " of 1 goes on to fall as a power of the views, as it did between the ends of two runs; its last row is for"
        f" {result['more_hours']:g} more hours at the last run's pace. The row before it is the same rule from the two"
        " runs before, for the views that `lrface-112-4` has seen: compare it with what was measured, above. **The rule"
        " takes whatever else changed between two runs for what the views brought**: with `lrface-112` the network"
        " grew (four blocks and a second head), with `lrface-112-4`, which does not ship yet, came a loss that looks at"
        " strangers.\n\n"
        + table(["network", "guessed from the ends of", "million views", *columns], guesses)
        + "".join(f"\n\n![{p['title']}](figures/training_hours-{p['name']}.svg)" for p in result["plots"])
    )
