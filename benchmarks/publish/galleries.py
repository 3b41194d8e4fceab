"""The sections of docs/benchmarks.md about galleries: what they cost as they grow, and what enrolment takes."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.lib.results import table

FAR, MACHINE_GIB = 100_000_000, 64  # people and memory of the estimate on paper
_USABLE = 0.8  # of a machine's memory
Row = dict[str, Any]


def gallery_section(result: dict[str, Any]) -> str:
    """Of the result of `benchmarks.gallery`."""
    rows: list[Row] = result["rows"]
    lines = [
        [
            f"{r['people']:,}", _what(r), f"{r['open_s']:.2f}", f"{r['memory_mib']:,.0f}",
            *(_searches(r, batch) for batch in (1, 32, 256)), _missed(r),
        ]
        for r in rows if "search_1_ms" in r
    ]  # fmt: skip
    changes = [
        [
            f"{r['people']:,}", r["what"], f"{r['file_mib']:,.0f}", f"{r['open_s']:.2f}",
            f"{r['first_change_s']:.2f}" if "first_change_s" in r else "",
            *(f"{r[f'{kind}_ms']:.1f} / {r[f'{kind}_p99_ms']:.1f}" for kind in ("add", "remove")),
            f"{r['add_until_seen_ms']:.2f}", f"{r['write_page_ms']:.1f}",
        ]
        for r in rows if "add_until_seen_ms" in r
    ]  # fmt: skip
    memory = ", ".join(
        f"{r['all_templates_once_ms']:.1f} ms for {r['people']:,} people" for r in rows if r["what"] == "memory"
    )
    together = [
        [
            f"{r['people']:,}", f"{r['search_p50_ms']:.1f} / {r['search_max_ms']:.1f}",
            f"{r['search_alone_max_ms']:.1f}",
            f"{r['seen_after_p50_ms']:.0f} / {r['seen_after_max_ms']:.0f}",
        ]
        for r in rows if r["what"] == "two processes"
    ]  # fmt: skip
    checked = ", ".join(f"{r['check_s']:,.0f} s for {r['people']:,} people" for r in rows if r["what"] == "check")
    return (
        "## Galleries as they grow\n\n"
        f"Protocol: {result['protocol']}. A probe's cosine with its own person is {result['cosine']:g}. Missed: the"
        " share of probes whose own person is not found first. Opening, of faiss and Milvus, is building the"
        f" index. Processor: {result['machine']['cpu']}. Command: `python -m benchmarks.gallery`.\n\n"
        + table(
            [
                "people", "what", "open, s", "memory, MiB", "one query, ms: median / p99", "in 32, ms", "in 256, ms",
                "missed, %",
            ],
            lines,
        )
        + f"\n\nThe memory gives all templates in float32 once in {memory}: no exact search of one probe in float32 can"
        " be faster.\n\nOne person more or less, until the next search sees it. The disk has acknowledged it by then:"
        " each change waits for several acknowledgements, and the last column says what one takes. The first change"
        " after opening waits until SQLite has checked every page, which runs beside the first searches.\n\n"
        + table(
            [
                "people", "gallery", "file, MiB", "open, s", "first change, s", "add, ms: median / p99",
                "remove, ms: median / p99",
                "of it the search index, ms", "the disk's acknowledgement, ms",
            ],
            changes,
        )
        + "\n\nOne process searches all the time while another one enrols five people a second:\n\n"
        + table(
            [
                "people", "search, ms: median / longest", "longest with nobody enrolling, ms",
                "a new person is found after, ms: median / longest",
            ],
            together,
        )
        + f"\n\n`lrface gallery check` compares everybody with everybody: {checked}.\n\n"
        + _on_paper(rows)
    )  # fmt: skip


def _what(row: Row) -> str:
    if "ef_search" not in row:
        return str(row["what"])
    return f"{row['what']} (M {row['M']}, efConstruction {row['ef_construction']}, efSearch {row['ef_search']})"


def _searches(row: Row, batch: int) -> str:
    return f"{row[f'search_{batch}_ms']:.3g} / {row[f'search_{batch}_p99_ms']:.3g}"


def _missed(row: Row) -> str:
    return f"{100 * row['missed']:.1f}"


def _on_paper(rows: list[Row]) -> str:
    """What 100 million people would take, from the largest gallery that was measured."""
    row = max((r for r in rows if r["what"] == "lrface"), key=lambda r: r["people"])
    times = FAR / row["people"]
    gib, disk = row["memory_after_batches_mib"] * times / 1024, row["file_mib"] * times / 1024
    machines = math.ceil(gib / (_USABLE * MACHINE_GIB))
    fits = int(row["people"] * _USABLE * MACHINE_GIB * 1024 / row["memory_after_batches_mib"])
    alone, batch, opened = (row[name] * times / machines for name in ("search_1_ms", "search_256_ms", "open_s"))
    return (
        f"On paper, in proportion to the {row['people']:,} people measured: {FAR:,} people take {disk:,.0f} GiB of disk"
        f" and {gib:,.0f} GiB of memory, which is {machines} machines of {MACHINE_GIB} GiB. If each searches its share"
        f" on one core, a query takes {alone:,.0f} ms alone and {batch:,.0f} ms of each machine's core in batches of"
        f" 256, and opening takes {opened:,.0f} s. One machine of {MACHINE_GIB} GiB holds about {fits / 1e6:,.0f}"
        " million people. Beyond that the gallery has to be in Milvus, which spreads over several machines"
        " ([galleries](galleries.md))."
    )


def enrolment_section(result: dict[str, Any]) -> str:
    """Of the result of `benchmarks.enrolment`."""
    lines = [
        [
            r["run"], str(r["photos"]), str(r["people"]), str(r.get("refused", 0)), f"{r['seconds']:.1f}",
            f"{1e3 * r['processor_seconds'] / r['photos']:.1f}",
        ]
        for r in result["rows"]
    ]  # fmt: skip
    return (
        "## Enrolment of a folder\n\n"
        f"{result['protocol']}, on {result['machine']['cpu']}. The second run finds all of them unchanged. Command:"
        " `python -m benchmarks.enrolment`.\n\n"
        + table(
            ["run", "photos", "people", "photos refused", "seconds", "processor time a photo, ms"],
            lines,
        )
    )
