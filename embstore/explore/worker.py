"""A process that computes for the server: it reads pickled calls from its standard input, and writes their results."""

import os
import pickle
import signal
import sys
from typing import Any, BinaryIO

from embstore.base.errors import EmbstoreError
from embstore.base.messages import set_style
from embstore.explore.rendering import as_field
from embstore.storage.sql.interruptible import is_running

LENGTH_BYTES = 8


def main() -> None:
    """Answer calls until the standard input ends. The first message is the store that they are about."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the server ends this one
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    calls = sys.stdin.buffer
    store = _receive(calls)
    set_style(as_field)
    while (call := _receive(calls)) is not None:
        function, arguments = call
        try:
            answer = (True, function(store, **arguments))
        except EmbstoreError as error:
            answer = (False, str(error))
        except Exception as error:
            answer = (False, f"this could not be computed: {type(error).__name__}: {error}")
        data = pickle.dumps((*answer, is_running()))
        answers.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
        answers.flush()


def _receive(stream: BinaryIO) -> Any:
    head = stream.read(LENGTH_BYTES)
    return pickle.loads(stream.read(int.from_bytes(head, "big"))) if len(head) == LENGTH_BYTES else None
