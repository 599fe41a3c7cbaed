"""What reaches a terminal: no control character of a text, whatever the command, the format or the
error.
"""

import csv
import io
import json
import re
import sys
from dataclasses import replace

import pytest
from embstore_cli import _output
from embstore_cli._options import Format
from hypothesis import given, settings
from hypothesis import strategies as st
from store_writing import replace_card
from synthetic import synthetic_store
from terminal import on_terminal

from embstore.base import progress
from embstore.base.errors import UsageError
from embstore.base.table import table

pytestmark = pytest.mark.process

EVIL = "evil\x1b]0;title\x07\x1b[2J\x9b31m\r\x7f\u202etxt\u2028[red]"
SHOWN = "evil\\x1b]0;title\\x07\\x1b[2J\\x9b31m\\r\\x7f\\u202etxt\\u2028[red]"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

# Runs each command as the script does, one after the other: to start Python for each takes most of
# the time.
MANY = """
import json, sys
from embstore_cli.main import run
for call in json.loads(sys.argv[1]):
    sys.argv = ["embstore", *call]
    print("$", json.dumps(call), flush=True)
    try:
        run()
    except SystemExit as end:
        print("exit", end.code, flush=True)
"""


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A store whose texts and card have control characters."""
    made = synthetic_store(
        tmp_path_factory.mktemp("evil") / "store",
        texts=["dog", EVIL, f"{EVIL}2", "cat"],
        n_blocks=1,
    )
    replace_card(made.files, replace(made.card, checkpoint=EVIL, versions={EVIL: EVIL}))
    return made


def test_no_control_character_reaches_a_terminal(evil, tmp_path):
    store = ["--store", str(evil.root)]
    forms = [form.value for form in Format if form is not Format.PARQUET]
    calls = [
        *(["neighbours", "dog", "--layer", "0", "--format", form, *store] for form in forms),
        *(["info", "--format", form, *store] for form in forms),
        ["neighbours", EVIL, *store],
        ["neighbours", f"no {EVIL}", *store],
        ["neighbours", "dog", "--where", f"error('{EVIL}')", *store],
        ["neighbours", "dog", "--where", f"text = '{EVIL}' AND", *store],
        ["query", "anisotropy", "--space", EVIL, *store],
        ["query", EVIL, *store],
        ["query", "weat", "--x", EVIL, *store],
        ["info", "--store", str(tmp_path / "not\x1b[31mhere")],
        ["datasets", "missing", str(tmp_path / EVIL), *store],
        ["info", "-o", str(tmp_path / "no\x9bfolder" / "file"), *store],
    ]
    _, shown, _ = on_terminal([sys.executable, "-c", MANY, json.dumps(calls)])
    shown = COLOUR.sub("", shown)
    assert not CONTROL.findall(shown), [line for line in shown.splitlines() if CONTROL.search(line)]
    assert shown.count(SHOWN) >= 5
    assert shown.count('$ ["') == len(calls), "each command was run"


def test_piped_data_are_the_very_texts(cli, evil):
    call = ["neighbours", "dog", "--layer", "0", "--store", evil.root, "--format"]
    wanted = {EVIL, f"{EVIL}2", "cat"}
    assert {row["text"] for row in json.loads(cli(*call, "json").stdout)} == wanted
    rows = csv.DictReader(io.StringIO(cli(*call, "csv").stdout_bytes.decode(), newline=""))
    assert {row["text"] for row in rows} == wanted


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.sampled_from([*Format]))
def test_every_format_on_a_terminal(text, form):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stdout, stderr, found = (
        sys.stdout,
        sys.stderr,
        table([{text: text, "n": 1}], columns=(text, "n"), notes=(text,)),
    )
    sys.stdout, sys.stderr = Terminal(), Terminal()
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(_output, "terminal_width", lambda: 80)
            if form is Format.PARQUET:
                with pytest.raises(UsageError, match="not for a terminal"):
                    _output.Output(form=form).emit(found)
            else:
                _output.Output(form=form).emit(found)
        shown = sys.stdout.getvalue() + sys.stderr.getvalue()
    finally:
        sys.stdout, sys.stderr = stdout, stderr
    assert not CONTROL.findall(shown)


def test_a_bar_shows_no_control_character_of_a_name(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_TO_FIRST", 0.0)
    with progress.observing(True), progress.task("compute", EVIL, 3) as task:
        task.finish()
    assert SHOWN in capsys.readouterr().err


def test_csv_for_a_spreadsheet(cli, refusal, tmp_path):
    texts = {"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"}
    made = synthetic_store(tmp_path / "store", texts=["dog", *texts], n_blocks=0, top_form=None)
    call = ["neighbours", "dog", "--store", made.root, "--format", "csv"]
    plain, safe = (
        list(csv.DictReader(io.StringIO(cli(*call, *more).stdout_bytes.decode(), newline="")))
        for more in ((), ("--csv-safe",))
    )
    assert {row["text"] for row in plain} == texts
    assert safe == [row | {"text": f"'{row['text']}"} for row in plain], (
        "numbers, also below zero, stay as they are"
    )
    assert any(row["cosine"].startswith("-") for row in plain)
    assert "add --format csv" in refusal(*call[:-1], "json", "--csv-safe")
