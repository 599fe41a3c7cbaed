"""Commands in processes forked from one that has the libraries loaded.

To import torch and transformers takes 6 s of a core, and embstore itself a third of a second; the
pages of the documentation start some 160 commands.
A server is started with ``python preloaded.py serve SOCKET``;
``python preloaded.py SOCKET COMMAND ARGUMENT…`` runs a command as if it were started there: its
streams, folder and environment are the caller's.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path

_MODULES = """
model_loading embstore_cli.main embstore.store.opened embstore.store.building embstore.build.pipeline pandas wordfreq
transformers.models.bert.modeling_bert transformers.models.bert.tokenization_bert
"""
"""Modules to load: none that starts threads, or whose presence changes what a command does (faiss,
matplotlib).
"""
_READ_AT_IMPORT = ("HF_", "TRANSFORMERS_", "TORCH_", "OMP_", "PYTHON")
_LIMIT = 1 << 17  # of a request, in bytes


@contextmanager
def started_server(folder):
    """Start a server, and stop it at the end of the context.

    Args:
        folder: Empty folder for the programs that take the place of others: ``embstore``,
            ``python`` where it reads a script from its input, and ``preloaded-python``, which runs
            one of a file.
    """
    address = folder / "socket"
    client = f"exec '{sys.executable}' -I -S '{__file__}' '{address}'"
    own = Path(sys.executable).with_name("embstore")
    programs = {
        # The explorer's server is ended by a signal, which the client would get.
        "embstore": f'case $1 in explore) exec \'{own}\' "$@" ;; esac\n{client} embstore "$@"',
        "preloaded-python": f'{client} python "$@"',
        "python": f'[ "$1" != - ] || {{ cat >"$0.$$"; {client} python "$0.$$"; }}\n'
        f"exec '{sys.executable}' \"$@\"",
    }
    for name, code in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{code}\n", "utf-8")
        (folder / name).chmod(0o755)
    with subprocess.Popen(
        [sys.executable, __file__, "serve", address], stdin=subprocess.DEVNULL
    ) as server:
        try:
            while not address.exists():
                assert server.poll() is None, "the server of preloaded commands has ended"
                time.sleep(0.05)
            yield
        finally:
            server.terminate()


def _serve(address):
    """Fork a process for each request."""
    for module in _MODULES.split():
        __import__(module)
    sys.path.pop(0)  # the folder of this file
    gc.freeze()  # a collection would touch, and so copy, the memory that the processes share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(f"{address}.new")
    listening.listen()
    os.rename(f"{address}.new", address)
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            break
        connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, streams, _, _ = socket.recv_fds(connection, _LIMIT, 3)
    if command := os.fork():
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(command, 0)
        with suppress(BrokenPipeError):  # who asked was killed
            connection.send(b"%d" % os.waitstatus_to_exitcode(status))
        os._exit(0)  # to take apart the modules of the server takes half a second
    connection.close()
    _end(_status(lambda: _run(streams, **json.loads(request))))


def _run(streams, arguments, folder, environment):
    """Run a command in this process."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", errors="backslashreplace", closefd=False, buffering=1)  # noqa: SIM115
    os.chdir(folder)
    for name in {*environment, *os.environ}:
        if name.startswith(_READ_AT_IMPORT) and environment.get(name) != os.environ.get(name):
            raise SystemExit(
                f"{name} has another value than in the server: start this command without it"
            )
    os.environ.clear()
    os.environ.update(environment)
    program, *sys.argv = arguments
    if program == "python":
        sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        sys.argv.insert(0, program)
        from embstore_cli.entry import run

        run()


def _status(command):
    """Run a command, and return the status that Python would exit with."""
    try:
        command()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(status):
    """End this process without taking apart the modules of the server, which takes longer than a
    short command.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _ask(address, arguments):
    """Have a command run by a server, and return its exit status."""
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
        status = int(connection.recv(16) or b"1")
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        with suppress(KeyboardInterrupt):
            _serve(sys.argv[2])
    else:
        sys.exit(_ask(sys.argv[1], sys.argv[2:]))
