"""``embstore completion``."""

from typing import Annotated

from ._errors import explained
from ._options import argument
from ._output import write


def completion(
    shell: Annotated[str, argument("SHELL", "bash, zsh, fish or powershell.")],
) -> None:  # fmt: skip
    """Print the script that lets a shell complete commands, options, metrics, spaces and datasets."""
    with explained():
        from embstore.base.errors import UnknownNameError

        from ._completion import SHELLS, script

        if shell not in SHELLS:
            raise UnknownNameError("shell", shell, SHELLS)
        write(f"{script(shell)}\n", None)
