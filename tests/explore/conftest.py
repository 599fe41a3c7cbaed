"""A small store, and an explorer of it."""

import http.client
import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache

import pytest
from datasets_written import write_lexicon, write_pairs
from explorer_page import CHROMIUM, Visit, launch
from hanging import HUNG_SECONDS
from synthetic import synthetic_store

pytest.importorskip("starlette", reason="the explorer needs starlette (extra explore)")
pytest.importorskip("uvicorn", reason="the explorer needs uvicorn (extra explore)")

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\x1b[31mred\x1b[0m",
    "\u202eevil",
    "a\nb",
    "'; DROP",
    '"quoted" & <b>bold</b>',
)
WORDS = ("dog", "dogs", "cat", "cats", "doge", *HOSTILE, *(f"word{i:02d}" for i in range(50)))
SENTENCES = ("the bank of the river", "the bank lends <b>money</b>", "a river of money")


@pytest.fixture(scope="session")
def explored(tmp_path_factory):
    """A store of words, occurrences and sentences with datasets of pairs and of valence; nothing
    may change it.
    """
    root = tmp_path_factory.mktemp("explored") / "<b>store"
    synthetic_store(root, texts=SENTENCES, unit="occurrence", n_blocks=2)
    synthetic_store(root, texts=SENTENCES, unit="sentence", pooling="mean", n_blocks=2)
    made = synthetic_store(root, texts=WORDS, n_blocks=3)
    write_pairs(made, "pairs", texts=[*WORDS, "nowhere"])
    write_lexicon(made, list(WORDS[:20]))
    return made


@dataclass
class Client:
    """A client without a browser. It sends exactly the headers that it is given.

    Attributes:
        url: Address of the page with its token.
        reports: What the server reported.
    """

    url: str
    reports: list[str] = field(default_factory=list)
    cookie: str = ""

    @property
    def host(self):
        return self.url.split("/")[2]

    @property
    def token(self):
        return self.url.partition("token=")[2]

    def request(self, method, path, body=None, **headers):
        """Return status, headers and body of the answer; a header given as an empty string is not
        sent.
        """
        sent = {"Host": self.host, "Cookie": self.cookie} | {
            name.replace("_", "-"): v for name, v in headers.items()
        }
        address, _, port = self.host.rpartition(":")
        connection = http.client.HTTPConnection(address, int(port), timeout=HUNG_SECONDS)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        if body is not None:
            sent.setdefault("Content-Length", str(len(body)))
        for name, value in sent.items():
            if value:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        try:
            return (
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read(),
            )
        finally:
            connection.close()

    def enter(self):
        """Open the page, and keep its cookie."""
        status, headers, _ = self.request("GET", f"/?token={self.token}")
        assert status == 303
        self.cookie = headers["set-cookie"].partition(";")[0]
        return self

    def get(self, path):
        status, _, body = self.request("GET", path)
        assert status == 200, body
        return json.loads(body)

    def post(self, path, *, status=200, **body):
        found, _, answer = self.request(
            "POST", path, json.dumps(body).encode(), Content_Type="application/json"
        )
        assert found == status, answer
        return json.loads(answer)


@pytest.fixture(scope="session")
def browser():
    """Chromium; playwright runs once in a process, so that all tests of pages share it."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="the browser is driven by playwright (extra dev)"
    )
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@contextmanager
def _visited(*arguments, **options):
    visit = Visit(*arguments, **options)
    yield visit
    visit.close()
    assert visit.problems == []


@pytest.fixture
def visit(browser, client):
    """A visit to the page; in the end nothing may have gone wrong there."""
    with _visited(browser, client.url) as visit:
        yield visit


@pytest.fixture(scope="session")
def address_of(serve):
    """Start an explorer of a store, one of each, and return its address."""
    return cache(lambda root: serve(root).url)


@pytest.fixture
def opened(browser, address_of, tmp_path):
    """Open pages of stores; in the end nothing may have gone wrong there but what is expected.

    The pages are closed before ``tmp_path`` is deleted, from which they may read.
    """
    with ExitStack() as visits:

        def open_page(made, *size, expected="", **state):
            visit = visits.enter_context(
                _visited(browser, address_of(made.root), expected=expected)
            )
            return visit.open(*size, **state)

        yield open_page


@pytest.fixture(scope="session")
def serve():
    """Start explorers of stores; they end with the tests."""
    from embstore import Store

    servers = []

    def start(root):
        reports = []
        server = Store(root).explore(port=0, report=reports.append)
        servers.append(server)
        return Client(server.url, reports)

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def client(explored, serve):
    """A client of an explorer, with its cookie."""
    return serve(explored.root).enter()


@pytest.fixture
def patient(explored, serve, monkeypatch):
    """A client, with its cookie, of an explorer whose SQL has no limit of time: it ends only if it
    is cancelled.
    """
    from embstore.explore import workers

    patience = (
        'from embstore.explore import items; object.__setattr__(items.SQL_LIMITS, "timeout", 1e6)'
    )
    program = workers._PROGRAM.replace(
        "from embstore.explore.workers", f"{patience}; from embstore.explore.workers"
    )
    assert program != workers._PROGRAM
    monkeypatch.setattr(workers, "_PROGRAM", program)
    return serve(explored.root).enter()


@pytest.fixture
def patient_visit(browser, patient):
    """A visit to the page of such an explorer; in the end nothing may have gone wrong there."""
    with _visited(browser, patient.url) as visit:
        yield visit
