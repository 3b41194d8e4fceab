"""The service under load: clients that identify pictures at the same time; errors, times of answers, memory.

    python -m benchmarks.service

A real `lrface serve` on loopback with the shipped networks, one person enrolled; each client sends the same picture
(320x240, one face) again as soon as it has its answer. Server and clients share the machine's processor.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import httpx
import numpy as np

from benchmarks.lib.results import RESULTS, table, write_result
from lrface.cli.demo_scene import COLLINS
from lrface.inputs.images import read_image
from lrface.serve.client import Client

PARTS = 6  # of the run, for each of which times and memory are told


def picture() -> bytes:
    """The portrait, small, in a grey picture."""
    image = np.full((240, 320, 3), 128, np.uint8)
    portrait = cv2.resize(read_image(COLLINS.file()), (160, 160), interpolation=cv2.INTER_AREA)
    image[40:200, 80:240] = portrait
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


def start(folder: Path, networks: str) -> tuple[subprocess.Popen[str], str, str]:
    """A service, its URL and a token."""
    command = [sys.executable, "-m", "lrface", "serve", "--gallery", str(folder / "load.gallery"), "--port", "0",
               "--networks", networks]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    token = ""
    for line in process.stderr or ():
        if found := re.search(r"lrf_\w+_[\w-]+", line):
            token = found[0]
        if found := re.search(r"http://\S+", line):
            return process, found[0], token
    raise SystemExit("the service did not start")


def resident(pid: int) -> float:
    """MiB of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def load(
    url: str, token: str, clients: int, seconds: float, pid: int
) -> tuple[list[dict[str, float]], list[str]]:
    """Has clients ask for so long; what each part of the time saw, and the errors."""
    data, began = picture(), time.monotonic()
    took: list[list[float]] = [[] for _ in range(PARTS)]
    errors: list[str] = []
    memory = [0.0] * PARTS

    async def ask(http: httpx.AsyncClient) -> None:
        while (now := time.monotonic()) - began < seconds:
            try:
                answer = await http.post("/v1/identify", files={"picture": ("frame.jpg", data, "image/jpeg")})
                if answer.status_code != 200 or answer.json()["faces"][0]["name"] != COLLINS.name:
                    errors.append(answer.text[:200])
            except httpx.HTTPError as error:
                errors.append(repr(error))
            part = min(PARTS - 1, int(PARTS * (now - began) / seconds))
            took[part].append(time.monotonic() - now)
            memory[part] = resident(pid)

    limits = httpx.Limits(max_connections=clients)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=120, trust_env=False) as http:
        await asyncio.gather(*(ask(http) for _ in range(clients)))
    rows = []
    for part, times in enumerate(took):
        median, late = np.percentile(times or [np.nan], (50, 99))
        rows.append({
            "until_s": round(seconds * (part + 1) / PARTS, 1), "answers": len(times), "p50_s": round(float(median), 3),
            "p99_s": round(float(late), 3), "rss_mb": round(memory[part], 1),
        })  # fmt: skip
    return rows, errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--networks", choices=("accurate", "fast"), default="accurate")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, url, token = start(Path(folder), options.networks)
        try:
            with Client(url, token) as client:
                client.enrol(COLLINS.name, COLLINS.file())
            rows, errors = asyncio.run(load(url, token, options.clients, options.seconds, process.pid))
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    header = ["until, s", "answers", "median, s", "p99, s", "memory, MiB"]
    print(table(header, [[f"{value:g}" for value in row.values()] for row in rows]))
    total = sum(int(row["answers"]) for row in rows)
    print(f"\n{options.clients} clients, {options.seconds:g} s, {options.networks} networks: {total} answers, "
          f"{total / options.seconds:.1f} a second, {len(errors)} errors {errors[:3] or ''}")  # fmt: skip
    protocol = {"clients": options.clients, "seconds": options.seconds, "networks": options.networks}
    write_result("service", {"protocol": protocol, "rows": rows, "errors": len(errors)}, options.out)


if __name__ == "__main__":
    main()
