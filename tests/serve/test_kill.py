"""kill -9 at any instant while people are enrolled over REST: whoever was answered 2xx is there afterwards."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
from shell import ENVIRONMENT
from tiny_models import png, portrait

KILLS = int(os.environ.get("LRFACE_TEST_KILLS", "4"))  # 200 by hand
_CLIENTS = 3


class _Enrolling(threading.Thread):
    """Enrols one person after another until the service is gone."""

    def __init__(self, url: str, token: str, prefix: str) -> None:
        super().__init__(daemon=True)
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=20
        )
        self._prefix = prefix
        self.answered: dict[str, str] = {}
        self.refused: list[str] = []

    def run(self) -> None:
        for number in range(100_000):
            name = f"{self._prefix} {number}"
            photos = [("photos", ("a.png", png(portrait(name))))]
            try:
                answer = self._http.post("/v1/people", data={"name": name, "force": "true"}, files=photos)
            except httpx.HTTPError:
                break
            if answer.status_code == 201:
                self.answered[name] = answer.json()["person"]["id"]
            else:
                self.refused.append(answer.text)
        self._http.close()


def everybody(http: httpx.Client) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    after = ""
    while True:
        page = http.get("/v1/people", params={"limit": 500, "after": after}).json()
        found |= {each["name"]: (each["id"], each["photos"]) for each in page["people"]}
        if page["next"] is None:
            return found
        after = page["next"]


def test_who_was_answered_is_there_after_a_kill(tmp_path: Path, models: Path) -> None:
    rng = random.Random(1)
    command = [sys.executable, str(Path(__file__).parents[1] / "helpers" / "forking_service.py")]
    with (tmp_path / "log.txt").open("w") as log:
        parent = subprocess.Popen(
            [*command, str(tmp_path), str(models)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=ENVIRONMENT,
        )
    assert parent.stdin is not None
    assert parent.stdout is not None
    known: dict[str, str] = {}
    token, interrupted = "", 0
    try:
        for kill in range(KILLS + 1):
            parent.stdin.write("go\n")
            parent.stdin.flush()
            told = json.loads(parent.stdout.readline())
            token = token or told["token"]
            with httpx.Client(
                base_url=told["url"], headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60
            ) as http:
                there = everybody(http)
            for name, identity in known.items():
                assert there.get(name) == (identity, 1), f"{name} was enrolled, and is not there after kill {kill}"
            interrupted += len(there) - len(known)  # committed, but the answer did not get through
            known = {name: identity for name, (identity, _) in there.items()}
            clients = [_Enrolling(told["url"], token, f"kill {kill} client {i}") for i in range(_CLIENTS)]
            if kill < KILLS:
                for each in clients:
                    each.start()
                wanted, end = rng.randint(1, 12), time.monotonic() + 60
                while sum(len(each.answered) for each in clients) < wanted and time.monotonic() < end:
                    time.sleep(0.001)
                time.sleep(rng.uniform(0, 0.02))
            os.kill(told["pid"], signal.SIGKILL)
            for each in clients if kill < KILLS else ():
                each.join(60)
                assert each.refused == []
                known |= each.answered
            assert json.loads(parent.stdout.readline()) == {"ended": told["pid"]}
    finally:
        parent.stdin.close()
        parent.wait(60)
        parent.stdout.close()
    print(f"{KILLS} kills: {len(known)} people answered or found, {interrupted} of them committed without an answer")
    assert len(known) >= KILLS
