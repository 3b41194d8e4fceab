"""CRRCD and CRD against loops, their queue, and who is no negative."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from training.losses import LOSSES, LossContext
from training.losses.penalties import Critic
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
    hidden = linear(module.layers[0], [math.sqrt(E) * (x - y) for x, y in zip(first, second, strict=True)])
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


def slow_critic(related, unrelated, temperature: float, z: float | None) -> float:
    """Mean over positives; z: the first batch's mean exponential for CRD's critic, None for the sigmoid."""
    total = 0.0
    for p, row in zip(related, unrelated, strict=True):
        m = 1.0 if z is None else max(len(row), 1) * z
        total -= log_h(p, temperature, m) + sum(log_not_h(q, temperature, m) for q in row)
    return total / len(related)


def mean_exponential(unrelated, temperature: float) -> float:
    flat = [math.exp(q / temperature) for row in unrelated for q in row]
    return sum(flat) / len(flat)


def slow_crrcd(loss, batch, pool, ij, kl, above: float):
    related, unrelated = [], []
    for i, j in ij.T.tolist():
        anchor = relation(loss.of_guide, batch[i][1], batch[j][1])
        related.append(dot(anchor, relation(loss.across, batch[i][0], batch[j][1])))
        unrelated.append(
            [
                dot(anchor, relation(loss.across, a[0], b[1]))
                for a, b in ((pool[k], pool[m]) for k, m in kl.T.tolist())
                if not (same(batch[i], a, above) and same(batch[j], b, above))
                and not (same(batch[i], batch[j], above) and same(a, b, above))
            ]
        )
    return related, unrelated


@pytest.mark.parametrize("critic", ["sigmoid", "crd"])
@pytest.mark.parametrize("above", [-1.1, 0.3, 1.1])
@pytest.mark.parametrize("queue", [0, 6, 100])
def test_crrcd_against_loops_over_pairs(critic: str, above: float, queue: int) -> None:
    """Two batches: the second has the first in its queue, and CRD's constant from it."""
    loss = make("crrcd", critic=critic, negatives=40, partners=2, queue=queue, dim=3, same_above=above)
    z = None
    for step, seeds in enumerate(([1], [0, 1] if queue else [0])):
        found = float(loss(*features(seeds[0]), torch.tensor(LABELS)).detach())
        ij, kl = loss.draw(N, N * len(seeds), torch.Generator().manual_seed(step))
        related, unrelated = slow_crrcd(loss, samples(seeds[:1]), samples(seeds), ij, kl, above)
        if critic == "crd" and step == 0:
            z = mean_exponential(unrelated, 0.1)
        assert found == pytest.approx(slow_critic(related, unrelated, 0.1, z), rel=1e-3)


@pytest.mark.parametrize("above", [-1.1, 0.3, 1.1])
@pytest.mark.parametrize("queue", [0, 6])
def test_crd_against_loops(above: float, queue: int) -> None:
    loss = make("crd", queue=queue, dim=3, same_above=above, temperature=0.2)
    zs: list[float] = []
    for step, seeds in enumerate(([1], [0, 1] if queue else [0])):
        found = float(loss(*features(seeds[0]), torch.tensor(LABELS)).detach())
        pool = samples(seeds)
        s = [unit(linear(loss.student_head, x[0])) for x in pool]
        t = [unit(linear(loss.guide_head, x[1])) for x in pool]
        rest = [[j for j in range(len(pool)) if j != i and not same(pool[i], pool[j], above)] for i in range(N)]
        related = [dot(s[i], t[i]) for i in range(N)]
        sides = [[[dot(a[i], b[j]) for j in rest[i]] for i in range(N)] for a, b in ((s, t), (t, s))]
        if step == 0:
            zs = [mean_exponential(side, 0.2) for side in sides]
        slow = sum(slow_critic(related, side, 0.2, z) for side, z in zip(sides, zs, strict=True))
        assert found == pytest.approx(slow, rel=1e-3)


@pytest.mark.parametrize("negatives", [10, 1000])
@pytest.mark.parametrize("kind", ["sigmoid", "crd"])
def test_a_critic_that_knows_nothing_in_closed_form(kind: str, negatives: int) -> None:
    """All cosines alike. The sigmoid's h is 1/2 of cosines 0; CRD's is 1 / (N + 1) of any."""
    cosine = 0.0 if kind == "sigmoid" else 0.3
    shape = (4, negatives)
    found = Critic(kind, 0.1)(torch.full((4,), cosine), torch.full(shape, cosine), torch.ones(shape, dtype=torch.bool))
    by_kind = {
        "sigmoid": (negatives + 1) * math.log(2),
        "crd": math.log(negatives + 1) + negatives * math.log1p(1 / negatives),
    }
    assert float(found) == pytest.approx(by_kind[kind], rel=1e-4)


def test_a_critic_survives_a_temperature_near_zero() -> None:
    """Exponentials of a thousand."""
    found = Critic("crd", 0.001)(torch.ones(2), torch.eye(2), ~torch.eye(2, dtype=torch.bool))
    assert torch.isfinite(found)


def test_draws_are_pairs_of_two_samples_of_batch_and_pool() -> None:
    ij, kl = make("crrcd", negatives=500, partners=3).draw(N, 10, torch.Generator().manual_seed(0))
    assert ij.shape == (2, 3 * N)
    assert (ij[0] != ij[1]).all()
    assert (kl[0] != kl[1]).all()
    assert ij.max() == N - 1
    assert set(kl.flatten().tolist()) == set(range(10))


@pytest.mark.parametrize(("name", "positives"), [("crrcd", 1), ("crd", 2)])
@pytest.mark.parametrize(
    ("labels", "above"),
    [([3] * N, 1.1), (None, -1.1), ([-1, 3] * 3, -1.1)],
    ids=["by labels", "by cosine", "by both"],
)
def test_where_all_are_one_person_there_is_nothing_to_tell_apart(name: str, positives: int, labels, above) -> None:
    """Only positives are left, whose -log h is at most log(1 + e) at a temperature of 1: nothing pushes away."""
    loss = make(name, same_above=above, temperature=1.0)
    found = float(loss(*features(), None if labels is None else torch.tensor(labels)).detach())
    assert found < positives * math.log(1 + math.e)


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
    s, t, labels = queue.appended(torch.zeros(1, 2), torch.zeros(1, 3), torch.tensor([-1]))
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


def test_contrast_is_the_cross_entropy_of_the_own_guide_among_strangers() -> None:
    student, _ = features()
    generator = torch.Generator().manual_seed(5)
    guide, pool = torch.randn(N, D, generator=generator), torch.randn(9, D, generator=generator)
    pool[0] = 2 * guide[0]  # the sample itself: no stranger
    loss = LOSSES["contrast"].build(LossContext(D, D, guides=pool), temperature=0.2, same_above=0.6)
    expected = 0.0
    for s, t in zip(student.tolist(), guide.tolist(), strict=True):
        own = math.exp(dot(unit(s), unit(t)) / 0.2)
        strangers = [math.exp(dot(unit(s), unit(o)) / 0.2) for o in pool.tolist() if dot(unit(t), unit(o)) <= 0.6]
        expected -= math.log(own / (own + sum(strangers))) / N
    assert float(loss(student, guide)) == pytest.approx(expected, rel=1e-5)
    assert "pool" not in loss.state_dict()


def test_contrast_with_some_strangers_is_that_of_a_run_of_them() -> None:
    """Each batch takes neighbours from another place; one stranger alone gives one of as many values as there are."""
    student, _ = features()
    generator = torch.Generator().manual_seed(5)
    guide, pool = torch.randn(N, D, generator=generator), torch.randn(9, D, generator=generator)
    single = [float(LOSSES["contrast"].build(LossContext(D, D, guides=one[None]))(student, guide)) for one in pool]
    loss = LOSSES["contrast"].build(LossContext(D, D, guides=pool), strangers=1)
    torch.manual_seed(0)
    found = {round(float(loss(student, guide)), 5) for _ in range(100)}
    assert found == {round(value, 5) for value in single}


def test_contrast_without_training_faces_is_refused() -> None:
    with pytest.raises(ValueError, match="training faces"):
        LOSSES["contrast"].build(LossContext(D, D))
    with pytest.raises(ValueError, match="strangers -1: give 0 for all"):
        LOSSES["contrast"].build(LossContext(D, D, guides=torch.ones(3, D)), strangers=-1)
