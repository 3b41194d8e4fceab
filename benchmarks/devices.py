"""OpenVINO beside onnxruntime: time and parity of each model that ships, for several batch sizes, on one thread.

    python -m benchmarks.devices [--more ONNX ...] [--devices openvino:gpu ...]

The devices take turns, run by run, and the ratio is the median over the turns, so that other work on the machine hits
all of them. Times are of the processor (wall-clock time on other devices), the least of all turns. Inputs are faces of
LFW; for the detector, its pictures at 640x640. Parity is the least cosine between the first output and onnxruntime's.
"any batch" is OpenVINO with one graph for all batches, instead of one for each of some sizes. Needs the ``openvino``
extra. Writes ``benchmarks/results/devices.json``.
"""

from __future__ import annotations

import argparse
import time
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.lib.lfw_data import lfw_faces, lfw_pictures
from benchmarks.lib.plots import plot
from benchmarks.lib.results import RESULTS, ROOT, SHARED, hashes, table, write_result
from lrface.alignment import shrink
from lrface.detection import open_detector
from lrface.models import openvino_session
from lrface.models.manifest import Manifest
from lrface.models.onnxruntime_session import Session
from lrface.models.openvino_session import OpenVinoSession
from lrface.models.sessions import describe, open_session

BATCHES = (1, 2, 4, 8, 16, 32)
DETECTOR_SIDE = 640
PEER = SHARED / "teachers" / "edgeface_xs.onnx"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--more", type=Path, nargs="*", default=[PEER] if PEER.exists() else [], help="embedders")
    parser.add_argument("--devices", nargs="*", default=[], help="beside openvino")
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    archive = SHARED / "lfw" / "lfw-deepfunneled.zip"
    with zipfile.ZipFile(archive) as entries:  # the first picture of each person
        files = [name.partition("/")[2] for name in sorted(entries.namelist()) if name.endswith("_0001.jpg")]
    files = files[: max(args.batches)]
    crops = lfw_faces(archive, files, open_detector())[0]
    pictures = [cv2.resize(image, (DETECTOR_SIDE, DETECTOR_SIDE)) for image in lfw_pictures(archive, files[:4])]
    manifest = Manifest.load()
    models: list[tuple[str, Path]] = [(entry.name, manifest.folder / entry.file) for entry in manifest.entries]
    models += [(f"{path.stem}, float32", path) for path in sorted((ROOT / "models" / "float32").glob("*.onnx"))]
    models += [(path.stem, path) for path in args.more]
    shipped = {name: path.read_bytes() for name, path in models}
    seen: set[bytes] = set()
    rows: list[dict[str, Any]] = []
    for name, _ in models:
        if shipped[name] in seen:
            continue  # the same file ships in float32
        seen.add(shipped[name])
        rows += compare(name, shipped[name], crops, np.stack(pictures), args)
    result = {
        "protocol": "one thread, devices in turns; least time of all turns, median ratio to onnxruntime",
        "turns": args.turns, "models": hashes(manifest.entries), "rows": rows,
        "plots": [plot("bars", bars(rows), "Speed beside onnxruntime on the same thread", xlabel="times as fast")],
    }  # fmt: skip
    path = write_result("devices", result, args.out)
    print(
        table(["model", "batch", "runs on", "ms each", "times as fast", "least cosine"], [cells(row) for row in rows])
    )
    print(f"\nwritten: {path}")


def compare(
    name: str, data: bytes, crops: np.ndarray, pictures: np.ndarray, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """The rows of one model: each batch size on each device, onnxruntime first."""
    usual = open_session(data, None)
    devices: dict[str, Session] = {}
    for session in (usual, own_precision(data, usual)):
        devices[describe(session)] = session
    for device in ["openvino", *args.devices]:
        session = open_session(data, None, device)
        devices[describe(session)] = session
    plain = own_precision(data, usual, sizes=())
    any_number, _, _, side = usual.get_inputs()[0].shape
    given = tensor(name, side, crops, pictures)
    rows = []
    for batch in args.batches if isinstance(side, int) else (1,):
        part = {usual.get_inputs()[0].name: np.ascontiguousarray(given[:batch])}
        if isinstance(any_number, int) and any_number != batch:
            continue
        here = {**devices, f"{describe(plain)}, any batch": plain}
        expected = usual.run(None, part)[0]
        took: dict[str, list[float]] = {label: [] for label in here}
        for turn in range(args.turns + 1):  # the first is not counted
            for label, session in here.items():
                seconds = timed(session, part)
                if turn:
                    took[label].append(seconds)
        base = np.array(took[describe(usual)])
        for label, session in here.items():
            rows.append(
                {
                    "model": name,
                    "batch": batch,
                    "runs_on": label,
                    "ms": round(1e3 * min(took[label]) / batch, 4),
                    "speed": round(float(np.median(base / np.array(took[label]))), 3),
                    "cosine": round(least_cosine(expected, session.run(None, part)[0]), 6),
                }
            )
    return rows


def own_precision(data: bytes, usual: Session, **how: Any) -> Session:
    """OpenVINO in the file's own precision, also where it would choose bfloat16."""
    core = openvino_session._core()
    return OpenVinoSession(core, core.read_model(data), "", "openvino", usual.precision, 1, usual, **how)


def tensor(name: str, side: Any, crops: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """What the model reads, float32 [n, 3, side, side]."""
    if not isinstance(side, int):
        return pictures.astype(np.float32).transpose(0, 3, 1, 2)
    small = np.stack([shrink(crop, side) for crop in crops]).astype(np.float32).transpose(0, 3, 1, 2)
    return small if "landmarks" in name else (small[:, ::-1] - np.float32(127.5)) / np.float32(128)


def timed(session: Session, given: dict[str, np.ndarray]) -> float:
    """Seconds of the processor for one run; of the clock for a device that is none."""
    clock = time.process_time if session.device in ("cpu", "openvino") else time.perf_counter
    start = clock()
    session.run(None, given)
    return clock() - start


def least_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of the rows of two outputs."""
    a, b = (each.reshape(len(each), -1).astype(np.float64) for each in (a, b))
    return float((np.sum(a * b, axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).min())


def bars(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """For each model at its largest batch, the speed of OpenVINO's chosen precision."""
    found = {}
    for row in rows:
        if row["runs_on"].startswith("openvino") and not row["runs_on"].endswith("any batch"):
            found[row["model"]] = (f"{row['model']}, {row['runs_on'].split(' in ')[1]}", row["speed"])
    return {"bars": dict(found.values()), "lines": {"onnxruntime": 1.0}}


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the printed table."""
    return [
        row["model"], str(row["batch"]), row["runs_on"], f"{row['ms']:.3f}", f"{row['speed']:.2f}",
        f"{row['cosine']:.5f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
