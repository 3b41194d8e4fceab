"""What others take for the searches of `benchmarks.gallery`: faiss, exact and by HNSW, and milvus-lite as a server."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.lib.timing import milliseconds, resident_mib, time_batches

HNSW, HNSW_LARGE, LARGE = (32, 80), (16, 40), 200_000  # M and efConstruction; from so many people on the cheaper ones
HNSW_SEARCHES = (128, 512)  # efSearch
SERVER_START_S = 60.0
_ROWS = 2000  # in one insertion
_COLLECTION = "people"


def missed(found: NDArray[np.int64], mates: NDArray[np.int64]) -> float:
    """The share of probes whose own person is not the closest one that was found."""
    return float(np.mean(found != mates))


def faiss_exact(folder: Path, times: int, k: int, half: bool = False) -> dict[str, Any]:
    """An exact index of float32 (IndexFlatIP) or of float16 (IndexScalarQuantizer)."""
    import faiss

    faiss.omp_set_num_threads(1)
    dim = np.load(folder / "people.npy", mmap_mode="r").shape[1]
    if not half:
        return _faiss(faiss.IndexFlatIP(dim), folder, times, k)
    halves = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    return _faiss(halves, folder, times, k)


def faiss_hnsw(folder: Path, times: int, k: int) -> list[dict[str, Any]]:
    """An approximate index, IndexHNSWFlat, searched with each efSearch.

    `missed` says what it costs: people who are there and are not found. Of a million people the usual one takes a
    quarter of an hour to build; one with half as many neighbours takes a third of that.
    """
    import faiss

    faiss.omp_set_num_threads(1)
    people, dim = np.load(folder / "people.npy", mmap_mode="r").shape
    neighbours, build = HNSW if people < LARGE else HNSW_LARGE
    index = faiss.IndexHNSWFlat(dim, neighbours, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = build
    built = _faiss_built(index, folder)
    rows = []
    for effort in HNSW_SEARCHES:
        index.hnsw.efSearch = effort
        settings = {"M": neighbours, "ef_construction": build, "ef_search": effort}
        rows.append(settings | built | _faiss_searched(index, folder, times, k))
    return rows


def _faiss(index: Any, folder: Path, times: int, k: int) -> dict[str, Any]:
    return _faiss_built(index, folder) | _faiss_searched(index, folder, times, k)


def _faiss_built(index: Any, folder: Path) -> dict[str, Any]:
    vectors = np.load(folder / "people.npy", mmap_mode="r")
    before, start = resident_mib(), time.perf_counter()
    if not index.is_trained:
        index.train(np.ascontiguousarray(vectors[:10_000]))
    for first in range(0, len(vectors), 50_000):
        index.add(np.ascontiguousarray(vectors[first : first + 50_000]))
    return {"open_s": time.perf_counter() - start, "memory_mib": resident_mib() - before}


def _faiss_searched(index: Any, folder: Path, times: int, k: int) -> dict[str, Any]:
    probes = np.load(folder / "probes.npy")
    record: dict[str, Any] = dict(time_batches(lambda n: index.search(probes[:n], k), times))
    return record | {"missed": missed(index.search(probes, k)[1][:, 0], np.load(folder / "mates.npy"))}


def milvus_installed() -> bool:
    """Whether a server of Milvus can be started here."""
    return all(map(importlib.util.find_spec, ("milvus_lite", "pymilvus")))


def milvus_lite(folder: Path, times: int, k: int) -> dict[str, Any] | None:
    """milvus-lite as a server process, by pymilvus, exact (FLAT, inner product); None if they are not installed."""
    if not milvus_installed():
        return None
    from pymilvus import DataType, MilvusClient

    vectors, probes = np.load(folder / "people.npy", mmap_mode="r"), np.load(folder / "probes.npy")
    extra = np.load(folder / "extra.npy")
    with server(folder / "milvus") as (uri, memory):
        client = patiently(lambda: MilvusClient(uri=uri))
        start = time.perf_counter()
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        index = MilvusClient.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        client.create_collection(_COLLECTION, schema=schema, index_params=index)
        for first in range(0, len(vectors), _ROWS):
            rows = enumerate(vectors[first : first + _ROWS].tolist(), first)
            client.insert(_COLLECTION, [{"id": i, "vector": vector} for i, vector in rows])
        client.flush(_COLLECTION)
        client.load_collection(_COLLECTION)
        record: dict[str, Any] = {"open_s": time.perf_counter() - start}

        def search(count: int) -> NDArray[np.int64]:
            found = client.search(
                _COLLECTION, probes[:count].tolist(), limit=k, search_params={"metric_type": "IP"}, timeout=600
            )
            return np.array([hits[0]["id"] for hits in found])

        record |= {"missed": missed(search(len(probes)), np.load(folder / "mates.npy")), "memory_mib": memory()}
        record |= time_batches(search, times)
        new = len(vectors)

        def add(i: int) -> None:
            client.insert(_COLLECTION, [{"id": new + i, "vector": extra[i].tolist()}])
            _until(client, extra[i], lambda found: found == new + i)

        def remove(i: int) -> None:
            client.delete(_COLLECTION, ids=[new + i])
            _until(client, extra[i], lambda found: found != new + i)

        record |= milliseconds("add_and_search", add, times) | milliseconds("remove_and_search", remove, times)
        client.close()
    return record


def _until(client: Any, vector: NDArray[np.float32], done: Callable[[int], bool]) -> None:
    """Searches until the answer is as wanted."""
    while True:
        found = client.search(_COLLECTION, [vector.tolist()], limit=1, consistency_level="Strong")
        if done(int(found[0][0]["id"])):
            return


@contextmanager
def server(data: Path) -> Iterator[tuple[str, Callable[[], float]]]:
    """The server's address, and how many MiB of memory it has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(data), "--host", "127.0.0.1"]
    with (data.with_suffix(".log")).open("wb") as log:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}", lambda: resident_mib(process.pid)
        finally:
            process.terminate()
            process.wait(30)


def patiently(call: Callable[[], Any]) -> Any:
    """What a call gives once it raises nothing: the server takes a while to start."""
    end = time.monotonic() + SERVER_START_S
    while True:
        try:
            return call()
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
