"""The optional libraries: asked for by name, so that a missing one is a message and not a traceback."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from embstore.errors import CheckpointError
from embstore.installation import install_command


def need(module: str) -> Any:
    """Import ``torch``, ``transformers`` or one of their modules.

    Raises:
        CheckpointError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise CheckpointError(
            f"encoding needs {package}, which cannot be imported ({error}): {install_command('build')}"
        ) from error


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide the vectors."""
    return {name: str(need(name).__version__) for name in ("torch", "transformers", "tokenizers")}


def told(error: Exception) -> str:
    """Return the first sentence of an error of these libraries: advice to their own users follows it.

    What it quotes of a checkpoint's files is escaped where it cannot be printed.
    """
    words = " ".join(str(error).partition("\n\n")[0].split())
    first = re.split(r"\. |\.$", words)[0] or type(error).__name__
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in first)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and load reports, and put its settings back afterwards."""
    logging = need("transformers.utils.logging")
    hub = need("huggingface_hub.utils")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_bars = not hub.are_progress_bars_disabled()
    with warnings.catch_warnings():
        # The hub warns where an environment variable overrules its switch; then there is nothing to restore either.
        warnings.filterwarnings("ignore", message=".*progress bars")
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
            if hub_bars:
                hub.enable_progress_bars()
            else:
                hub.disable_progress_bars()
