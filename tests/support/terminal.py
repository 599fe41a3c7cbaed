"""A terminal for commands: what they write there, as a user sees it."""

import os
import pty
import subprocess


def on_terminal(command, columns=200, *, stdout=None, stderr=None, cwd=None, **environment):
    """Run a command on a terminal, and return its exit code, what it wrote there, and what it wrote
    to a pipe.

    Args:
        command: Program and arguments.
        columns: Width of the terminal.
        stdout: ``subprocess.PIPE`` to keep standard output off the terminal.
        stderr: ``subprocess.PIPE`` to keep standard error off the terminal.
        cwd: Working directory.
        **environment: Variables to add to the environment.
    """
    main, side = pty.openpty()
    subprocess.run(["stty", "cols", str(columns), "-onlcr"], stdin=side, check=True)
    streams = {"stdout": stdout or side, "stderr": stderr or side}
    with subprocess.Popen(
        command, **streams, cwd=cwd, env={**os.environ, **environment}
    ) as running:
        os.close(side)
        shown = b""
        try:
            while part := os.read(main, 65536):
                shown += part
        except OSError:  # how Linux says that the other side has closed
            pass
        piped = b"".join(part or b"" for part in running.communicate())
    os.close(main)
    return running.returncode, shown.decode(), piped
