"""What every test may ask for: one thread each, and the real data beside the checkout where it is there."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from network_watch import outside, wanted, without_route

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy, torch or faiss start their pools
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any test imports onnxruntime

# A run started with `nohup ... &` ignores these signals. What a process ignores its children ignore too; what it
# handles is back at its default in children, as tests of Ctrl-C and of a closed terminal need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)  # the run itself still outlives its terminal

# the same examples in every run, and no deadline: machines differ in speed
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")

ROOT = Path(__file__).resolve().parents[1]
LONGEST = (
    "benchmarks/test_benchmarks.py",
    "serve/test_browser.py",
    "training/common/test_processes.py",
    "cli/test_cli.py",
    "test_bad_input.py",
    "cli/test_messages.py",
    "training/embedder/test_distill.py",
    "training/losses/test_losses_distributed.py",
)
"""Files that take longest, which come first: at the end one process would work and the others would idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(autouse=True)
def _nothing_leaves_this_machine() -> Iterator[None]:
    """Fail a test that reached for anything but loopback, also where the code under test swallowed the refusal.

    A process that outlives its test is blamed on the next one.
    """
    outside.clear()
    wanted.clear()
    before = without_route()
    yield
    assert not outside, f"sockets beyond this machine: {outside}"
    assert without_route() - before == sum(wanted), (
        "a library or another process tried to reach a host beyond this machine"
    )


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Keep OpenCV on one thread: several test runs share a machine."""
    import cv2

    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; the test is skipped, and says so, where there is none."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the real data in {folder}, which is not here")
    return folder


@pytest.fixture(scope="session")
def portrait() -> Path:
    """Eileen Collins, of the demo extra (public domain)."""
    from lrface.cli.demo_scene import COLLINS

    return COLLINS.file()


@pytest.fixture(scope="session")
def stranger() -> Path:
    """Grace Hopper, of the demo extra (public domain)."""
    from lrface.cli.demo_scene import HOPPER

    return HOPPER.file()


@pytest.fixture(scope="session")
def enrolled(tmp_path_factory: pytest.TempPathFactory, portrait: Path) -> Path:
    """A gallery with Eileen Collins, made by the bundled models. Copy it before changing it."""
    import lrface

    gallery = tmp_path_factory.mktemp("enrolled") / "staff.gallery"
    with lrface.FaceMatcher.open(gallery) as matcher:
        matcher.enroll("Eileen Collins", portrait)
    return gallery
