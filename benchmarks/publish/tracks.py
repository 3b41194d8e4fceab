"""The sections of docs/benchmarks.md on videos: tracks, frames a second, identity switches, strangers."""

from __future__ import annotations

from typing import Any

from benchmarks.lib.results import table


def tracks_section(result: dict[str, Any]) -> str:
    """LFW people and clips, by tracks."""
    lfw = [
        [str(r["px"]), str(r["views"]), f"{100 * r['fnir']:.1f}", f"{100 * r['fnir_at_measured_fpir']:.1f}",
         f"{100 * r['fpir']:.2f}"]
        for r in result["rows"] if r["set"] == "LFW"
    ]  # fmt: skip
    clips = [
        [r["set"], str(r["px"] or "-"), r["by"], str(r["faces"]), f"{100 * r['right'] / max(1, r['faces']):.1f}",
         str(r["wrong"]), f"{r['embedded']} of {r['detected']}" if "embedded" in r else "all"]
        for r in result["rows"] if r["set"] != "LFW"
    ]  # fmt: skip
    return (
        "## Tracks\n\n"
        f"LFW people enrolled with two photos; a track's views are other photos of them. At most {result['fpir']:g} of"
        " strangers' tracks may be named. FNIR: tracks that are not named rightly. Command: `python -m"
        " benchmarks.tracks`.\n\n"
        + table(["width, px", "views", "FNIR, %", "FNIR at a measured FPIR of 1 %, %", "FPIR, %"], lfw)
        + "\n\nClips, decided by track and by single frame.\n\n"
        + table(["clip", "width, px", "by", "faces", "named rightly, %", "wrong names", "embedded"], clips)
    )


def video_section(result: dict[str, Any]) -> str:
    """Frames a second of the whole chain."""
    peer = {
        (r["clip"], r["threads"]): r["frames_a_cpu_second"] for r in result["rows"] if r["chain"] == "peer"
    }  # fmt: skip
    lines = [
        [r["clip"], str(r["threads"]), r["chain"], f"{r['faces_a_frame']:.1f}", f"{r['frames_a_cpu_second']:.1f}",
         f"{r['frames_a_cpu_second'] / peer[r['clip'], r['threads']]:.1f}", f"{r['frames_a_second']:.1f}",
         f"{r['p50_ms']:.0f}", f"{r['p99_ms']:.0f}"]
        for r in result["rows"]
    ]  # fmt: skip
    return (
        "## Frames a second\n\n"
        "The whole chain: decoding, detection, landmarks, embedding, decision. lrface: each frame by itself; tracks: as"
        " `lrface watch`, faces searched for in every n-th frame; peer: SCRFD-500M, at the smallest input at which it"
        " finds as many faces in the first frame, and EdgeFace-XS. The chains take turns by frame. A CPU second counts"
        " the time of all cores; latency is by the clock. Command: `python -m benchmarks.video`.\n\n"
        + table(
            ["clip", "threads", "chain", "faces a frame", "frames a CPU second", "peer = 1", "frames a second",
             "median latency, ms", "99 %, ms"], lines
        )
    )  # fmt: skip


def detect_every_section(result: dict[str, Any]) -> str:
    """What is lost where faces are searched for in some frames only."""
    lines = [
        [r["clip"], f"{r['fps']:.0f}", str(r["every"]), str(r["faces"]), f"{100 * r['shown'] / max(1, r['faces']):.1f}",
         f"{100 * r['alike'] / r['named']:.1f}" if r["named"] else "-", str(r["wrong"]), str(r["people"])]
        for r in result["rows"]
    ]  # fmt: skip
    return (
        "### Faces searched for in every n-th frame\n\n"
        "Against every frame: faces that have a box in the same frame, and of the named ones those with their name in"
        " it; the others were seen too late or had moved on. People: named by the end of their tracks. Command:"
        " `python -m benchmarks.detect_every`.\n\n"
        + table(["clip", "frames a second", "n", "faces", "shown, %", "named alike, %", "wrong names", "people"], lines)
    )


def switches_section(result: dict[str, Any]) -> str:
    """How often a track goes over to somebody else."""
    lines = [
        [r["clip"], r["tracker"], str(r["every"]), str(r["faces"]), f"{100 * r['shown'] / r['faces']:.1f}",
         *(str(r[key]) for key in ("mixed", "astray", "split"))]
        for r in result["rows"]
    ]  # fmt: skip
    return (
        "## Identity switches\n\n"
        "Tracks against labelled people in two clips, faces searched for in every n-th frame. Mixed: times that a track"
        " goes over to another person. Astray: faces of others than the one to whom most of the track's belong. Split:"
        " times that a person is in another track after at most a second. The labels were made without a tracker of"
        " lrface. Overlap alone: the box with the largest overlap is the same face, and the rest as in lrface. Command:"
        " `python -m benchmarks.identity_switches`.\n\n"
        + table(["clip", "tracker", "every", "labelled faces", "shown, %", "mixed", "astray", "split"], lines)
    )


def strangers_section(result: dict[str, Any]) -> str:
    """Whether those who are not enrolled are known again."""
    shares = ("again", "new", "else", "merged")
    lines = [
        [*(str(r[key]) for key in ("px", "views", "people")), *(f"{100 * r[key]:.1f}" for key in shares)]
        for r in result["rows"]
    ]
    return (
        "## Strangers who come back\n\n"
        f"LFW's people walk by twice, nobody is enrolled; at most {result['fpir']:g} of the visits may get the"
        " identifier of somebody else, among as many people as walk by. The views of a visit are photos of different"
        " days. Command: `python -m benchmarks.strangers`.\n\n"
        + table(
            ["width, px", "views", "people", "known again, %", "new identifier, %", "somebody else's, %",
             "first visit: somebody else's, %"], lines
        )
    )  # fmt: skip
