"""Runs in processes of their own: killed at any instant, and shared by two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from network_watch import wanted, without_route

torch = pytest.importorskip("torch")
pytest.importorskip("pandas")

SCRIPT = Path(__file__).parents[2] / "helpers" / "toy_run.py"


@pytest.fixture
def torchrun_asks_for_its_name() -> Iterator[None]:
    """torchrun asks the name server for the name of its own machine; nothing else is sent."""
    before = without_route()
    yield
    wanted.append(without_route() - before)


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def _run(folder: Path, epochs: int, processes: int = 1) -> None:
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*launcher, str(SCRIPT), str(folder), str(epochs)], env=ENVIRONMENT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]


def _state(folder: Path) -> dict:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def _log(folder: Path) -> dict[int, dict]:
    return {line["epoch"]: line for line in map(json.loads, (folder / "log.jsonl").read_text().splitlines())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    _run(folder, 4)
    return folder


def test_a_run_that_is_killed_ends_as_one_that_was_not(whole: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path), "4", "killed"]
    killed = subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=240)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert 4 <= _state(tmp_path)["steps"] < 16, "killed too late to show anything"
    _run(tmp_path, 4)
    ours, theirs = _state(tmp_path), _state(whole)
    assert ours["steps"] == theirs["steps"] == 16
    for part in ("model", "ema", "objective"):
        assert ours[part].keys() == theirs[part].keys()
        for name, value in ours[part].items():
            torch.testing.assert_close(value, theirs[part][name], rtol=1e-5, atol=1e-6, equal_nan=True)
    assert sorted(_log(tmp_path)) == [1, 2, 3, 4]


@pytest.mark.usefixtures("torchrun_asks_for_its_name")
def test_two_processes_train_as_one_does(whole: Path, tmp_path: Path) -> None:
    _run(tmp_path / "two", 4, processes=2)
    assert (tmp_path / "two.made").exists()  # and was not made twice: that ends in an error
    one, two = _log(whole), _log(tmp_path / "two")
    for epoch in range(1, 5):
        # BatchNorm sees half a batch in each process: the same within noise, not to the last digit (the losses alone
        # are, see test_losses_distributed.py); near-doubles in this set make the KL term jump most.
        for term, noise in (("order1", 0.05), ("order_c", 0.15), ("crrcd", 0.05), ("relational_kl", 0.5)):
            assert two[epoch][term] == pytest.approx(one[epoch][term], rel=noise), (epoch, term)
        assert abs(two[epoch]["val_cosine"] - one[epoch]["val_cosine"]) < 0.02
    assert two[4]["order1"] < two[1]["order1"]
