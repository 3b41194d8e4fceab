"""A real server process with tiny models, for tests: `with running(folder) as server: server.get("/v1/people")`.

As a program it is that process: it prints one line of JSON (URL, and the secrets of the first start) when it answers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from shell import ENVIRONMENT


class Server:
    """A service in a process of its own, and a client with the administrator's token."""

    def __init__(self, folder: Path, models: Path, **options: Any) -> None:
        self.folder = folder
        command = [sys.executable, __file__, str(folder), str(models), json.dumps(options)]
        self.log = (folder / "log.txt").open("ab")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL, env=ENVIRONMENT, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (folder / "log.txt").read_text()
        told = json.loads(line)
        known = folder / "secrets.json"  # a later process of the same folder has the same ones
        if told.get("token"):
            known.write_text(line)
        secrets = json.loads(known.read_text())
        self.url, self.token, self.password = told["url"], secrets["token"], secrets["password"]
        self.http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=60,
            trust_env=False,
            verify=not told["tls"],
        )
        self.port = int(self.url.rpartition(":")[2])

    def anonymous(self) -> httpx.Client:
        """A client without a token, as a browser before the login."""
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def browser(self) -> tuple[httpx.Client, str]:
        """A logged-in client, and its CSRF token."""
        client = self.anonymous()
        answer = client.post("/login", data={"name": "admin", "password": self.password})
        assert answer.status_code == 303, answer.text
        return client, client.get("/v1/me").json()["csrf"]

    def enrol(self, name: str, *photos: bytes, **fields: str) -> httpx.Response:
        files = [("photos", (f"{i}.png", photo, "image/png")) for i, photo in enumerate(photos)]
        return self.http.post("/v1/people", data={"name": name, **fields}, files=files)

    def wait_for(self, path: str, wanted: Any, seconds: float = 60) -> Any:
        """Asks until `wanted` is true of the JSON."""
        end = time.monotonic() + seconds
        while True:
            found = self.http.get(path).json()
            if wanted(found):
                return found
            assert time.monotonic() < end, found
            time.sleep(0.1)

    def stop(self) -> int:
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.log.close()
        return code


@contextmanager
def running(folder: Path, models: Path, **options: Any) -> Iterator[Server]:
    """A service until the end of the block.

    Args:
        folder: Of its files; a later one goes on with them.
        models: As `tiny_models.write_models` makes them.
        **options: `limits` (fields of Limits), `cameras` (name: list of (person, x, y, width)), `cert` and `key`,
            `webhook` (the URL of a receiver of events).
    """
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(folder, models, **options)
    try:
        yield server
    finally:
        server.stop()


def main(folder: Path, models: Path, options: dict[str, Any]) -> None:
    import cv2
    import tiny_models
    from fakes import FakeCapture

    from lrface.cameras.config import Camera, Settings, WebhookSettings
    from lrface.cli.app import _end_on_signals, _Ended
    from lrface.serve.options import Limits, ServeOptions
    from lrface.serve.server import serve
    from lrface.serve.service import Service

    cv2.setNumThreads(1)
    _end_on_signals()
    scenes = options.get("cameras")

    def frames(scene: list[list[Any]]) -> Iterator[Any]:
        picture, empty = tiny_models.scene(*map(tuple, scene)), tiny_models.scene()
        while True:  # somebody is there for a second, then nobody for two, so that tracks end
            for shown, seconds in ((picture, 1.0), (empty, 2.5)):
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    time.sleep(0.02)
                    yield shown

    def capture(source: str | int) -> Any:
        return FakeCapture(frames((scenes or {})[str(source).split("/")[2]]))

    settings = None
    if scenes is not None:
        cameras = tuple(Camera(name, f"rtsp://{name}/", stall_s=30) for name in scenes)
        webhooks = [WebhookSettings(options["webhook"])] if "webhook" in options else []
        settings = Settings(cameras, folder / "outbox", tuple(webhooks))
    pems = [Path(options[name]) if name in options else None for name in ("cert", "key")]
    serving = ServeOptions(
        folder / "data",
        options.get("host", "127.0.0.1"),
        0,
        *pems,
        options.get("insecure", False),
        Limits(**options.get("limits", {})),
    )
    with tiny_models.open_matcher(folder / "staff.gallery", models) as matcher:
        service = Service(matcher, settings, serving, open_capture=capture)
        first = service.access.first_start()
        secrets = {} if first is None else {"token": first.token, "password": first.password}

        def told(url: str) -> None:
            print(json.dumps({"url": url, "tls": serving.tls, "pid": os.getpid(), **secrets}), flush=True)

        try:
            serve(service, told)
        except _Ended:
            pass
        finally:
            service.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
