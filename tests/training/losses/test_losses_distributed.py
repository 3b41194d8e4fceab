"""Two processes with half a batch each are one process with the whole: losses, gradients, buffers."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from training.common.distributed import gather
from training.losses import LOSSES, LossContext

N, D, E, K, RANKS, STEPS = 8, 6, 6, 4, 2, 2
LABELS = torch.tensor([0, 1, 0, 2, -1, 3, 1, -1])


def train(name: str, rank: int, ranks: int) -> dict[str, torch.Tensor]:
    """Two steps of a small network on this rank's part of each batch: values, last gradients, the loss's state."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(5, D), torch.nn.Tanh(), torch.nn.Linear(D, D))
    loss = LOSSES[name].build(LossContext(D, E, torch.randn(K, E), torch.randn(K, E), K))
    parameters = [*network.parameters(), *loss.parameters()]
    model = DistributedDataParallel(network) if ranks > 1 else network
    # Heads get the same gradient on all ranks: they need no wrapper.
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    out: dict[str, torch.Tensor] = {}
    part = slice(rank * N // ranks, (rank + 1) * N // ranks)
    for step in range(STEPS):
        x, guide = torch.randn(N, 5), torch.randn(N, E)
        value = loss(model(x[part]), guide[part], LABELS[part])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        out[f"value {step}"] = value.detach()
    out |= {f"gradient {i}": p.grad.clone() for i, p in enumerate(parameters) if p.grad is not None}
    return out | {f"state {k}": v.clone() for k, v in loss.state_dict().items()}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS)
    x = torch.full((2, 3), float(rank + 1), requires_grad=True)
    whole = gather(x)
    whole.square().sum().backward()
    results = {name: train(name, rank, RANKS) for name in LOSSES}
    gathered = {"whole": whole.detach(), "gradient": x.grad, "labels": gather(torch.tensor([rank, -1]))}
    torch.save({**results, "gather": gathered}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, torch.Tensor]]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=RANKS)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]


@pytest.mark.parametrize("rank", range(RANKS))
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_two_processes_train_as_one(name: str, rank: int, ranks) -> None:
    alone, found = train(name, 0, 1), ranks[rank][name]
    assert found.keys() == alone.keys()
    for key, value in alone.items():
        message = f"{key}: {found[key]} of two processes, {value} of one"
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5, equal_nan=True, msg=message)


@pytest.mark.parametrize("rank", range(RANKS))
def test_gather_keeps_the_ranks_order_and_scales_the_gradient_by_their_number(rank: int, ranks) -> None:
    found = ranks[rank]["gather"]
    assert found["whole"].tolist() == [[1.0] * 3] * 2 + [[2.0] * 3] * 2
    assert found["gradient"].tolist() == [[2.0 * (rank + 1) * RANKS] * 3] * 2
    assert found["labels"].tolist() == [0, -1, 1, -1]


def test_gather_of_one_process_is_the_tensor_itself() -> None:
    x = torch.ones(2, requires_grad=True)
    assert gather(x) is x
