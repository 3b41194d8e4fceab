"""What a gallery costs as it grows: opening, memory, adding and removing one person, searching alone and in batches.

People are random unit vectors of 256 numbers with one photo each. Beside the gallery's search: faiss's exact index
(IndexFlatIP), with one thread like all else. And the same gallery encrypted.

    python -m benchmarks.gallery --people 10000 100000 --out gallery.json
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from lrface.gallery import Contract, Gallery, PhotoTemplate
from lrface.gallery.reading import StoredPerson
from lrface.gallery.records import Details
from lrface.gallery.settings import Settings
from lrface.gallery.store import Store

DIM, K = 256, 5
BATCHES = (1, 32, 256)
CONTRACT = Contract(
    "benchmark",
    DIM,
    True,
    "arcface-112",
    {"112": {"name": "random", "sha256": "0" * 64, "channels": "RGB", "mean": 127.5, "scale": 0.0078125}},
)


def unit(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    vectors = rng.standard_normal((n, DIM), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def fill(path: Path, vectors: NDArray[np.float32], key: bytes | None = None) -> None:
    """Writes everybody in one transaction."""
    people = []
    for i, vector in enumerate(vectors):
        photo = PhotoTemplate(f"{i:064x}", 100.0, vector, 0.9)
        people.append(StoredPerson(0, f"{i:08x}-0000-4000-8000-000000000000", f"p{i}", Details(), (photo,), (), b""))
    store = Store(path, CONTRACT, key=key)
    store.fill(people, Settings(), None)
    store.close()


def resident() -> float:
    """MiB of this process in memory now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


def milliseconds(call: Callable[[int], object], times: int) -> tuple[float, float]:
    """Median and 99th percentile."""
    taken = []
    for i in range(times):
        start = time.perf_counter()
        call(i)
        taken.append(1e3 * (time.perf_counter() - start))
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 99))


def changes(gallery: Gallery, extra: list[PhotoTemplate]) -> dict[str, float]:
    """What one more person costs, and one less, until they are searched."""

    def add(i: int) -> None:
        gallery.add(f"new {i}", [extra[i]])
        gallery.search_index()

    def remove(i: int) -> None:
        gallery.remove(f"new {i}")
        gallery.search_index()

    added, removed = milliseconds(add, len(extra)), milliseconds(remove, len(extra))
    return dict(zip(("add_ms", "add_p99_ms", "remove_ms", "remove_p99_ms"), (*added, *removed), strict=True))


def measure(people: int, times: int, folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(people)
    vectors, probes = unit(rng, people), unit(rng, max(BATCHES))
    path = folder / f"{people}.gallery"
    fill(path, vectors)
    before, start = resident(), time.perf_counter()
    record: dict[str, Any] = {"people": people}
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.search(probes[:1], K)
        record["open_s"] = time.perf_counter() - start
        record["memory_mib"] = resident() - before
        extra = [PhotoTemplate(f"f{i:063x}", 100.0, vector) for i, vector in enumerate(unit(rng, times))]

        record |= changes(gallery, extra)
        flat = faiss.IndexFlatIP(DIM)
        flat.add(vectors)
        faiss.omp_set_num_threads(1)
        for batch in BATCHES:
            p50, p99 = milliseconds(lambda i, n=batch: gallery.search(probes[:n], K), times)  # type: ignore[misc]
            record[f"search_{batch}_ms"], record[f"search_{batch}_p99_ms"] = p50 / batch, p99 / batch
            p50, _ = milliseconds(lambda i, n=batch: flat.search(probes[:n], K), min(times, 5))  # type: ignore[misc]
            record[f"faiss_{batch}_ms"] = p50 / batch
        scores = flat.search(probes, K)[0]
        found = [[match.similarity for match in matches] for matches in gallery.search(probes, K)]
        record["largest_difference"] = float(np.abs(scores - np.array(found)).max())
    return record | encrypted(people, times, folder, vectors, probes)


def encrypted(
    people: int, times: int, folder: Path, vectors: NDArray[np.float32], probes: NDArray[np.float32]
) -> dict[str, Any]:
    """The same gallery with a key: only opening, adding and removing read or write what is encrypted."""
    path, key = folder / f"{people}.encrypted.gallery", bytes(range(32))
    fill(path, vectors, key)
    record: dict[str, Any] = {"file_mib": (folder / f"{people}.gallery").stat().st_size / 2**20}
    record["encrypted_file_mib"] = path.stat().st_size / 2**20
    start = time.perf_counter()
    with Gallery.open(path, CONTRACT, key=key) as gallery:
        gallery.search(probes[:1], K)
        record["encrypted_open_s"] = time.perf_counter() - start
        extra = [PhotoTemplate(f"e{i:063x}", 100.0, vector) for i, vector in enumerate(probes[:times])]
        record |= {f"encrypted_{key}": value for key, value in changes(gallery, extra).items()}
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--times", type=int, default=50, help="how often each call is timed")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    arguments = parser.parse_args()
    records = []
    for people in arguments.people:
        with tempfile.TemporaryDirectory() as folder:
            records.append(measure(people, arguments.times, Path(folder)))
        for key, value in records[-1].items():
            print(f"{key:>22}  {value:.4g}" if isinstance(value, float) else f"{key:>22}  {value}")
    if arguments.out:
        arguments.out.write_text(json.dumps({"dim": DIM, "k": K, "runs": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
