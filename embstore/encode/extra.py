"""Import the optional libraries, with an error that names the extra to install if one is
missing.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from typing import Any

from embstore.base.errors import CheckpointError, UsageError
from embstore.base.installation import needing

_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|cannot allocate memory|DefaultCPUAllocator|out of"
    r" memory",
    re.I,
)


def need(module: str) -> Any:
    """Import ``torch``, ``transformers``, ``huggingface_hub`` or one of their submodules."""
    package = module.partition(".")[0]
    with warnings.catch_warnings(), needing(f"encoding needs {package}", "build", CheckpointError):
        # tqdm, about its bars in notebooks without ipywidgets: embstore shows its own.
        warnings.filterwarnings("ignore", message="IProgress not installed")
        return import_module(module)


_MAPPINGS = {
    "AutoModel": "MODEL_MAPPING",
    "AutoModelForCausalLM": "MODEL_FOR_CAUSAL_LM_MAPPING",
    "AutoModelForQuestionAnswering": "MODEL_FOR_QUESTION_ANSWERING_MAPPING",
    "AutoModelForSeq2SeqLM": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "AutoModelForSequenceClassification": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
    "AutoModelForTextEncoding": "MODEL_FOR_TEXT_ENCODING_MAPPING",
    "AutoModelForTokenClassification": "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING",
}


def model_class(name: str, config: Any) -> Any:
    """Return the class of transformers for a config: that of a name, or of those that an auto class
    of this name stands for; None if there is none, or several.
    """
    if name in _MAPPINGS:
        mapping = getattr(need("transformers.models.auto.modeling_auto"), _MAPPINGS[name])
        cls = mapping.get(type(config), None)
    else:
        cls = getattr(need("transformers"), name, None)
        if getattr(cls, "config_class", None) is not type(config):
            cls = None
    return cls if isinstance(cls, type) else None


def versions() -> dict[str, str]:
    """Return the versions of torch, transformers and tokenizers, by name."""
    return {name: str(need(name).__version__) for name in ("torch", "transformers", "tokenizers")}


def installed_versions() -> dict[str, str]:
    """Return the versions of embstore and of the libraries that vectors depend on; empty for one
    that is missing.

    Nothing is imported. Labels of a build, as in ``2.9.0+cu128``, are left out.
    """
    installed = {}
    for name in ("embstore", "torch", "transformers", "tokenizers"):
        try:
            installed[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            installed[name] = ""
    return installed


def first_sentence(error: Exception) -> str:
    """Return the first sentence of a library's error message, without the advice that follows it.

    Unprintable characters, which may come from a checkpoint's files, are escaped.
    """
    words = " ".join(str(error).partition("\n\n")[0].split())
    first = re.split(r"\. |\.$", words)[0] or type(error).__name__
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in first
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars and load reports of transformers within a ``with`` block."""
    logging = need("transformers.utils.logging")
    hub = need("huggingface_hub.utils")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_bars = not hub.are_progress_bars_disabled()
    with warnings.catch_warnings():
        # The hub warns if an environment variable overrules its switch; then there is nothing to
        # restore either.
        warnings.filterwarnings("ignore", message=".*progress bars")
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
            (hub.enable_progress_bars if hub_bars else hub.disable_progress_bars)()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means out of memory; torch's CPU allocator raises RuntimeError, told
    by its message.
    """
    torch = need("torch")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None
    )


def free_cached_memory(device: Any) -> None:
    """Free torch's cached memory of a device, so that a smaller batch may fit."""
    torch = need("torch")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def choose_device(name: str | None) -> Any:
    """Return the torch device of a name; by default CUDA if available, else MPS, else the CPU."""
    torch = need("torch")
    if name is None:
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"the device {name!r} cannot be used: {first_sentence(error)}. Use device='cpu'."
        ) from error
    return device
