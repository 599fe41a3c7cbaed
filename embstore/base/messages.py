"""Messages that name parameters: they have ``⦃name⦄`` or ``⦃name=value⦄``, which each reader sees
in his own way.

``⦃embed=True⦄`` is ``--embed`` on the command line, ``embed=True`` in Python, and a box to tick on
the page; ``⦃--column⦄`` is ``column=``, ``⦃column⦄`` is ``columns=``, as of most methods;
``⦃--label⦄`` is ``labels=``, of pictures and tables. A command about the store, as in
``Run: ⦃embstore verify --deep⦄``, gets the ``--store`` of the command that runs, so that it works
as it is shown; ``⦃again unit=word⦄`` is the command that runs with one more option. Other commands
are plain text.

Messages are rendered where they are shown: by errors, and by the results that have notes. Control
characters of texts are escaped before they are shown, since a terminal would obey them.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Style = Callable[[str, str | None], str]
"""Function of a parameter's name, as the command line has it, and of the value that a message
gives, if any.
"""

PLURALS = {
    "column": "columns", "layer": "layers", "model": "models", "pooling": "poolings",
    "revision": "revisions",
    "source": "sources", "space": "spaces", "text": "texts", "transform": "transforms",
}  # fmt: skip
"""Singular on the command line → plural in Python."""
_PARAMETER = re.compile(r"⦃(again )?([a-z-]+)(?:=([^⦄]*))?⦄")
_COMMAND = re.compile("⦃(embstore [^⦄]*)⦄")
_IN_PYTHON = {
    **PLURALS,
    "as": "format",
    "store": "path",
    "store-option": "options",
    "text": "marked",
    "--label": "labels",
}


def with_value(parameter: str, value: str) -> str:
    """Return a parameter of a message, ``⦃keep⦄``, with a value: ``⦃keep=pos⦄``."""
    return f"{parameter.removesuffix('⦄')}={value}⦄"


def argument_name(name: str) -> str:
    """Return the name in Python of a parameter of the command line."""
    return _IN_PYTHON.get(name) or name.lstrip("-").replace("-", "_")


def as_argument(name: str, value: str | None) -> str:
    """Return a parameter as an argument of Python: ``where=``, ``long="skip"``, ``k=5``,
    ``cache=False``.
    """
    is_bare = value is None or value in ("True", "False") or value.isdecimal()
    shown = value or "" if is_bare else f'"{value}"'
    return f"{argument_name(name)}={shown}"


def as_option(name: str, value: str | None) -> str:
    """Return a parameter as an option of the command line: ``--where``, ``--long skip``, ``-k 5``,
    ``--no-cache``.
    """
    flag = name if name.startswith("-") else f"--{'no-' if value == 'False' else ''}{name}"
    if value is None or value in ("True", "False"):
        return flag
    is_word = re.fullmatch(r"(?!#)[^\s'\"{}();&]*[\w…][^\s'\"{}();&]*", value)
    quote = "" if is_word else '"' if re.search(r"[\s']", value) and '"' not in value else "'"
    return f"{flag} {quote}{value}{quote}"


_of_process: Style = as_argument
_call: tuple[Iterable[str], Iterable[str]] = (
    (),
    (),
)  # words of the command that runs, and those that name its store
_of_context: ContextVar[Style | None] = ContextVar("style", default=None)


def rendered(message: str, style: Style | None = None) -> str:
    """Return a message with its parameters as they are written where it is read, or in a style."""
    if "⦃" not in message:
        return message
    style = style or _of_context.get() or _of_process
    words, store = _call
    again, rest = "", ""
    if words and style is as_option:
        words = [*words]
        end = words.index("--") if "--" in words else len(words)
        again, rest = (
            f"{shlex.join(words[:end])} ",
            "".join(f" {shlex.quote(word)}" for word in words[end:]),
        )
    message = _COMMAND.sub(lambda found: " ".join([found[1], *map(shlex.quote, store)]), message)

    def written(found: re.Match[str]) -> str:
        parameter = style(found[2], found[3])
        return f"{again}{parameter}{rest}" if found[1] else parameter

    return _PARAMETER.sub(written, message)


def rendered_all(messages: Iterable[str]) -> tuple[str, ...]:
    """Return messages as :func:`rendered` does."""
    return tuple(map(rendered, messages))


def is_command_line() -> bool:
    """Return whether the command line reads what this process does."""
    return _of_process is as_option


def set_style(style: Style) -> Style:
    """Let all messages of this process, in all its threads, be written in a style; return the one
    before.
    """
    global _of_process
    before, _of_process = _of_process, style
    return before


@contextmanager
def command_line() -> Iterator[None]:
    """Write the messages of this process for the command line within the context."""
    before, call = set_style(as_option), _call
    try:
        yield
    finally:
        set_style(before)
        set_call(*call)


def set_call(words: Iterable[str], store: Iterable[str]) -> None:
    """Tell the words of the command that runs, and those that name its store, until
    :func:`command_line` ends.
    """
    global _call
    _call = words, store


@contextmanager
def written_as(style: Style) -> Iterator[None]:
    """Write the messages of the context in a style, whatever that of the process is."""
    token = _of_context.set(style)
    try:
        yield
    finally:
        _of_context.reset(token)


class Report:
    """What a command did, in sentences: a dataclass with notes, which are rendered when it is
    made.
    """

    __slots__ = ()
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", rendered_all(self.notes))

    def lines(self) -> list[str]:
        """Return the report in sentences, the summary last."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return printable("\n".join([*self.lines(), *self.notes]), lines=True)

    def _repr_html_(self) -> str:
        import html  # whose table of names takes longer to load than a short report

        return "".join(
            f"<p>{html.escape(printable(line))}</p>" for line in [*self.lines(), *self.notes]
        )


_CONTROLS = "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escape sequences begin with one of them
_LINES = "\u2028\u2029"
_BIDI = "\u202a-\u202e\u2066-\u2069"  # they reorder the text that follows
_SURROGATES = "\ud800-\udfff"  # UTF-8 has none
_UNSAFE = f"{_CONTROLS}{_LINES}{_BIDI}{_SURROGATES}"
_ALL, _ALL_BUT_LINE_FEEDS = (
    f"[{_UNSAFE}]",
    f"(?!\n)[{_UNSAFE}]",
)  # compiled at first use: not every command needs them


def is_utf8(text: str) -> bool:
    """Return whether a name of the operating system is UTF-8: the bytes of another are
    surrogates.
    """
    return re.search(f"[{_SURROGATES}]", text) is None


def printable(text: str, *, lines: bool = False) -> str:
    r"""Escape the control characters of a text, as in ``\x1b``; all other characters stay.

    Escaped are the C0 and C1 controls, line and paragraph separators, bidirectional embeddings,
    overrides and isolates, and lone surrogates. Joiners (ZWJ, ZWNJ) stay, since words and emoji are
    spelt with them.
    """
    if text.isascii() and text.isprintable():
        return text
    return re.sub(_ALL_BUT_LINE_FEEDS if lines else _ALL, _escape, text)


def printable_json(document: str) -> str:
    r"""Escape the control characters in a JSON document as in ``\u009b``; its content stays the
    same.
    """
    return re.sub(_ALL_BUT_LINE_FEEDS, lambda match: f"\\u{ord(match[0]):04x}", document)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
