"""HORKD's orders and RKD against loops over pairs, triplets and centres."""

from __future__ import annotations

import math
from itertools import permutations, product

import pytest

torch = pytest.importorskip("torch")

from training.losses import LOSSES, LossContext

N, D, E, K = 7, 4, 5, 3


def features(seed: int = 0, n: int = N):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, D, generator=generator), 3 * torch.randn(n, E, generator=generator)


def unit(rows) -> list[list[float]]:
    return [[x / math.sqrt(sum(v * v for v in row)) for x in row] for row in rows.tolist()]


def minus(a, b) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


def length(a) -> float:
    return math.sqrt(sum(x * x for x in a))


def cosine(a, b) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / length(a) / length(b)


def huber(x: float) -> float:
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def slow_distances(rows) -> list[float]:
    found = [length(minus(rows[i], rows[j])) for i, j in permutations(range(len(rows)), 2)]
    return [d / mean(found) for d in found]


def slow_angles(rows, vertices) -> list[float]:
    return [
        cosine(minus(rows[i], rows[j]), minus(rows[k], rows[j]))
        for i, j, k in product(range(len(rows)), repeat=3)
        if j in vertices and j not in (i, k)
    ]


def slow(name: str, s, t, vertices) -> float:
    plain = name.startswith("rkd")
    a, b = (s.tolist(), t.tolist()) if plain else (unit(s), unit(t))
    if name in ("order2", "rkd_distance"):
        pairs = zip(slow_distances(a), slow_distances(b), strict=True)
    else:
        pairs = zip(slow_angles(a, vertices), slow_angles(b, vertices), strict=True)
    return mean((x - y) ** 2 if name == "order2" else huber(x - y) for x, y in pairs)


@pytest.mark.parametrize("name", ["order2", "order3", "rkd_distance", "rkd_angle"])
@pytest.mark.parametrize("seed", range(3))
def test_against_loops_over_all_pairs_and_triplets(name: str, seed: int) -> None:
    s, t = features(seed)
    assert float(LOSSES[name]()(s, t)) == pytest.approx(slow(name, s, t, range(N)), rel=1e-4)


@pytest.mark.parametrize("name", ["order3", "rkd_angle"])
def test_angles_at_some_vertices_only(name: str) -> None:
    """The vertices drawn are two of the batch: one choice of two gives just this loss."""
    s, t = features()
    loss = float(LOSSES[name](anchors=2)(s, t))
    choices = [slow(name, s, t, (a, b)) for a in range(N) for b in range(a)]
    assert sum(abs(loss - c) < 1e-5 for c in choices) == 1


def test_order_2_of_a_line_and_a_triangle() -> None:
    """Guide: three at right angles, all distances alike: 1, 1, 1. Student: distances 1.41, 1.41, 2 over their mean."""
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    short = math.sqrt(2) / ((2 * math.sqrt(2) + 2) / 3)
    far = 2 / ((2 * math.sqrt(2) + 2) / 3)
    expected = (2 * (short - 1) ** 2 + (far - 1) ** 2) / 3
    assert float(LOSSES["order2"]()(student, torch.eye(3))) == pytest.approx(expected, rel=1e-5)


def test_order_3_of_a_right_and_an_equilateral_triangle() -> None:
    """Cosines 0, .7071, .7071 of the student's triangle on a circle, 1/2 thrice of the guide's, 1 of i with itself."""
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    expected = ((0.5**2) + 2 * (math.sqrt(0.5) - 0.5) ** 2) / 2 / 6
    assert float(LOSSES["order3"]()(student, torch.eye(3))) == pytest.approx(expected, rel=1e-5)


def centre_loss(centres, **arguments):
    return LOSSES["order_c"].build(LossContext(D, centres.shape[1], centres), **arguments)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_order_c_against_loops_over_three_batches(momentum: float) -> None:
    centres = torch.randn(K, E, generator=torch.Generator().manual_seed(5))
    loss = centre_loss(centres, momentum=momentum)
    own: dict[int, list[float]] = {}
    counts: dict[int, int] = {}
    batches = ([0, 0, 1, -1, 0, 1, -1], [1, -1, -1, 0, 0, 0, 0], [2, 2, 1, 1, 1, 2, 0])
    for seed, labels in enumerate(batches):
        s, t = features(seed)
        found = float(loss(s, t, torch.tensor(labels)))
        a, b = unit(s), unit(t)
        for k in set(labels) - {-1}:
            members = [a[i] for i in range(N) if labels[i] == k]
            counts[k] = counts.get(k, 0) + len(members)
            weight = max(len(members) / counts[k], 1 - momentum ** len(members))
            average = [mean(column) for column in zip(*members, strict=True)]
            own[k] = [x + weight * (y - x) for x, y in zip(own.get(k, [0.0] * D), average, strict=True)]
        mine = [length(minus(f, unit(torch.tensor([own[k]]))[0])) for f in a for k in sorted(own)]
        guides = [length(minus(f, unit(centres)[k])) for f in b for k in sorted(own)]
        pairs = zip(mine, guides, strict=True)
        expected = mean((x / mean(mine) - y / mean(guides)) ** 2 for x, y in pairs)
        assert found == pytest.approx(expected, rel=1e-3)


def test_order_c_of_a_student_that_is_its_guide_is_nothing() -> None:
    """Centres of the same two samples: the student finds the guide's."""
    t = torch.tensor([[1.0, 0.2], [1.0, -0.2], [0.1, 1.0], [-0.1, 1.0]])
    unit_t = torch.nn.functional.normalize(t, dim=1)
    centres = torch.stack([unit_t[:2].mean(0), unit_t[2:].mean(0)])
    loss = LOSSES["order_c"].build(LossContext(2, 2, centres))
    assert float(loss(t, t, torch.tensor([0, 0, 1, 1]))) == pytest.approx(0, abs=1e-6)


def test_order_c_moves_its_centres_in_training_only() -> None:
    loss = centre_loss(torch.eye(K, E))
    s, t = features()
    labels = torch.arange(N) % K
    loss(s, t, labels)
    before = loss.student_centres.clone()
    loss.eval()
    loss(2 - s, t, labels)
    assert torch.equal(loss.student_centres, before)
    loss.train()
    loss(2 - s, t, labels)
    assert not torch.equal(loss.student_centres, before)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "no class has been seen: give labels"),
        ([-1] * N, "no class has been seen: give labels"),
        ([0, 1, 2, 3, 0, 0, 0], "label 3 has no centre, there are 3"),
    ],
)
def test_order_c_says_what_labels_it_needs(labels, message: str) -> None:
    s, t = features()
    with pytest.raises(ValueError, match=message):
        centre_loss(torch.eye(K, E))(s, t, None if labels is None else torch.tensor(labels))


@pytest.mark.parametrize("weights", [(0.02, 0.01, 1.0), (3.0, 0.0, 0.5), (0.0, 0.0, 0.0)])
def test_horkd_is_the_weighted_sum_of_its_orders(weights: tuple[float, float, float]) -> None:
    s, _ = features()
    t = torch.randn(N, D, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(N) % K
    context = LossContext(D, D, torch.randn(K, D, generator=torch.Generator().manual_seed(3)))
    loss = LOSSES["horkd"].build(context, alpha=weights[0], beta=weights[1], gamma=weights[2], anchors=3)
    parts = {name: LOSSES[name].build(context)(s, t, labels) for name in ("order1", "order2", "order_c")}
    parts["order3"] = LOSSES["order3"].build(context, anchors=3)(s, t, labels)
    by_name = dict(zip(("order2", "order3", "order_c"), weights, strict=True)) | {"order1": 1.0}
    expected = sum(by_name[name] * float(value) for name, value in parts.items())
    assert float(loss(s, t, labels)) == pytest.approx(expected, rel=1e-5)
    assert loss.monitor == {name: pytest.approx(float(parts[name])) for name in parts if by_name[name]}
