"""What every test of training may rely on."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _same_random_state() -> None:
    """Every test begins with the same random state, whichever ran before it."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)


@pytest.fixture
def curves() -> None:
    """A test that asks for it lets runs draw their curves, which takes longer than a tiny run."""


@pytest.fixture(autouse=True)
def _no_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "curves" not in request.fixturenames:
        monkeypatch.setattr("training.embedder.distill.draw_curves", lambda run: None)
