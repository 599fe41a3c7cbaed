"""Write the generated sections of the documentation: python docs/_generate.py [--check].

A section is what follows its heading, up to the next heading of its level (or, of the reference
pages, up to the end of the page).
"""

import ast
import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import _gallery
import _python_reference
import embstore_schemas
from embstore_cli.main import COMMANDS, app, load
from typer.main import get_command

from embstore import Store
from embstore.interop.formats import READERS, WRITERS
from embstore.metrics import METRICS

DOCS = Path(__file__).parent
ROOT = DOCS.parent
TO_THE_END = "\0"
_SEVERAL = 5  # metrics with the same column or option, which is explained once


def cell(value: object) -> str:
    """Return text for a cell of a table."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def table(*rows: tuple[str, ...]) -> str:
    """Return a table of Markdown, whose first row is the header."""
    lines = [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]) + "\n"


def commands() -> str:
    """Return usage, help and options of every command; one metric stands for all."""
    shown: dict[str, str] = {}  # table of a panel → the command that has it
    parts = [*_command("embstore", get_command(app), "##", shown)]
    for name in (name for panel in COMMANDS.values() for name in panel):
        command = load(name)
        parts += _command(f"embstore {name}", command, "##", shown)
        inner = dict(getattr(command, "commands", {}))
        if name == "query":
            inner["anisotropy"] = command.command_of_metric(METRICS["anisotropy"])
        for sub, of_group in inner.items():
            parts += _command(f"embstore {name} {sub}", of_group, "###", shown)
    return "\n".join(parts)


def _command(name: str, command: Any, level: str, shown: dict[str, str]) -> Iterator[str]:
    context = command.context_class(command, info_name=name)
    yield f"{level} {name}\n\n```text\n{command.get_usage(context)}\n```\n"
    yield f"{command.help.strip()}\n".replace("<", "&lt;")
    panels: dict[str, list[tuple[str, ...]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or "--help" in parameter.opts:
            continue
        title = getattr(parameter, "rich_help_panel", None) or "Options"
        if parameter.param_type_name == "argument":
            title = "Arguments"
        panels.setdefault(title, []).append(
            (f"`{record[0].strip()}`".replace("|", "\\|"), cell(record[1]))
        )
    for title, rows in panels.items():
        text = table((title, ""), *rows)
        first = shown.setdefault(text, name)
        if first == name or len(rows) < 3:
            yield text
        else:
            yield f"{title}: those of [`{first}`](#{first.replace(' ', '-')}).\n"


def _limits(entry: dict[str, Any]) -> str:
    low, high = entry["minimum"], entry["maximum"]
    if low is None and high is None:
        return ""
    if high is None:
        return f"≥ {low:g}"
    return f"≤ {high:g}" if low is None else f"in [{low:g}, {high:g}]"


def _default(entry: dict[str, Any]) -> str:
    value = entry["default"]
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(f"`{part}`" for part in value) if isinstance(value, list) else f"`{value}`"


def _option(entry: dict[str, Any]) -> tuple[str, ...]:
    text = cell(entry["help"])
    if limits := _limits(entry):
        text += f" Range: {limits}."
    if entry["choices"]:
        text += " One of " + ", ".join(f"`{choice}`" for choice in entry["choices"]) + "."
    repeat = " (repeatable)" if entry["repeatable"] else ""
    return f"`{entry['option']}`{repeat}", _default(entry), text


def _column(column: dict[str, Any]) -> tuple[str, ...]:
    kind = " ".join(filter(None, [column["type"], _limits(column)]))
    kind += f", {column['unit']}" if column["unit"] else ""
    key = " (a key: several rows differ in it)" if column["key"] else ""
    return f"`{column['name']}`", cell(kind), f"{cell(column['help'])}{key}"


def _shared(tables: Iterable[list[tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """Return the rows that several tables have, which are explained once."""
    counts = Counter(row for rows in tables for row in rows)
    rows = [row for row, n in counts.items() if n >= _SEVERAL]
    names = Counter(row[0] for row in rows)
    return [row for row in rows if names[row[0]] == 1 or "(with `" in row[-1]]


def all_metrics() -> str:
    """Return the table of the metrics, and of each its picture, definition, columns and options."""
    rows = [
        (f"[`{metric.name}`](#{metric.name})", cell(metric.help), metric.needs)
        for metric in METRICS.values()
    ]
    parts = [table(("metric", "what it measures", "needs"), *rows)]
    entries = {name: Store.explain(name).to_dict() for name in METRICS}
    columns = {name: [*map(_column, entry["columns"])] for name, entry in entries.items()}
    options = {name: [*map(_option, entry["parameters"])] for name, entry in entries.items()}
    shared = [_shared(columns.values()), _shared(options.values())]
    headers = (("column", "type", "content"), ("option", "default", "meaning"))
    parts.append("## Columns and options of several metrics\n")
    parts += [table(header, *rows) for header, rows in zip(headers, shared, strict=True)]
    for name, entry in entries.items():
        parts += [f"## {name}\n", f"{entry['help']}\n", f"```text\n{entry['formula']}\n```\n"]
        facts = [
            cell(entry["estimator"]),
            f"Source: {entry['citation']}.".replace("..", "."),
            f"Needs: {entry['needs']}. Units: {', '.join(entry['units']) or 'all'}. Version"
            f" {entry['version']}.",
        ]
        parts.append("\n".join(f"* {fact}" for fact in facts) + "\n")
        for picture, drawn in _gallery.PICTURES.items():
            if (drawn.metric or picture) == name:
                parts.append(f"![{picture}](../gallery/{picture}.svg)\n")
                parts.append(f"{drawn.caption}\n\n```sh\n{_gallery.command(picture)}\n```\n")
        others = []
        for header, rows, known in zip(
            headers, (columns[name], options[name]), shared, strict=True
        ):
            if own := [row for row in rows if row not in known]:
                parts.append(table(header, *own))
            if names := [row[0] for row in rows if row in known]:
                others.append(f"{header[0]}s {', '.join(names)}")
        if others:
            link = "[as other metrics have](#columns-and-options-of-several-metrics)"
            parts.append(f"Also, {link}: {'; '.join(others)}.\n")
    parts.append("## The store of the pictures\n")
    parts.append("They are of the packaged MiniLM. `python docs/_gallery.py` draws them, from:\n")
    parts.append("```sh\n" + "\n".join(_gallery.SETUP) + "\n```\n")
    return "\n".join(parts)


def glossary() -> str:
    """Return the names of the metrics as entries of the glossary."""
    return "\n".join(
        f"[`{name}`](reference/metrics.md#{name})\n:   {METRICS[name].help}\n"
        for name in sorted(METRICS)
    )


def imports() -> str:
    """Return the import rules of pyproject.toml."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    contracts = linter["contracts"]
    rows, inside = ("\n".join(contracts[i]["layers"]) for i in (0, 2))
    return f"""\
Each row imports only what is below it, and nothing beside it. import-linter checks this table
(`[tool.importlinter]` in `pyproject.toml`). The command line (`cli/`, the package `embstore_cli`) is above it;
`schemas/` (`embstore_schemas`) has the JSON Schemas of a store's documents.

```text
{rows}
```

Inside `storage`:

```text
{inside}
```

Libraries of one package:

{"".join(f"* {contract['name']}.{chr(10)}" for contract in contracts[3:])}
`--help`, `query`, `neighbours` and `info` never load torch. Optional dependencies are extras; what needs a missing
one says which to install."""


def every_file() -> str:
    """Return the first line of every file."""

    def first_line(path: Path) -> str:
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        return docstring.partition("\n\n")[0].replace("\n", " ").replace(":mod:", "")

    parts = ["The first line of each.\n"]
    paths = [
        path for part in ("embstore", "cli", "schemas") for path in (ROOT / part).rglob("*.py")
    ]
    for folder in sorted({path.parent for path in paths}):
        lines = {path.stem: first_line(path) for path in sorted(folder.glob("*.py"))}
        parts.append(f"**`{folder.relative_to(ROOT)}/`**: {lines.pop('__init__', '')}\n")
        if lines:
            parts.append("".join(f"* `{stem}`: {line}\n" for stem, line in lines.items()))
    return "\n".join(parts)


def imported() -> str:
    """Return the formats of vectors that can be imported."""
    rows = [
        (f"`{name}`", ", ".join(f"`{suffix}`" for suffix in reader.suffixes) or "–", reader.help)
        for name, reader in READERS.items()
    ]
    text = "The format is found by suffix and content; `--as FORMAT` names it.\n\n"
    return text + table(("`--as`", "files", "what"), *rows)


def exported() -> str:
    """Return the formats that vectors can be exported to."""
    rows = [
        (
            f"`{name}`",
            ", ".join(f"`{suffix}`" for suffix in writer.suffixes) or "–",
            writer.help,
            "several" if writer.several_layers else "one",
        )
        for name, writer in WRITERS.items()
    ]
    text = "The suffix chooses the format; `--as FORMAT` names it.\n\n"
    return text + table(("`--as`", "suffix", "what", "layers"), *rows)


def documents() -> str:
    """Return the JSON Schemas."""
    folder = Path(embstore_schemas.__file__).parent
    rows = []
    for path in sorted(folder.rglob("*.schema.json")):
        schema = json.loads(path.read_text("utf-8"))
        name = path.relative_to(folder).as_posix()
        rows.append((f"`{name}`", cell(schema["title"]), cell(schema.get("description", ""))))
    text = "The folder `schemas/` of the repository has a JSON Schema for each document.\n\n"
    return text + table(("schema", "of", "content"), *rows)


def tables() -> str:
    """Return the Parquet tables of a store."""
    folder = Path(embstore_schemas.__file__).parent
    parts = ["Parquet tables, as in `schemas/tables.json`.\n"]
    for name, kind in json.loads((folder / "tables.json").read_text("utf-8"))["tables"].items():
        rows = [
            (
                cell(column) if "<" in column else f"`{column}`",
                cell(entry["type"]),
                cell(entry.get("description", "")),
            )
            for column, entry in kind["columns"].items()
        ]
        parts += [f"### {cell(name)}\n", f"{kind['description']}\n"]
        parts.append(table(("column", "type", "content"), *rows))
    return "\n".join(parts)


SECTIONS: dict[str, dict[str, Callable[[], str]]] = {
    "architecture.md": {"## Who imports whom": imports, "## Every file": every_file},
    "concepts/store-format.md": {"## Documents": documents, "## Tables": tables},
    "glossary.md": {"## Names of metrics": glossary},
    "how-to/vectors.md": {"### Formats to import": imported, "### Formats to export": exported},
    "reference/cli.md": {f"## All commands{TO_THE_END}": commands},
    "reference/metrics.md": {f"## All metrics{TO_THE_END}": all_metrics},
    "reference/python.md": {f"## All methods{TO_THE_END}": _python_reference.page},
}
"""Page → heading → what follows it."""


def renew(text: str, heading: str, body: str) -> str:
    """Return a page with this body after its heading."""
    title = heading.removesuffix(TO_THE_END)
    start = text.index(f"\n{title}\n") + len(title) + 2
    level = len(title) - len(title.lstrip("#"))
    following = re.compile(rf"^#{{1,{level}}} ", re.MULTILINE).search(text, start)
    end = len(text) if following is None or title != heading else following.start()
    return f"{text[:start]}\n{body.strip()}\n\n{text[end:]}".rstrip() + "\n"


def main(arguments: list[str]) -> int:
    """Write the sections, or with --check name the pages that differ."""
    differing = []
    for name, sections in SECTIONS.items():
        old = new = (DOCS / name).read_text("utf-8")
        for heading, function in sections.items():
            new = renew(new, heading, function())
        if new != old:
            differing.append(f"docs/{name}")
            if "--check" not in arguments:
                (DOCS / name).write_text(new, "utf-8")
    if differing and "--check" in arguments:
        print(f"out of date: {', '.join(differing)}; run python docs/_generate.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
