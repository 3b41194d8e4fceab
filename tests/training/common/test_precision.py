"""bfloat16 only where it is fast."""

from __future__ import annotations

import pytest
import torch

from training.common.precision import mixed_precision


@pytest.mark.parametrize(("capability", "dtype"), [("AVX2", torch.float32), ("AVX512", torch.bfloat16)])
def test_bfloat16_is_used_only_on_processors_that_compute_in_it(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with mixed_precision():
        assert torch.nn.Linear(4, 4)(torch.ones(1, 4)).dtype == dtype
