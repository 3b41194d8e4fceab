"""A Milvus server for tests: milvus-lite in a process, with a port and a folder of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from pymilvus import MilvusClient
from shell import ENVIRONMENT

START_S = 60.0


class MilvusServer:
    """Runs from `start` until `stop` or `kill`; may be started again, on the same port and folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, collection: str) -> str:
        """Of a gallery."""
        return f"milvus://127.0.0.1:{self.port}/{collection}"

    def client(self) -> MilvusClient:
        """A connection that knows nothing of lrface."""
        seldom = {"grpc.keepalive_permit_without_calls": False}  # else it ends idle connections
        return MilvusClient(uri=f"http://127.0.0.1:{self.port}", timeout=10, grpc_options=seldom)

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(self.folder / "data")]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self.port)], stdout=log, stderr=log, env=ENVIRONMENT
            )
        end = time.monotonic() + START_S
        while True:
            try:
                self.client().list_collections()
                return
            except Exception:
                if time.monotonic() > end or self._process.poll() is not None:
                    said = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"milvus-lite did not start: {said}") from None
                time.sleep(0.1)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def stop(self) -> None:
        """Ends the server."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def empty(self, collection: str) -> str:
        """The URL of a gallery without people; its collections are used again: to make some takes a second."""
        client = self.client()
        for name in (collection, f"{collection}__notes"):
            if client.has_collection(name):
                client.delete(name, filter='key != ""')
        return self.url(collection)
