"""The code blocks of a page of the documentation, as scripts whose line numbers are those of the
page.

Blocks of ``bash``, ``console`` and ``python`` are run; ``sh`` and ``py`` are only shown.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^( *)```(\w*)\s*$")
_PRELUDE = "set -eEuo pipefail; exec 9>&2; trap 'echo \"line $LINENO: $BASH_COMMAND\" >&9' ERR; "


@dataclass(frozen=True)
class Block:
    """A fenced code block of a page.

    Attributes:
        line: Number of its first line of code, from 1.
        language: The word after the fence.
        code: Its lines.
    """

    line: int
    language: str
    code: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """A command of a console block, and the output that the page shows after it."""

    line: int
    code: tuple[str, ...]
    output: tuple[str, ...]


def pages():
    """Return every page of the documentation, and the README."""
    return [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"]


def blocks(text):
    """Return the fenced code blocks of a page in order."""
    found = []
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if opening is None:
            number += 1
            continue
        indent = opening[1]
        end = next(n for n in range(number + 1, len(lines)) if lines[n] == f"{indent}```")
        code = tuple(line.removeprefix(indent) for line in lines[number + 1 : end])
        found.append(Block(number + 2, opening[2], code))
        number = end + 1
    return found


def commands(block):
    """Return the commands of a console block: lines after ``$``, continued after ``>``, and what
    they print; of another block none.
    """
    found = []
    if block.language != "console":
        return found
    for offset, line in enumerate(block.code):
        if line.startswith("$ "):
            found.append(Command(block.line + offset, (line[2:],), ()))
        elif not found:
            raise ValueError(f"line {block.line + offset}: a console block begins with '$ '")
        elif line.startswith("> ") and not found[-1].output:
            found[-1] = Command(found[-1].line, (*found[-1].code, line[2:]), ())
        else:
            found[-1] = Command(found[-1].line, found[-1].code, (*found[-1].output, line))
    return found


def shell_script(text, outputs):
    """Return the shell blocks of a page as one script of bash, each command on its own line of the
    page.

    A console command writes to the terminal ``$TERMINAL``, a file descriptor, after its line
    between two record separators.

    Args:
        text: The page.
        outputs: Folder for what console commands write to standard error: ``<line>.err``.
    """
    script = [""] * (text.count("\n") + 2)
    for block in blocks(text):
        if block.language == "bash":
            script[block.line - 1 : block.line - 1 + len(block.code)] = block.code
        for command in commands(block):
            first, *rest = command.code
            begin = f"printf '\\036{command.line}\\036' >&\"$TERMINAL\"; "
            code = [f"{begin}{{ {first}", *rest]
            code[-1] += f"; }} >&\"$TERMINAL\" 2> '{outputs}/{command.line}.err'"
            script[command.line - 1 : command.line - 1 + len(code)] = code
    script[0] = _PRELUDE + script[0]
    return "\n".join(script) + "\n"


def python_script(text):
    """Return the Python blocks of a page as one script, each line on its own line of the page."""
    script = [""] * (text.count("\n") + 2)
    for block in blocks(text):
        if block.language == "python":
            script[block.line - 1 : block.line - 1 + len(block.code)] = block.code
    return "\n".join(script)


def matches(shown, printed):
    """Return whether a page shows what was printed; … stands for anything, and alone on a line for
    any lines.
    """
    lines = list(shown)
    while lines and not lines[-1].strip():
        lines.pop()
    pattern = ""
    for line in lines:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in line.rstrip().split("…")) + r"[ ]*\n"
    return re.fullmatch(pattern, printed.rstrip() + "\n" if printed.strip() else "") is not None
