"""Write the section *Three walks* of docs/architecture.md: which files three commands enter.

python docs/_walks.py, with the extra minilm.
"""

import inspect
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

from _generate import DOCS, ROOT, renew

WALKS = ("build words.txt --model minilm", "query anisotropy", "neighbours dog")
PACKAGES = (str(ROOT / "embstore") + os.sep, str(ROOT / "cli") + os.sep)
HEADING = "## Three walks"
TEXT = """\
Each is one-way. A line is a file where it is first entered, with the function that is called first,
below the file that calls it; imports are left out, and comprehensions are no functions.
`python docs/_walks.py` draws them from the code."""


class Walk:
    """The functions that a command enters, and the files in their order.

    Attributes:
        functions: File and qualified name of each function.
        lines: Of each file: depth, name and first function.
    """

    def __init__(self) -> None:
        self.functions: set[tuple[str, str]] = set()
        self.lines: dict[str, tuple[int, str]] = {}

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """Take note of a call, as a profile function."""
        code = frame.f_code
        # A function with a name: neither the body of a module or class nor a comprehension.
        is_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
        if event != "call" or not is_function or not code.co_filename.startswith(PACKAGES):
            return
        self.functions.add((code.co_filename, code.co_qualname))
        if code.co_filename not in self.lines:
            self.lines[code.co_filename] = (self._depth(frame), code.co_qualname)

    def _depth(self, frame: FrameType | None) -> int:
        """Return the depth of the file that calls, plus one."""
        while frame is not None and (frame := frame.f_back) is not None:
            if frame.f_code.co_filename in self.lines:
                return self.lines[frame.f_code.co_filename][0] + 1
        return 0

    def drawn(self) -> str:
        """Return the files as an indented list."""
        rows = []
        for file, (depth, function) in self.lines.items():
            name = str(Path(file).relative_to(ROOT))
            rows.append(f"{'  ' * depth + name:<52}{function.replace('.<locals>', '')}".rstrip())
        return "\n".join(rows)


def walk(arguments: list[str]) -> str:
    """Run a command in this process and draw what it enters."""
    from embstore_cli.entry import run

    def leave(code: int) -> None:
        raise SystemExit(code)

    os._exit = leave  # type: ignore[assignment]  # a command ends without the interpreter's clean-up
    found = Walk()
    sys.argv = ["embstore", *arguments]
    threading.setprofile(found.note)
    sys.setprofile(found.note)
    try:
        run()
    except SystemExit:
        pass
    finally:
        sys.setprofile(None)
    title = f"### embstore {' '.join(arguments)}"
    counts = f"{len(found.lines)} files, {len(found.functions)} functions."
    return f"{title}\n\n{counts}\n\n```text\n{found.drawn()}\n```"


def main() -> None:
    """Draw each walk in a process of its own, in a new store."""
    parts = [TEXT]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "words.txt").write_text("dog\ncat\nriver\nbank\n", "utf-8")
        for line in WALKS:
            output = Path(folder, "walk")
            command = [sys.executable, __file__, str(output), *line.split()]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            parts.append(output.read_text("utf-8"))
    page = DOCS / "architecture.md"
    page.write_text(renew(page.read_text("utf-8"), HEADING, "\n\n".join(parts)), "utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(walk(sys.argv[2:]), "utf-8")
    else:
        main()
