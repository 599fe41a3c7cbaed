"""Import the optional libraries, with an error that names the extra to install if one is missing."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from typing import Any

from embstore.base.errors import CheckpointError
from embstore.base.installation import install_command


def need(module: str) -> Any:
    """Import ``torch``, ``transformers``, ``huggingface_hub`` or one of their submodules.

    Raises:
        CheckpointError: The library cannot be imported.
    """
    try:
        with warnings.catch_warnings():
            # tqdm, about its bars in notebooks without ipywidgets: embstore shows its own.
            warnings.filterwarnings("ignore", message="IProgress not found")
            return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise CheckpointError(
            f"encoding needs {package}, which cannot be imported ({error}): {install_command('build')}"
        ) from error


def versions() -> dict[str, str]:
    """Return the versions of torch, transformers and tokenizers, by name."""
    return {name: str(need(name).__version__) for name in ("torch", "transformers", "tokenizers")}


def installed_versions() -> dict[str, str]:
    """Return the versions of embstore and of the libraries that vectors depend on; empty for one that is missing.

    Nothing is imported. Labels of a build, as in ``2.9.0+cu128``, are left out.
    """
    found = {}
    for name in ("embstore", "torch", "transformers", "tokenizers"):
        try:
            found[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def first_sentence(error: Exception) -> str:
    """Return the first sentence of a library's error message, without the advice that follows it.

    Unprintable characters, which may come from a checkpoint's files, are escaped.
    """
    words = " ".join(str(error).partition("\n\n")[0].split())
    first = re.split(r"\. |\.$", words)[0] or type(error).__name__
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in first)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars and load reports of transformers within a ``with`` block."""
    logging = need("transformers.utils.logging")
    hub = need("huggingface_hub.utils")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_bars = not hub.are_progress_bars_disabled()
    with warnings.catch_warnings():
        # The hub warns if an environment variable overrules its switch; then there is nothing to restore either.
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
