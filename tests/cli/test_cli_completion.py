"""Completion in shells: what is offered, without slow imports, and silence where nothing is
known.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from embstore_cli._completion import METRICS as NAMES
from hanging import HUNG_SECONDS
from tiny_checkpoint import stored_files

from embstore.metrics import METRICS

pytestmark = pytest.mark.process

LIGHT = ("embstore q", "embstore query aniso", "embstore neighbours --space ", "embstore build rg")
SLOW = ("numpy", "duckdb", "scipy", "torch", "pyarrow", "faiss", "rich", "pydantic", "wordfreq")


def run(words: str, shell: str = "bash", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run what the script of a shell runs when the last of these words is to be completed."""
    variables = {
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": words.split(" ")[-1],
        "_EMBSTORE_COMPLETE": f"complete_{shell}",
    }
    call = [sys.executable, "-m", "embstore"]
    return subprocess.run(
        call, capture_output=True, text=True, env={**os.environ, **variables, **environment}
    )


def offered(words: str, **environment: str) -> list[str]:
    """Return what is offered, which must be all that is said; some must come without slow
    imports.
    """
    done = run(words, **environment, PYTHONPROFILEIMPORTTIME="1")
    lines = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert (done.returncode, "typer" in imported) == (0, True)
    assert [line for line in lines if not line.startswith("import time:")] == []
    assert words not in LIGHT or not imported & {*SLOW}
    return done.stdout.split()


def test_the_names_of_metrics_are_those_that_are_declared():
    assert sorted(NAMES) == sorted(METRICS)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("embstore q", ["query"]),
        ("embstore query aniso", ["anisotropy"]),
        (
            "embstore neighbours --space ",
            ["other.word.last", "toy.occurrence.last", "toy.word.last"],
        ),
        ("embstore query norms --spa", ["--space"]),
        (
            "embstore query norms --space ",
            ["other.word.last", "toy.occurrence.last", "toy.word.last"],
        ),
        ("embstore neighbours dog --model ", ["other", "toy"]),
        ("embstore query norms --format j", ["json", "jsonl"]),
        ("embstore query overlap --against o", ["other.word.last"]),
        ("embstore build words --model mini", ["minilm"]),
        ("embstore build rg", ["rg65"]),
        ("embstore datasets fetch sts", ["stsb", "stsb-wolfe2022"]),
        ("embstore query norms --layer to", ["top"]),
        ("embstore completion ", ["bash", "zsh", "fish", "powershell"]),
    ],
)
def test_what_is_offered(made, words, wanted):
    found = offered(words, EMBSTORE_STORE=str(made.root))
    assert found == wanted or (words.endswith("sts") and set(found) >= {"stsb"})


def test_the_store_of_the_command_line_is_asked(made):
    assert "toy.word.last" in offered(f"embstore query norms --store {made.root} --space ")


@pytest.mark.parametrize("shell", ["zsh", "fish", "powershell"])
def test_every_shell_gets_the_spaces(made, shell):
    done = run("embstore query norms --space toy", shell, EMBSTORE_STORE=str(made.root))
    assert done.returncode == 0
    assert {"toy.word.last", "toy.occurrence.last"} <= set(
        re.findall(r"toy\.\w+\.last", done.stdout)
    )


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        *(
            (shell, "embstore query norms --space ")
            for shell in ("bash", "zsh", "fish", "powershell")
        ),
        ("bash", "embstore query nonsense x"),
        ("bash", "embstore info --model "),
        ("bash", "embstore x y"),
    ],
)
def test_silence_without_a_store(tmp_path, shell, words):
    done = run(words, shell, EMBSTORE_STORE=str(tmp_path / "none"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() in ("", "_files")


def test_a_damaged_card_and_a_damaged_manifest_are_passed_over(make_store):
    root = make_store(n=2, model="a").root
    make_store(n=2, model="b")
    stored_files(root, "spaces/a.")[0].write_text("{")
    assert offered("embstore info --store x --model ", EMBSTORE_STORE=str(root)) == []
    assert offered("embstore query norms --model ", EMBSTORE_STORE=str(root)) == ["b"]
    max((root / "manifest").iterdir()).write_text('{"files": {"spaces/../../a.json"')
    assert offered("embstore query norms --model ", EMBSTORE_STORE=str(root)) == []


# Each prints what its shell makes of a line that ends in the first argument.
_BASH = """
eval "$(embstore completion bash)"
COMP_WORDS=(embstore $1)
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_embstore_completion embstore
printf '%s\\n' "${COMPREPLY[@]}"
"""
_FISH = "embstore completion fish | source; complete -C 'embstore '$argv[1]"
_ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'autoload -Uz compinit; compinit -u -D; eval "$(embstore completion zsh)"; print REA""DY'
zpty -r -m shell shown '*READY*'
zpty -w -n shell "embstore $1"$'\t'
zpty -r -m shell shown "*$2 *"
print -r -- $2
zpty -d shell
"""
_PWSH = """
embstore completion powershell | Out-String | Invoke-Expression
$line = "embstore $($args[0])"
(TabExpansion2 -inputScript $line -cursorColumn $line.Length).CompletionMatches.CompletionText
"""
_SHELLS = {
    "bash": ["bash", "-c", _BASH, "bash"],
    "fish": ["fish", "-N", "-c", _FISH],
    "pwsh": ["pwsh", "-NoProfile", "-CommandWithArgs", _PWSH],
    "zsh": ["zsh", "-f", "-c", _ZSH, "-"],
}


@pytest.mark.parametrize("shell", _SHELLS)
@pytest.mark.parametrize(
    ("line", "word"), [("query norms --space toy.w", "toy.word.last"), ("neighbou", "neighbours")]
)
def test_a_shell_completes_by_its_script(made, tmp_path, shell, line, word):
    """zsh waits for the word that it is to show, and so is stopped if it does not come."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": path,
        "EMBSTORE_STORE": str(made.root),
        "HOME": str(tmp_path),
        "TERM": "dumb",
    }
    call = [*_SHELLS[shell], line, word]
    done = subprocess.run(
        call, capture_output=True, text=True, env=environment, timeout=HUNG_SECONDS
    )
    assert done.stdout.split() == [word], done.stderr


def test_the_scripts(cli, refusal):
    signs = {
        "bash": "complete -o",
        "zsh": "compdef",
        "fish": "complete --command",
        "powershell": "Register-",
    }
    for shell, sign in signs.items():
        shown = cli("completion", shell)
        assert shown.exit_code == 0
        assert sign in shown.stdout
        assert "_EMBSTORE_COMPLETE" in shown.stdout
    assert "Did you mean 'bash'" in refusal("completion", "bsh")
