"""CRRCD and CRD against loops, their queue, and who is no negative."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from training.losses import LOSSES, LossContext
from training.losses.queue import FeatureQueue

N, D, E = 6, 4, 5
LABELS = [0, 0, 1, -1, 2, -1]


def features(seed: int = 0, n: int = N):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, D, generator=generator), torch.randn(n, E, generator=generator)


def make(name: str, seed: int = 0, **arguments):
    torch.manual_seed(seed)
    return LOSSES[name].build(LossContext(D, E), **arguments)


def unit(row) -> list[float]:
    length = math.sqrt(sum(v * v for v in row))
    return [v / length for v in row]


def dot(a, b) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def linear(layer, row) -> list[float]:
    bias = [0.0] * len(layer.weight) if layer.bias is None else layer.bias.tolist()
    return [dot(weights, row) + b for weights, b in zip(layer.weight.tolist(), bias, strict=True)]


def relation(module, first, second) -> list[float]:
    if hasattr(module.match, "weight"):
        first = linear(module.match, first)
    hidden = linear(module.layers[0], [x - y for x, y in zip(first, second, strict=True)])
    return unit(linear(module.layers[2], [max(h, 0.0) for h in hidden]))


def same(a, b, above: float) -> bool:
    """Of samples (student, guide, label)."""
    return a[2] == b[2] if a[2] >= 0 and b[2] >= 0 else dot(a[1], b[1]) > above


def log_h(cosine: float, temperature: float, m: float) -> float:
    return math.log(math.exp(cosine / temperature) / (math.exp(cosine / temperature) + m))


def log_not_h(cosine: float, temperature: float, m: float) -> float:
    return math.log(m / (math.exp(cosine / temperature) + m))


def samples(seeds, labels=LABELS):
    return [
        (unit(s), unit(t), label)
        for seed in seeds
        for s, t, label in zip(*(f.tolist() for f in features(seed)), labels, strict=True)
    ]


@pytest.mark.parametrize("critic", ["sigmoid", "crd"])
@pytest.mark.parametrize("above", [-1.1, 0.3, 1.1])
@pytest.mark.parametrize("queue", [0, 6, 100])
def test_crrcd_against_loops_over_pairs(critic: str, above: float, queue: int) -> None:
    loss = make("crrcd", critic=critic, negatives=40, partners=2, queue=queue, dim=3, same_above=above, population=70)
    for seed in (1, 0):
        s, t = features(seed)
        ij, kl = loss.draw(N, N + min(queue, N * (1 - seed)), torch.Generator().manual_seed(1 - seed))
        found = float(loss(s, t, torch.tensor(LABELS)).detach())
    batch, pool = samples([0]), samples([0, 1] if queue else [0])
    total = 0.0
    for i, j in ij.T.tolist():
        anchor = relation(loss.of_guide, batch[i][1], batch[j][1])
        values = [
            dot(anchor, relation(loss.across, a[0], b[1]))
            for a, b in ((pool[k], pool[m]) for k, m in kl.T.tolist())
            if not (same(batch[i], a, above) and same(batch[j], b, above))
            and not (same(batch[i], batch[j], above) and same(a, b, above))
        ]
        m = max(len(values), 1) / 70 if critic == "crd" else 1.0
        total -= log_h(dot(anchor, relation(loss.across, batch[i][0], batch[j][1])), 0.1, m)
        total -= sum(log_not_h(value, 0.1, m) for value in values)
    assert found == pytest.approx(total / ij.shape[1], rel=1e-3)


@pytest.mark.parametrize("above", [-1.1, 0.3, 1.1])
@pytest.mark.parametrize("queue", [0, 6])
def test_crd_against_loops(above: float, queue: int) -> None:
    loss = make("crd", queue=queue, dim=3, same_above=above, population=70, temperature=0.2)
    for seed in (1, 0):
        found = float(loss(*features(seed), torch.tensor(LABELS)).detach())
    batch, pool = samples([0]), samples([0, 1] if queue else [0])
    s = [unit(linear(loss.student_head, x[0])) for x in pool]
    t = [unit(linear(loss.guide_head, x[1])) for x in pool]
    total = 0.0
    for i in range(N):
        rest = [j for j in range(len(pool)) if j != i and not same(batch[i], pool[j], above)]
        m = max(len(rest), 1) / 70
        total -= 2 * log_h(dot(s[i], t[i]), 0.2, m)
        total -= sum(log_not_h(dot(s[i], t[j]), 0.2, m) + log_not_h(dot(t[i], s[j]), 0.2, m) for j in rest)
    assert found == pytest.approx(total / N, rel=1e-3)


def test_draws_are_pairs_of_two_samples_of_batch_and_pool() -> None:
    ij, kl = make("crrcd", negatives=500, partners=3).draw(N, 10, torch.Generator().manual_seed(0))
    assert ij.shape == (2, 3 * N)
    assert (ij[0] != ij[1]).all()
    assert (kl[0] != kl[1]).all()
    assert ij.max() == N - 1
    assert set(kl.flatten().tolist()) == set(range(10))


@pytest.mark.parametrize("name", ["crrcd", "crd"])
@pytest.mark.parametrize(
    ("labels", "above"),
    [([3] * N, 1.1), (None, -1.1), ([-1, 3] * 3, -1.1)],
    ids=["by labels", "by cosine", "by both"],
)
def test_where_all_are_one_person_there_is_nothing_to_tell_apart(name: str, labels, above: float) -> None:
    """Only the positives are left: no negative pushes their student anywhere."""
    s, t = features()
    loss = make(name, same_above=above, temperature=1.0)
    found = float(loss(s, t, None if labels is None else torch.tensor(labels)).detach())
    # -log h is at most log(1 + m e) for each of one or two positives, m being 1, or 1 / population.
    assert found < math.log(1 + math.e)


@pytest.mark.parametrize("name", ["crrcd", "crd"])
def test_known_labels_outweigh_the_cosine(name: str) -> None:
    """Different people whom the guide takes for one are told apart, as if the guide had not erred."""
    s, t = features()
    labels = torch.arange(N)
    assert make(name, same_above=-1.1)(s, t, labels) == make(name, same_above=1.1)(s, t, labels)
    assert make(name, same_above=-1.1)(s, t) < make(name, same_above=1.1)(s, t)


@pytest.mark.parametrize("name", ["crrcd", "crd"])
def test_a_student_learns_to_be_told_apart(name: str) -> None:
    """Free features and the loss's own modules, trained on one batch: the loss falls and positives come to agree."""
    _, t = features(n=12)
    student = torch.nn.Parameter(features(seed=4, n=12)[0])
    loss = make(name, queue=0, same_above=0.99, **({"negatives": 64} if name == "crrcd" else {}))
    optimizer = torch.optim.Adam([student, *loss.parameters()], lr=0.02)
    values = []
    for _ in range(60):
        value = loss(student, t)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert sum(values[-5:]) < 0.5 * sum(values[:5])


def test_crrcd_watches_for_collapse() -> None:
    s, t = features()
    loss = make("crrcd", same_above=1.1)
    loss(s, t)
    assert set(loss.monitor) == {"unrelated", "related"}
    assert loss.monitor["unrelated"] < 0.99
    with torch.no_grad():
        for module in (loss.of_guide, loss.across):
            module.layers[2].weight.zero_()
            module.layers[2].bias.fill_(1)
    loss(s, t)
    assert loss.monitor == {"unrelated": pytest.approx(1, abs=1e-5), "related": pytest.approx(1, abs=1e-5)}


@pytest.mark.parametrize(
    ("size", "batches", "kept"),
    [
        (4, [[1, 2]], {1, 2}),
        (4, [[1, 2], [3, 4]], {1, 2, 3, 4}),
        (4, [[1, 2, 3], [4, 5]], {2, 3, 4, 5}),
        (4, [[1], [2, 3, 4, 5, 6, 7]], {4, 5, 6, 7}),
        (3, [[1, 2], [3, 4], [5, 6], [7, 8]], {6, 7, 8}),
        (0, [[1, 2]], set()),
    ],
)
def test_the_queue_keeps_the_last_samples(size: int, batches: list[list[int]], kept: set[int]) -> None:
    queue = FeatureQueue(size, 2, 3)
    for batch in batches:
        numbers = torch.tensor(batch)
        queue.push(numbers[:, None] * torch.ones(1, 2), -numbers[:, None] * torch.ones(1, 3), numbers)
    s, t, labels = queue.behind(torch.zeros(1, 2), torch.zeros(1, 3), torch.tensor([-1]))
    assert labels[0] == -1
    assert set(labels[1:].tolist()) == kept
    assert torch.equal(s[1:, 0], labels[1:].float())
    assert torch.equal(t[1:, 2], -labels[1:].float())


@pytest.mark.parametrize("name", ["crrcd", "crd"])
def test_validation_leaves_the_queue_alone(name: str) -> None:
    s, t = features()
    loss = make(name).eval()
    loss(s, t)
    assert int(loss.queue.pushed) == 0
    loss.train()(s, t)
    assert int(loss.queue.pushed) == N


@pytest.mark.parametrize("name", ["crrcd", "crd"])
def test_past_students_get_no_gradient(name: str) -> None:
    """A second step may not look back into the first's graph."""
    loss = make(name)
    first = features(0)[0].requires_grad_()
    loss(first, features(0)[1]).backward()
    gradient = first.grad.clone()
    second = features(1)[0].requires_grad_()
    loss(second, features(1)[1]).backward()
    assert torch.equal(first.grad, gradient)
    assert second.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["crrcd", "crd"])
def test_heads_are_the_optimizers(name: str) -> None:
    loss = make(name)
    loss(*features()).backward()
    assert list(loss.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in loss.parameters())
