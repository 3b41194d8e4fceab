"""The length of an embedding is trained to say how good it is, and bends no direction."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from training.embedder.objective import length_loss, quality


def test_the_loss_is_the_squared_gap_between_length_and_cosine() -> None:
    guide = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, -1, 0, 0]]))
    features = torch.tensor([[2.0, 0, 0, 0], [0, 0, 1, 0], [0, 4, 0, 0]])  # lengths over root 4: 1, 1/2, 2
    torch.testing.assert_close(quality(features), torch.tensor([1, 0.5, 2]))
    for weights, wanted in (([1.0, 0, 0], 0), ([0, 1.0, 0], 0.25), ([0, 0, 1.0], 4), ([0.5, 0.25, 0.25], 1.0625)):
        assert float(length_loss(features, guide, torch.tensor(weights))) == pytest.approx(wanted, abs=1e-6)


def test_only_the_length_is_trained() -> None:
    torch.manual_seed(0)
    features = torch.randn(5, 8, requires_grad=True)
    guide = torch.nn.functional.normalize(torch.randn(5, 8))
    length_loss(features, guide, torch.full((5,), 0.2)).backward()
    along = (features.grad * features).sum(dim=1, keepdim=True) / features.square().sum(dim=1, keepdim=True) * features
    torch.testing.assert_close(features.grad, along.detach(), rtol=1e-4, atol=1e-7)


def test_mixtures_do_not_train_it() -> None:
    features = torch.randn(3, 8, requires_grad=True)
    length_loss(features, torch.randn(3, 8), torch.tensor([1.0, 0, 0])).backward()
    assert features.grad[0].any()
    assert not features.grad[1:].any()
