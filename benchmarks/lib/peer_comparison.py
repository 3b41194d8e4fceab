"""Open-set search by lrface and by networks of others on the same crops: who is not named, at a *measured* FPIR.

Half of the people with more than ``max(PHOTOS)`` pictures are enrolled at random, with one or five of them, ``SPLITS``
times over; everybody else is a stranger. A search is compared with enrolled people of its own source only (people of
two sources may be the same). One threshold, for all splits together, lets the given share of strangers' searches name
anybody; FNIR is then the share of enrolled people's searches that name nobody or somebody else.

For lrface the networks are those that the runtime gives a face of the width, photos are embedded by the network of
enrolment, and a person's template is the runtime's fusion of them. Templates of one number of photos are compared, so
that the runtime's ranking is that by similarity. Others are fed the face brought back to 112 pixels (bicubic), and
their templates are fused in the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.lib.crops import shrink_and_enlarge
from benchmarks.lib.matching import network_of
from benchmarks.lib.peers import PeerEmbeddings
from benchmarks.lib.plots import plot
from benchmarks.lib.results import hashes, table, write_result
from lrface.embedding.embedders import Embedder, Networks, open_networks
from lrface.embedding.templates import fuse
from lrface.metrics import fnir_at_fpir, mate_ranks
from lrface.models.manifest import Manifest
from lrface.models.serving import NetworkSet
from training.embedder.teachers import Teacher

WIDTHS = (112, 48, 32, 24, 20, 16, 12, 8)
PHOTOS = (5, 1)
FPIRS = (0.01, 0.001)
SPLITS = 20
PROBES_A_PERSON = 10
NAMES = {"edgeface_xs": "EdgeFace-XS", "reid0095": "reid-0095"}
NOTE = (
    "EdgeFace-XS and reid-0095 may have met these celebrities in their own training; the validation people were also"
    " used to choose the epochs of lrface's networks (LFW's were not)."
)
Crops = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Embed = Callable[[Crops, int], Vectors]


class Cohort:
    """The people of one set.

    Attributes:
        gallery: crops uint8 [g, 112, 112, 3] of all pictures of people who may be enrolled.
        probes: crops uint8 [p, 112, 112, 3] that are searched.
        eligible: people who may be enrolled.

    Args:
        label: of the set.
        person: whose picture each crop is [n].
        source: where it comes from [n].
        crops: uint8 [n, 112, 112, 3].
        most: searches at most; all those of people who may be enrolled come first, ``PROBES_A_PERSON`` of each.
        rng: chooses them.
    """

    def __init__(
        self,
        label: str,
        person: npt.NDArray[np.str_],
        source: npt.NDArray[np.str_],
        crops: Crops,
        most: int,
        rng: np.random.Generator,
    ) -> None:
        self.label, self._person, self._source = label, person, source
        names, counts = np.unique(person, return_counts=True)
        self.eligible = rng.permutation(names[counts > max(PHOTOS)])[: most // PROBES_A_PERSON]
        if len(self.eligible) < 2:
            raise SystemExit(f"{label}: fewer than two people with more than {max(PHOTOS)} pictures: raise --limit")
        self._rows = np.flatnonzero(np.isin(person, self.eligible))
        searched = np.concatenate(
            [rng.permutation(np.flatnonzero(person == p))[:PROBES_A_PERSON] for p in self.eligible]
        )
        others = rng.permutation(np.flatnonzero(~np.isin(person, self.eligible)))[: max(0, most - len(searched))]
        self._probes = np.sort(np.concatenate([searched, others]))
        self.gallery, self.probes = crops[self._rows], crops[self._probes]

    def search(self, gallery: Vectors, probes: Vectors, photos: int) -> dict[str, Any]:
        """FNIR at each of ``FPIRS``, over all splits.

        Args:
            gallery: unit vectors of ``gallery``.
            probes: unit vectors of ``probes`` at one width.
            photos: of each enrolled person.
        """
        own, rank, top = list[Vectors](), list[Rows](), list[Vectors]()
        person, source = self._person[self._probes], self._source[self._probes]
        people = {name: np.flatnonzero(self._person[self._rows] == name) for name in self.eligible}
        for split in range(SPLITS):
            rng = np.random.default_rng(split)
            enrolled = rng.permutation(self.eligible)[: len(self.eligible) // 2]
            chosen = [rng.permutation(people[name])[:photos] for name in enrolled]
            templates = fuse(np.stack([gallery[rows].sum(axis=0) for rows in chosen]))
            scores = probes @ templates.T
            theirs = np.array([self._source[self._rows[rows[0]]] for rows in chosen])
            scores[source[:, None] != theirs[None]] = -1.0
            used = np.isin(self._probes, self._rows[np.concatenate(chosen)])
            place = {name: i for i, name in enumerate(enrolled)}
            mate = np.array([place.get(name, -1) for name in person])
            mated = (mate >= 0) & ~used
            found = mate_ranks(scores[mated], mate[mated])
            own, rank, top = [*own, found[0]], [*rank, found[1]], [*top, scores[mate < 0].max(axis=1)]
        joined = np.concatenate(own), np.concatenate(rank), np.concatenate(top)
        return {
            "people": len(self.eligible) // 2, "photos": photos, "mated": len(joined[0]), "strangers": len(joined[2]),
            **{f"fnir_{fpir:g}": fnir_at_fpir(*joined, fpir)[0] for fpir in FPIRS},
        }  # fmt: skip


@dataclass(frozen=True)
class Contender:
    """Something that embeds faces.

    Attributes:
        name: for the table.
        photos: embeds crops of ordinary photos.
        probes: embeds crops seen at a width in pixels.
    """

    name: str
    photos: Callable[[Crops], Vectors]
    probes: Embed


def ours(manifest: Manifest, threads: int = 1) -> list[Contender]:
    """The sets of networks of a models folder; one where both are the same."""
    known: dict[tuple[str, int, int], Vectors] = {}

    def embed(embedder: Embedder, crops: Crops, size: int) -> Vectors:
        key = embedder.entry.sha256, size, id(crops)
        if key not in known:
            seen = crops
            if size != embedder.level:  # else the network shrinks them itself
                seen = np.stack([shrink_and_enlarge(crop, size) for crop in crops])
            known[key] = embedder.embed(seen)
        return known[key]

    def contender(name: str, networks: Networks) -> Contender:
        return Contender(
            name,
            lambda crops: embed(networks.enrolment, crops, networks.enrolment.level),
            lambda crops, size: embed(network_of(networks, size), crops, size),
        )

    same = manifest.ranges[NetworkSet.ACCURATE] == manifest.ranges[NetworkSet.FAST]
    return [
        contender("lrface" if same else f"lrface, {which}", open_networks(manifest, which, threads=threads))
        for which in ((NetworkSet.ACCURATE,) if same else NetworkSet)
    ]


def others(folder: Path, cohort: Cohort, cache: Path | None) -> list[Contender]:
    """Each ONNX file of a folder of teachers, and both together; their embeddings are kept in ``cache``."""
    teachers = [Teacher(path) for path in sorted(folder.glob("*.onnx"))]
    sets = [PeerEmbeddings(crops, cache, cohort.label) for crops in (cohort.gallery, cohort.probes)]

    def contender(name: str, used: Sequence[Teacher]) -> Contender:
        return Contender(
            name,
            lambda crops: sets[0].joined(used, crops, crops.shape[1]),
            lambda crops, size: sets[1].joined(used, crops, size),
        )

    found = [contender(NAMES.get(teacher.path.stem, teacher.path.stem), [teacher]) for teacher in teachers]
    return [*found, contender("both", teachers)] if len(teachers) > 1 else found


def compare(cohorts: Sequence[Cohort], manifest: Manifest, teachers: Path, cache: Path | None,
            widths: Sequence[int]) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each set, contender, width and number of photos."""
    mine, rows = ours(manifest), []
    for cohort in cohorts:
        for contender in (*mine, *others(teachers, cohort, cache)):
            gallery = contender.photos(cohort.gallery)
            for width in widths:
                probes = contender.probes(cohort.probes, width)
                for photos in PHOTOS:
                    found = cohort.search(gallery, probes, photos)
                    rows.append({"set": cohort.label, "model": contender.name, "width": width, **found})
    return rows


def fnir_table(rows: Sequence[dict[str, Any]], label: str, fpir: float) -> str:
    """Markdown: widths against contenders, FNIR in %, with five photos / with one."""
    here = {(r["model"], r["width"], r["photos"]): r[f"fnir_{fpir:g}"] for r in rows if r["set"] == label}
    models, widths = (list(dict.fromkeys(key[i] for key in here)) for i in (0, 1))
    return table(
        ["face, px", *models],
        [[str(w), *(" / ".join(f"{100 * here[m, w, n]:.1f}" for n in PHOTOS) for m in models)] for w in widths],
    )


def fnir_curves(rows: Sequence[dict[str, Any]], label: str) -> dict[str, list[list[float]]]:
    """FNIR in % against the width of the face, for each contender, with the most photos and at the first rate."""
    here = [r for r in rows if r["set"] == label and r["photos"] == max(PHOTOS)]
    curves: dict[str, list[list[float]]] = {}
    for row in sorted(here, key=lambda r: r["width"]):
        curve = curves.setdefault(row["model"], [[], []])
        curve[0].append(row["width"])
        curve[1].append(round(100 * row[f"fnir_{FPIRS[0]:g}"], 2))
    return curves


def report(rows: Sequence[dict[str, Any]], manifest: Manifest, limit: int, seed: int, folder: Path) -> Path:
    """Prints the tables, and writes ``open_set_peers.json`` with a plot for each set."""
    labels = list(dict.fromkeys(row["set"] for row in rows))
    for label, fpir in itertools.product(labels, FPIRS):
        print(f"\n{label}: FNIR in % at a measured FPIR of {100 * fpir:g} %, with five photos / with one\n")
        print(fnir_table(rows, label, fpir))
    print(f"\n{NOTE}")
    axes = {"xlabel": "width of the aligned face, pixels", "ylabel": "not named, %"}
    return write_result("open_set_peers", {
        "protocol": "half of the people enrolled, 20 random splits, the same crops for all, one threshold a line",
        "note": NOTE, "limit": limit, "seed": seed,
        "models": hashes(manifest.embedders.values()), "rows": list(rows),
        "plots": [
            plot("swept", fnir_curves(rows, label), f"Enrolled people not named: {label}, five photos, FPIR 1 %",
                 name=label.lower(), **axes)
            for label in labels
        ],
    }, folder)  # fmt: skip
