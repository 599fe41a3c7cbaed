"""Small files with every trap of the published datasets' files, and a server that gives them."""

import csv
import hashlib
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO

import numpy as np
from local_server import LocalHandler, LocalServer
from wordfreq import top_n_list

from embstore.sources.datasets import DATASETS
from embstore.sources.source import DataFile

# Trailing blanks, words that look like missing values, no final newline.
RG65 = b"cord;smile;0.02  \nnull;nan;3.5 \nNA;None;1.25"
# Capitals, a word with itself, a pair that stands twice.
WORDSIM = b"FBI;investigation;8.31\ntiger;tiger;10.00\nmoney;bank;8.12\nmoney;bank;8.50"
SIMLEX = b"old;new;1.58\nsly;strange;1.97\nsly;strange;2.07\ncord;old;0.5"
SIMVERB = b"take\tremove\tV\t6.81\tSYNONYMS\nprotest\trelease\tV\t1.16\tNONE\n"
# Quotes that are text: the first opens a value and closes two lines later. Commas, more fields,
# U+2028, no ASCII.
STSB_LINES = (
    "main-news\tMSRpar\t2012test\t0001\t3.750\tHe said, \"Go home.\"\tHe went, then.",
    "main-news\tMSRpar\t2012test\t0002\t1.0\t\"It works,\" he said.\tIt, works.",
    "main-captions\timages\t2014\t0003\t5\tA dog.\tA caf\u00e9\u2028dog.",
    "main-forums\tanswer-answer\t2016\t0004\t0.00\tPlain \"text\", here.\tNothing\tsource.one\tsource.two",
    'main-news\tMSRpar\t2013\t0005\t2.5\tA plain start,"\tAnd end.',
)  # fmt: skip
STSB = "".join(f"{line}\n" for line in STSB_LINES).encode()
BELLEZZA = (
    b"word,male_pleasantness,female_pleasantness,combined_pleasantness,male_frequency,female_frequency,"
    b"combined_frequency\r\nabuse,1.62,1.44,1.53,2.69,3.26,3\r\nworld,3.97,4.08,4.03,3.79,3.91,3.86\r\n"
)
MEN = b",word1,word2,similarity\n0,sun-n,sunlight-n,50.000000\n1,feel-v,happy-j,40.000000\n"
RW = b",word1,word2,similarity\n0,up-to-date,new,5.88\n1,null,squirt,0\n"

FILES = {
    "rg65": RG65, "wordsim353": WORDSIM, "simlex999": SIMLEX, "simverb3500": SIMVERB, "stsb": STSB,
    "stsb-wolfe2022": STSB, "bellezza": BELLEZZA, "men": MEN, "rw": RW, "mturk771": RW,
}  # fmt: skip


def made_stsb():
    """Make a file like that of STS-B, of frequent words: beside each sentence one that has a share
    of its words, which the score tells. A tenth of the sentences stand twice.
    """
    rng = np.random.default_rng(0)
    ranks = np.arange(1, 2001)
    vocabulary, chances = np.array(top_n_list("en", len(ranks))), 1 / ranks / (1 / ranks).sum()
    lines = []
    for n in range(1379):
        if n % 10 != 1:
            words = rng.choice(vocabulary, rng.integers(7, 16), p=chances)
        share = rng.random()
        others = rng.choice(vocabulary, len(words), p=chances)
        one = [" ".join(words[:4]), " ".join(words[4:])]
        other = " ".join(np.where(rng.random(len(words)) < share, words, others))
        # For a reader of commas the first quote opens a value, which ends two lines later.
        other += {0: '," he said.', 2: ' "so".\tsource'}.get(n % 25, "!")
        texts = f"{', '.join(one) if len(words) % 2 else ' '.join(one)}.\t{other}"
        lines.append(f"main-news\tMSRpar\t2012\t{n}\t{5 * share:.3f}\t{texts}\n")
    return "".join(lines).encode()


def authors_reading(data):
    """Read STS-B by the lines of ``sentence_evaluations.py``, on an open file."""
    pairs = ["".join(values) for values in csv.reader(StringIO(data.decode(), newline=""))]
    return [(fields[5], fields[6]) for fields in (pair.split("\t") for pair in pairs)]


def look_alike(monkeypatch, name, data=None, address=""):
    """Put a small file in the place of a dataset's, in the table alone; at the address of a server,
    if one is given.
    """
    spec = DATASETS[name]
    content = spec.content
    assert isinstance(content, DataFile)
    data = FILES[name] if data is None else data
    here = f"{address}/{content.name}" if address else content.address
    changed = replace(
        spec, content=replace(content, sha256=hashlib.sha256(data).hexdigest(), address=here)
    )
    monkeypatch.setitem(DATASETS, name, changed)
    return changed


def put(folder, monkeypatch, name, data=None):
    """Put a look-alike in the place of a dataset's file, and at hand."""
    spec = look_alike(monkeypatch, name, data)
    assert isinstance(spec.content, DataFile)
    folder.mkdir(exist_ok=True)
    (folder / spec.content.name).write_bytes(FILES[name] if data is None else data)
    return spec


def put_wolfe2022(folder, monkeypatch):
    """Put look-alikes in the place of all files of the reproduction of Wolfe & Caliskan (2022)."""
    for name in ("rg65", "wordsim353", "simlex999", "simverb3500", "bellezza"):
        put(folder, monkeypatch, name)
    for name in ("stsb", "stsb-wolfe2022"):
        put(folder, monkeypatch, name, made_stsb())


class Server(LocalServer):
    """Gives files, and counts the requests.

    Attributes:
        files: by name; what is not there is not found.
        missing_bytes: bytes that are announced and never sent.
        requested: the names that were asked for.
    """

    def __init__(self):
        super().__init__(_Handler)
        self.files = {}
        self.missing_bytes = 0
        self.requested = []


class _Handler(LocalHandler):
    protocol_version = "HTTP/1.0"  # closes the connection, which the missing bytes need

    def answer(self):
        name = self.path.removeprefix("/")
        self.server.requested.append(name)
        if (data := self.server.files.get(name)) is None:
            return self.reply(404, b"")
        return self.reply(200, data, {"Content-Length": str(len(data) + self.server.missing_bytes)})


@contextmanager
def serving(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        yield server
