"""What a gallery costs as it grows, beside faiss (exact, and HNSW with what it misses) and milvus-lite, in one run.

People have one photo each, a random unit vector of 256 numbers. A probe is a view of somebody: its cosine with the
photo is 0.5. Measured: opening, memory, searching alone and in batches, adding and removing one person until the next
search sees it, the same encrypted, and what a process that searches notices of another one that enrols. Beside them
how long the memory takes to give all templates once, and the disk to write one page: no search of float32 and no
change that is on the disk can be faster. Everything runs in a process of its own, on one thread.

    pip install pymilvus milvus-lite                       # for the parts with Milvus
    python -m benchmarks.gallery                           # 10 k, 100 k and 1 M people: half an hour, 8 GB of memory
    python -m benchmarks.gallery --people 10000 --out /tmp
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.lib.gallery_peers import (
    faiss_exact,
    faiss_hnsw,
    milvus_installed,
    milvus_lite,
    missed,
    patiently,
    server,
)
from benchmarks.lib.results import RESULTS, write_result
from benchmarks.lib.timing import milliseconds, resident_mib, time_batches
from lrface.decisions.calibration import Calibration
from lrface.enrolment.checking import check_gallery
from lrface.gallery import Contract, Gallery, Match, PhotoTemplate
from lrface.gallery.opening import open_store
from lrface.gallery.reading import StoredPerson
from lrface.gallery.records import Details
from lrface.gallery.settings import Settings
from lrface.models.manifest import Manifest

DIM, K, SEED = 256, 5, 25
PROBES, COSINE = 256, 0.5
KEY = bytes(range(32))
CHECK_UP_TO = 100_000  # people: its time grows with the square
MILVUS_UP_TO = 10_000  # people: milvus-lite, which stands for a server, is not made for more
CONTRACT = Contract(
    "benchmark",
    DIM,
    True,
    "arcface-112",
    {"112": {"name": "random", "sha256": "0" * 64, "channels": "RGB", "mean": 127.5, "scale": 0.0078125}},
)
Vectors = NDArray[np.float32]


def unit(rng: np.random.Generator, n: int) -> Vectors:
    vectors = rng.standard_normal((n, DIM), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_people(people: int, folder: Path) -> None:
    """Writes templates, probes and extra people."""
    rng = np.random.default_rng(SEED + people)
    vectors = unit(rng, people)
    mates = rng.integers(people, size=PROBES)
    noise = unit(rng, PROBES)
    noise -= (noise * vectors[mates]).sum(axis=1, keepdims=True) * vectors[mates]
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    np.save(folder / "people.npy", vectors)
    np.save(folder / "mates.npy", mates)
    np.save(folder / "probes.npy", COSINE * vectors[mates] + np.float32((1 - COSINE**2) ** 0.5) * noise)
    np.save(folder / "extra.npy", unit(rng, 1000))


def load(folder: Path, name: str) -> NDArray[Any]:
    return np.load(folder / f"{name}.npy", mmap_mode="r" if name == "people" else None)


def fill(folder: Path, key: bytes | None) -> dict[str, Any]:
    """Writes everybody into a gallery, in one transaction."""
    store = open_store(gallery_path(folder, key), CONTRACT, key=key)
    store.fill(everybody(folder), Settings(), None)
    store.close()
    return {"file_mib": gallery_path(folder, key).stat().st_size / 2**20}


def everybody(folder: Path) -> list[StoredPerson]:
    people = []
    for i, vector in enumerate(load(folder, "people")):
        photo = PhotoTemplate(f"{i:064x}", 100.0, vector, 0.9)
        people.append(StoredPerson(0, f"{i:08x}-0000-4000-8000-000000000000", f"p{i}", Details(), (photo,), (), b""))
    return people


def gallery_path(folder: Path, key: bytes | None) -> Path:
    return folder / ("encrypted.gallery" if key else "plain.gallery")


def extra_photos(folder: Path, times: int) -> list[PhotoTemplate]:
    return [PhotoTemplate(f"f{i:063x}", 100.0, vector) for i, vector in enumerate(load(folder, "extra")[:times])]


def closest(found: Sequence[Sequence[Match]]) -> NDArray[np.int64]:
    """The number of the closest person of each probe."""
    return np.array([int(matches[0].name.removeprefix("p")) for matches in found])


def ours(folder: Path, times: int, key: bytes | None) -> dict[str, Any]:
    """Opening, memory, changes and searches of a gallery."""
    probes, mates = load(folder, "probes"), load(folder, "mates")
    record: dict[str, Any] = {}
    before, cpu, start = resident_mib(), time.process_time(), time.perf_counter()
    with Gallery.open(gallery_path(folder, key), CONTRACT, key=key) as gallery:
        gallery.search(probes[:1], K)
        record |= {"open_s": time.perf_counter() - start, "open_cpu_s": time.process_time() - cpu}
        record["memory_mib"] = resident_mib() - before
        start = time.perf_counter()
        gallery.log("benchmark")  # the first change waits for SQLite's check of all pages
        record["first_change_s"] = time.perf_counter() - start
        photos = extra_photos(folder, times)
        seen: dict[str, list[float]] = {"add": [], "remove": []}

        def change(kind: str, call: Callable[[], object]) -> None:
            call()
            began = time.perf_counter()
            gallery.search_index()
            seen[kind].append(1e3 * (time.perf_counter() - began))

        record |= milliseconds("add", lambda i: change("add", lambda: gallery.add(f"new {i}", [photos[i]])), times)
        record |= milliseconds("remove", lambda i: change("remove", lambda: gallery.remove(f"new {i}")), times)
        record |= {f"{kind}_until_seen_ms": float(np.median(found)) for kind, found in seen.items()}
        record |= milliseconds("write_page", lambda _: write_page(folder), times)
        if key is None:
            first = gallery.search(probes, K)
            record |= time_batches(lambda n: gallery.search(probes[:n], K), times)
            record["memory_after_batches_mib"] = resident_mib() - before
            record["missed"] = missed(closest(first), mates)
    return record


def ours_in_milvus(folder: Path, times: int) -> dict[str, Any]:
    """The same in Milvus, of which milvus-lite is the server."""
    probes, mates, photos = load(folder, "probes"), load(folder, "mates"), extra_photos(folder, times)
    with server(folder / "gallery") as (uri, memory):
        url = f"{uri.replace('http', 'milvus')}/benchmark"
        patiently(lambda: Gallery.open(url, CONTRACT).close())
        start = time.perf_counter()
        store = open_store(url, CONTRACT)
        store.fill(everybody(folder), Settings(), None)
        store.close()
        record: dict[str, Any] = {"open_s": time.perf_counter() - start}
        with Gallery.open(url, CONTRACT) as gallery:
            record |= {"missed": missed(closest(gallery.search(probes, K)), mates), "memory_mib": memory()}
            record |= time_batches(lambda n: gallery.search(probes[:n], K), times)

            def add(i: int) -> None:
                gallery.add(f"new {i}", [photos[i]])

            def remove(i: int) -> None:
                gallery.remove(f"new {i}")

            record |= milliseconds("add", add, times) | milliseconds("remove", remove, times)
    return record


def check(folder: Path) -> dict[str, Any]:
    """`lrface gallery check`, which compares everybody with everybody."""
    calibration = Calibration.of(Manifest.load())
    with Gallery.open(gallery_path(folder, None), CONTRACT) as gallery:
        gallery.search_index()
        start, cpu = time.perf_counter(), time.process_time()
        findings = check_gallery(gallery, calibration)
        return {
            "check_s": time.perf_counter() - start,
            "check_cpu_s": time.process_time() - cpu,
            "findings": len(findings),
        }


def write_page(folder: Path) -> None:
    """What the disk takes to acknowledge 4 KiB."""
    with (folder / "page").open("wb") as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())


def bandwidth(people: int) -> dict[str, Any]:
    """GB/s at which one thread reads memory that is in no cache, and the milliseconds for all templates once."""
    values = np.ones(2**28 // 4, np.float32)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        np.dot(values, values)
        best = min(best, time.perf_counter() - start)
    speed = values.nbytes / best / 1e9
    return {"gb_per_s": speed, "all_templates_once_ms": people * DIM * 4 / speed / 1e6}


def two_processes(folder: Path, times: int) -> dict[str, Any]:
    """One process searches all the time, another one enrols: the reader's pauses, and when new people are seen."""
    extra, started = load(folder, "extra")[:times], multiprocessing.get_context("spawn").Event()
    writer = multiprocessing.get_context("spawn").Process(target=enrol_slowly, args=(folder, times, started))
    with Gallery.open(gallery_path(folder, None), CONTRACT) as gallery:
        gallery.search(extra[:1], K)
        quiet = [timed(lambda: gallery.search(extra[:1], K))[0] for _ in range(100)]
        writer.start()
        started.wait(60)
        pauses, seen = [], np.full(times, np.nan)
        while writer.is_alive() or np.isnan(seen).any():
            if writer.exitcode:
                raise RuntimeError("the process that enrols has failed: see what it wrote")
            waiting = np.flatnonzero(np.isnan(seen))
            number = int(waiting[0]) if len(waiting) else 0
            taken, found = timed(lambda: gallery.search(extra[number : number + 1], 1))  # noqa: B023
            pauses.append(taken)
            if len(waiting) and found[0][0].similarity > 0.99:
                seen[number] = time.time()
            if len(waiting) == 0 and not writer.is_alive():
                break
    writer.join()
    said = np.load(folder / "said.npy")
    delays = 1e3 * (seen - said)
    return {
        "search_alone_max_ms": max(quiet),
        "search_p50_ms": float(np.median(pauses)),
        "search_p99_ms": float(np.percentile(pauses, 99)),
        "search_max_ms": max(pauses),
        "searches": len(pauses),
        "seen_after_p50_ms": float(np.median(delays)),
        "seen_after_max_ms": float(delays.max()),
    }


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return 1e3 * (time.perf_counter() - start), result


def enrol_slowly(folder: Path, times: int, started: Any) -> None:
    """Enrols somebody five times a second and notes when it was acknowledged."""
    photos, said = extra_photos(folder, times), []
    with Gallery.open(gallery_path(folder, None), CONTRACT) as gallery:
        started.set()
        for i, photo in enumerate(photos):
            gallery.add(f"late {i}", [photo])
            said.append(time.time())
            threading.Event().wait(0.2)
    np.save(folder / "said.npy", np.array(said))


def alone(call: Callable[..., Any], *arguments: object) -> Any:
    """Calls it in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(call, *arguments).result()


def measure(people: int, times: int, folder: Path, hnsw: bool = True) -> list[dict[str, Any]]:
    """All rows of one size."""
    make_people(people, folder)
    rows: list[dict[str, Any]] = []

    def add(what: str, *parts: dict[str, Any] | None) -> None:
        found = [part for part in parts if part is not None]
        if found:
            rows.append({"people": people, "what": what} | {k: v for part in found for k, v in part.items()})
            told = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items())
            print(told, flush=True)

    add("memory", alone(bandwidth, people))
    add("lrface", alone(fill, folder, None), alone(ours, folder, times, None))
    add("two processes", alone(two_processes, folder, times))
    if people <= CHECK_UP_TO:
        add("check", alone(check, folder))
    gallery_path(folder, None).unlink()
    add("lrface, encrypted", alone(fill, folder, KEY), alone(ours, folder, times, KEY))
    gallery_path(folder, KEY).unlink()
    add("faiss, exact", alone(faiss_exact, folder, min(times, 10), K))
    add("faiss, exact, float16", alone(faiss_exact, folder, min(times, 10), K, True))
    if hnsw:
        for row in alone(faiss_hnsw, folder, times, K):
            add("faiss, HNSW", row)
    add("milvus-lite", alone(milvus_lite, folder, min(times, 10), K))
    if people <= MILVUS_UP_TO and milvus_installed():
        add("lrface in milvus-lite", alone(ours_in_milvus, folder, min(times, 10)))
    return rows


def main() -> None:
    """Measure, print, write `gallery.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--times", type=int, default=50, help="how often each call is timed")
    parser.add_argument("--hnsw-up-to", type=int, default=1_000_000, help="people; its index takes long to build")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of gallery.json")
    arguments = parser.parse_args()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    rows: list[dict[str, Any]] = []
    for people in arguments.people:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(people, arguments.times, Path(folder), people <= arguments.hnsw_up_to)
    protocol = (
        f"random unit vectors of {DIM} numbers, one photo a person, the {K} closest are asked for; times of one query,"
        f" the median of {arguments.times} calls ({min(arguments.times, 10)} of exact faiss and of Milvus); one thread"
    )
    result = {"protocol": protocol, "seed": SEED, "cosine": COSINE, "rows": rows}
    sys.stdout.write(f"written: {write_result('gallery', result, arguments.out)}\n")


if __name__ == "__main__":
    main()
