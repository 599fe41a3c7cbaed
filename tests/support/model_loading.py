"""Load what a process needs once to load models: a server that forks processes imports this module
beforehand.
"""

from contextlib import suppress

import transformers.models.auto.tokenization_auto  # noqa: F401

import embstore.encode.forward  # noqa: F401

with suppress(ImportError):  # of another version of transformers, which has no such table
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    # The first call compiles a thousand regular expressions.
    get_checkpoint_conversion_mapping("bert")
