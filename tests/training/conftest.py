"""What every test of training may rely on."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _same_random_state() -> None:
    """Every test begins with the same random state, whichever ran before it."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
