"""Write the tables of speed in the documentation and the README, and the plot, from the figures of
a run.

python benchmarks/report.py docs/benchmarks.json        # written by run.py --json

It needs the extra plot.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark_timing import Result
from matplotlib.figure import Figure
from report_plot import Line, draw, duration, svg_of

ROOT = Path(__file__).parents[1]
PAGE, PLOT = Path("docs/benchmarks.md"), Path("docs/growth.svg")
CHOSEN = {
    (
        "encoding",
        "build of 8,000 words, MiniLM, 7 layers, written and indexed, to one text per call",
    ): (
        "embed 8,000 words with MiniLM, store and index 7 layers",
        "one text per call, scaled from 300 words",
    ),
    (
        "encoding",
        "build of 8,000 words, MiniLM, 7 layers, written and indexed, to SentenceTransformer",
    ): ("the same", "`SentenceTransformer.encode`, torch backend, one layer"),
    ("geometry", "anisotropy of 10,000 × 768, from the summaries, to scipy's pdist"): (
        "mean cosine over all pairs of 10,000 × 768",
        "scipy's `pdist`",
    ),
}
"""The lines that the README shows: the benchmark of each and how it begins, what is measured in
short, and the peer.
"""
_HEADER = ("what", "embstore", "peer", "ratio", "goal", "rounds")
_QUERIED = ("neighbours, one process", "one query, one thread (p50)", "building the index")
_OWN = {
    "writing": "writing",
    "reading every vector": "reading all",
    "anisotropy, one process": "anisotropy",
    "neighbours, open store": "neighbours",
}

Document = Mapping[str, Mapping[str, Any]]


def section(document: Document) -> str:
    """Return the results: where and when, the table of ratios, and the growth."""
    parts = [_where(document), "", *_ratios(document)]
    if costs := points(document):
        dim = next(part["size"]["search_dim"] for part in document.values() if part["points"])
        parts += [
            "",
            f"How costs grow with the items (clustered vectors of {dim} components, one layer):",
            "",
        ]
        parts += _growth(costs)
        parts += ["", f"![How costs grow with the items]({PLOT.name})"]
    return "\n".join(parts)


def points(document: Document) -> dict[str, dict[str, dict[int, float]]]:
    """Return cost → contender → items → seconds."""
    costs: dict[str, dict[str, dict[int, float]]] = {}
    for part in document.values():
        for point in part["points"]:
            costs.setdefault(point["cost"], {}).setdefault(point["who"], {})[point["n"]] = point[
                "seconds"
            ]
    return costs


def growth_plot(document: Document) -> Figure | None:
    """Return the plot of all costs that were measured at several sizes, or None where there are
    none.
    """
    costs = points(document)
    grown = {
        cost: {who: line for who, line in lines.items() if len(line) > 1}
        for cost, lines in costs.items()
        if max(len(line) for line in lines.values()) > 1
    }
    panels: dict[str, dict[str, Line]] = {
        cost: dict(grown[cost]) for cost in _QUERIED if cost in grown
    }
    if own := {
        label: grown[cost]["embstore"]
        for cost, label in _OWN.items()
        if "embstore" in grown.get(cost, {})
    }:
        panels["other costs of embstore"] = dict(own)
    return draw(panels, "embstore") if panels else None


def summary(document: Document) -> str:
    """Return the table of the README: the chosen lines, each with the time of embstore and that of
    its peer.
    """
    rows: list[tuple[str, ...]] = [("what", "embstore", "compared with", "its time")]
    for (part, begins), (what, peer) in CHOSEN.items():
        rows += [
            (
                what,
                line["ours"],
                peer,
                line["peer"] or (f"≥ {line['goal']:g}" if line["goal"] else ""),
            )
            for line in document.get(part, {"lines": []})["lines"]
            if line["what"].startswith(begins)
        ]
    text = "Each row compares runs on the same machine with 2 cores ([method and all results]"
    return "\n".join([f"{text}(docs/benchmarks.md)):", "", *_table(rows)])


def renew(page: str, text: str, heading: str) -> str:
    """Return a page with this text below a heading, in the place of the results there."""
    before, found, rest = page.partition(f"\n## {heading}\n")
    if not found:
        raise SystemExit(f"The page needs the heading {heading}.")
    _, following, after = rest.partition("\n## ")
    return f"{before}{found}\n{text.strip()}\n{following}{after}"


def _where(document: Document) -> str:
    """Return on which machine, with which versions and when the figures were measured."""
    machines = {part["machine"][0].partition(", load")[0] for part in document.values()}
    versions = {part["machine"][1] for part in document.values()}
    days = sorted(part["finished"].partition("T")[0] for part in document.values())
    loads = [
        float(part["machine"][0].rpartition("load ")[2].partition(",")[0])
        for part in document.values()
    ]
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    return (
        f"Measured on {' and on '.join(sorted(machines))}, {when}, with a load of {min(loads):g} to"
        f" {max(loads):g} at the end of each. Best of the rounds, contenders taking turns."
        f" {'; '.join(sorted(versions))}."
    )


def _ratios(document: Document) -> list[str]:
    rows = [_HEADER]
    for part in document.values():
        for line in part["lines"]:
            result = Result(**line)
            what, ours, peer, ratio, _, goal, verdict, rounds = result.cells
            goal = f"{goal}, missed" if verdict == "MISSED" else goal
            rows.append((what, ours, peer, ratio, goal, rounds if ratio else ""))
    return _table(rows)


def _growth(costs: Mapping[str, Mapping[str, Line]]) -> list[str]:
    sizes = sorted({n for lines in costs.values() for line in lines.values() for n in line})
    rows: list[tuple[str, ...]] = [("cost", "of", *(f"{n:,}" for n in sizes))]
    for cost, lines in costs.items():
        for place, (who, line) in enumerate(lines.items()):
            shown = (duration(line[n]) if n in line else "" for n in sizes)
            rows.append((cost if place == 0 else "", who, *shown))
    return _table(rows)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]


def main() -> int:
    """Write the page of results, the README's table and the plot."""
    parser = argparse.ArgumentParser(
        description="Write the tables of speed and the plot from a run's figures."
    )
    parser.add_argument("figures", type=Path, help="what run.py --json wrote")
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="the folder of the README and of docs/"
    )
    options = parser.parse_args()
    if not options.figures.is_file():
        parser.error(f"there is no {options.figures}: run.py --json {options.figures} writes it")
    document = json.loads(options.figures.read_text("utf-8"))
    texts = {PAGE: (section(document), "Results"), Path("README.md"): (summary(document), "Speed")}
    for name, (text, heading) in texts.items():
        page = options.root / name
        page.write_text(renew(page.read_text("utf-8"), text, heading), "utf-8")
    if (drawn := growth_plot(document)) is not None:
        (options.root / PLOT).write_text(svg_of(drawn), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
