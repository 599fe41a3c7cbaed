"""Errors and notes name arguments in Python and options on the command line; what to install fits its origin."""

import json
from types import SimpleNamespace

import pytest

from embstore.base import installation
from embstore.base.errors import EmbstoreError
from embstore.base.wording import command_line, in_python


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Add --embed; to keep it, run embstore build.", "Add embed=True; to keep it, run embstore build."),
        ("choose other spaces with --space.", "choose other spaces with spaces=."),
        ("Use --long skip or --long truncate.", 'Use long="skip" or long="truncate".'),
        ("Use --device cpu.", 'Use device="cpu".'),
        ("Run: embstore remove --space a.word.last", "Run: embstore remove --space a.word.last"),
        ("Run embstore neighbours --exact, or", "Run embstore neighbours --exact, or"),
        ("or use another --device or a smaller model.", "or use another device= or a smaller model."),
        ("a larger limit by --memory (memory= in Python).", "a larger limit by --memory (memory= in Python)."),
        ("Rename one: --model NAME=FOLDER.", 'Rename one: models="NAME=FOLDER".'),
        ("add --kind pairs|lexicon, and name its --columns.", 'add kind="pairs|lexicon", and name its columns=.'),
        ("or a local folder: --model gpt2=folder. Short", 'or a local folder: models="gpt2=folder". Short'),
        ("Make one with: embstore build --store x. Or name another with --store.",
         "Make one with: embstore build --store x. Or name another with path=."),
        ("Give at least one text, as in: embstore neighbours dog", 'Give at least one text, as in: neighbours("dog")'),
        ("give two, as in: embstore cosine bank river", 'give two, as in: cosine(["bank", "river"])'),
        ("(pip install 'embstore[build]'), or a folder: --model NAME=FOLDER.",
         "(pip install 'embstore[build]'), or a folder: models=\"NAME=FOLDER\"."),
        ("Words: -x FILE and -y FILE, not -o FILE.", 'Words: x="FILE" and y="FILE", not -o FILE.'),
        ("It is --fold-case or --allow-pickle.", "It is fold_case=True or allow_pickle=True."),
    ],
)  # fmt: skip
def test_options_become_arguments(message: str, shown: str) -> None:
    assert in_python(message) == shown
    assert in_python(shown) == shown


def test_errors_of_a_store_speak_the_language_of_the_caller(make_store, tmp_path) -> None:
    from embstore_cli.main import app
    from typer.testing import CliRunner

    made = make_store(index=False)
    with pytest.raises(EmbstoreError, match="add embed=True; to keep it") as found:
        made.store.neighbours("tex3")
    assert "--embed" not in str(found.value)
    with command_line(), pytest.raises(EmbstoreError, match="add --embed; to keep it"):
        made.store.neighbours("tex3")
    output = CliRunner().invoke(app, ["neighbours", "tex3", "--store", str(made.root)]).stderr
    assert "add --embed; to keep it" in output


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'embstore[build]'"),
        ({"url": "file:///src/embstore", "dir_info": {"editable": True}}, "pip install -e '/src/embstore[build]'"),
        ({"url": "file:///src/embstore", "dir_info": {}}, "pip install '/src/embstore[build]'"),
        (
            {"url": "https://example.org/e.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "pip install 'embstore[build] @ git+https://example.org/e.git@abc'",
        ),
        ({"url": "file:///e-1.whl", "archive_info": {}}, "pip install 'embstore[build] @ file:///e-1.whl'"),
    ],
)
def test_what_to_install_comes_from_where_this_came_from(
    monkeypatch: pytest.MonkeyPatch, origin: dict | None, command: str
) -> None:
    text = None if origin is None else json.dumps(origin)
    monkeypatch.setattr(installation, "distribution", lambda _: SimpleNamespace(read_text=lambda _: text))
    assert installation.install_command("build") == command
