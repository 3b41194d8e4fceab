"""All results on one page: tables, plots, and what each was measured with, from the JSON that the benchmarks wrote.

    python -m benchmarks.publish.report                    # benchmarks/results/*.json -> report.html beside them
    python -m benchmarks.publish.report --out page.html

The page is one file: the plots are inside it, and it loads nothing.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.lib.plots import draw_plot
from benchmarks.lib.results import RESULTS

OWN = ("rows", "plots", "models", "machine", "command", "protocol", "data")
"""Keys of a result with a place of their own on the page; others are listed."""

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1f24; margin: 0 auto; max-width: 72rem; padding: 1rem 1.5rem 4rem }
nav a { margin-right: 1em } a { color: #0a58a6 }
h2 { border-top: 1px solid #d5d9de; margin-top: 2.5rem; padding-top: 1.2rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: 13px; margin: .8rem 0 }
th, td { border-bottom: 1px solid #e3e6ea; padding: .25rem .7rem; text-align: right; white-space: nowrap }
th { border-bottom: 2px solid #9aa3ad; vertical-align: bottom } td.text, th.text { text-align: left }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; max-width: 34rem; vertical-align: top }
img { max-width: 100% } figcaption, .small { color: #57606a; font-size: 13px } .warn { color: #a02020; font-weight: 600 }
code { background: #f3f4f6; overflow-wrap: anywhere; padding: .1em .3em }
"""  # noqa: E501


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """One HTML page of results by name."""
    links = " ".join(f'<a href="#{html.escape(name)}">{html.escape(name)}</a>' for name in results)
    sections = "\n".join(_section(name, result) for name, result in results.items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>lrface: benchmarks</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>lrface: benchmarks</h1>\n<nav>{links}</nav>\n{sections}\n</body>"
        "</html>\n"
    )


def _section(name: str, result: Mapping[str, Any]) -> str:
    machine, safe = result["machine"], html.escape
    parts = [f'<section id="{safe(name)}"><h2>{safe(name)}</h2>']
    if "data" in result:
        parts.append(f'<p class="{"warn" if result.get("standin") else "data"}">Data: {safe(result["data"])}</p>')
    parts.append(f"<p>{safe(str(result.get('protocol', '')))}</p><p><code>{safe(result['command'])}</code></p>")
    parts += [_table(rows) for rows in _alike([_flat(row) for row in result["rows"]])]
    parts += [_figure(entry) for entry in result.get("plots", [])]
    facts = {key: value for key, value in result.items() if key not in OWN}
    facts |= {"cpu": machine["cpu"], "python": machine["python"], **machine["packages"], **result.get("models", {})}
    listed = ", ".join(f"{safe(key)} {safe(_text(value))}" for key, value in facts.items())
    return "\n".join([*parts, f'<p class="small">{listed}</p></section>'])


def _alike(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Rows table by table: one for each ``test``, where a result holds several."""
    tables: list[list[Mapping[str, Any]]] = []
    for row in rows:
        if tables and row.get("test") == tables[-1][0].get("test"):
            tables[-1].append(row)
        else:
            tables.append([row])
    return tables


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose groups of figures are columns of their own."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        flat |= {f"{key} {inner}": one for inner, one in value.items()} if isinstance(value, Mapping) else {key: value}
    return flat


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "sha256"))
    words = {key for key in columns if any(isinstance(row.get(key), str) for row in rows)}

    def line(tag: str, values: Mapping[str, str]) -> str:
        cells = (f"<{tag}{' class=text' if key in words else ''}>{html.escape(values[key])}</{tag}>" for key in columns)
        return f"<tr>{''.join(cells)}</tr>"

    head = line("th", {key: key.replace("_", " ") for key in columns})
    body = "".join(line("td", {key: _text(row.get(key, "")) for key in columns}) for row in rows)
    return f'<div class="scroll"><table>{head}{body}</table></div>'


def _figure(entry: Mapping[str, Any]) -> str:
    drawn = io.BytesIO()
    draw_plot(entry, drawn)
    data, title = base64.b64encode(drawn.getvalue()).decode(), html.escape(entry["title"])
    caption = f"<figcaption>{title}</figcaption>"
    return f'<figure><img alt="{title}" src="data:image/svg+xml;base64,{data}">{caption}</figure>'


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return " ".join(_text(inner) for inner in value)
    return str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    parser.add_argument("--out", type=Path, default=None, help="the page; report.html in the folder of the results")
    args = parser.parse_args()
    files = sorted(args.results.glob("*.json"))
    if not files:
        raise SystemExit(f"{args.results} holds no result: run a benchmark first")
    target = args.out or args.results / "report.html"
    target.write_text(page({file.stem: json.loads(file.read_text()) for file in files}), encoding="utf-8")
    print(f"written: {target}, {len(files)} results")


if __name__ == "__main__":
    main()
