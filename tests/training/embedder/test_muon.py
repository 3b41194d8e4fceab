from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from training.embedder.muon import Muon, MuonWithAdamW, orthogonalised


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_an_update_is_nearly_orthogonal(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape) @ torch.diag(torch.linspace(0.5, 2, shape[1]))
    found = orthogonalised(matrix)
    values = torch.linalg.svdvals(found.float())
    assert found.dtype == matrix.dtype
    assert 0.5 < values.min() <= values.max() < 1.4
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(found.flatten(), (u @ v).flatten(), dim=0) > 0.95


def _model() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 3))


def _steps(model: torch.nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> float:
    for seed in seeds:
        torch.manual_seed(seed)
        x = torch.randn(16, 2, 4, 4)
        loss = (model(x) - x.mean((2, 3)).sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_it_minimises_a_quadratic() -> None:
    torch.manual_seed(0)
    goal = torch.randn(6, 4)
    weight = torch.nn.Parameter(torch.zeros(6, 4))
    optimizer = Muon([weight], lr=0.05, weight_decay=0.0)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 200)
        optimizer.zero_grad()
        (weight - goal).square().sum().backward()
        optimizer.step()
    assert (weight - goal).norm() < 0.1 * goal.norm()


def test_matrices_and_the_rest_have_their_own_optimiser() -> None:
    model = _model()
    optimizer = MuonWithAdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    parts = [{id(p) for group in part.param_groups for p in group["params"]} for part in optimizer.parts]
    assert parts[0] == {id(p) for p in model.parameters() if p.dim() >= 2}
    assert parts[1] == {id(p) for p in model.parameters() if p.dim() < 2}
    assert [part.param_groups[0]["weight_decay"] for part in optimizer.parts] == [0.1, 0.0]
    optimizer.param_groups[0]["lr"] = 0.5
    _steps(model, optimizer, range(1))
    assert [part.param_groups[0]["lr"] for part in optimizer.parts] == pytest.approx([0.5, 0.05])


def test_it_learns() -> None:
    model, untrained = _model(), _model()
    learnt = _steps(model, MuonWithAdamW(model.parameters(), lr=0.02, weight_decay=0.0), range(120))
    assert learnt < 0.5 * _steps(untrained, torch.optim.SGD(untrained.parameters(), 0.0), range(119, 120))


def test_a_resumed_optimiser_ends_at_the_same_weights() -> None:
    whole, model = _model(), _model()
    _steps(whole, MuonWithAdamW(whole.parameters(), lr=0.02, weight_decay=0.1), range(8))
    first = MuonWithAdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    _steps(model, first, range(4))
    resumed = MuonWithAdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    resumed.load_state_dict(first.state_dict())
    _steps(model, resumed, range(4, 8))
    for one, other in zip(whole.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other)
