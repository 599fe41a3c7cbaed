"""What the server refuses: everything that the page itself does not ask for."""

import json
import socket

import pytest


def test_the_page_opens_with_the_token_and_keeps_it_in_a_cookie(client):
    status, headers, _ = client.request("GET", f"/?token={client.token}", Cookie="")
    assert (status, headers["location"]) == (303, "/")
    assert "httponly" in headers["set-cookie"].lower()
    assert "samesite=lax" in headers["set-cookie"].lower()
    status, headers, body = client.request("GET", "/")
    assert status == 200
    assert body.startswith(b"<!DOCTYPE html>")
    assert client.token.encode() not in body


CLOSED = (
    "/",
    "/?token=",
    "/?token=wrong",
    "/?Token={token}",
    "/static/main.js",
    "/api/store",
    "/api/store?token=",
)
FOREIGN = (
    "evil.example:{port} 127.0.0.1 127.0.0.1:1 localhost.evil:{port} :{port}"
    f" 127.0.0.1:{{port}}:{{port}} 127.0.0.1:x 127.0.0.1:² 127.0.0.1:{5_000 * '9'}"
).split()
ORIGINS = ("http://evil.example", "null", "https://{host}", "http://localhost:1")
FILES = ("../app.py", "..%2fapp.py", "/etc/passwd", "..\\app.py", "main.js%00", "__init__.py")
# É in UTF-8.
ANSWERS = [
    *((403, path, {"Cookie": ""}) for path in CLOSED),
    *(
        (403, "/api/store", {"Cookie": f"{{name}}={token}"})
        for token in ("", "x" * 32, "Ã©", "a;b")
    ),
    *((421, "/", {"Host": host}) for host in FOREIGN),
    *(
        (200, "/", {"Host": host})
        for host in ("localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}")
    ),
    *((403, "/api/store", {"Origin": origin}) for origin in ORIGINS),
    *((403, "/", {"Origin": origin}) for origin in ORIGINS),
    (403, "/api/store?token={token}", {"Cookie": ""}),  # which opens the page alone
    (200, "/api/store", {"Origin": "http://{host}"}),
    (403, "/static/main.js", {"Sec_Fetch_Site": "cross-site"}),  # another page loads it
    (403, "/api/store", {"Sec_Fetch_Site": "same-site"}),
    (303, "/?token={token}", {"Sec_Fetch_Site": "cross-site"}),  # a link to it
    *((404, f"/static/{file}", {}) for file in FILES),
]


@pytest.mark.parametrize(
    "number", range(len(ANSWERS)), ids=[str(answer)[:80] for answer in ANSWERS]
)
def test_only_what_the_page_asks_for_with_its_token_is_answered(client, number):
    status, path, headers = ANSWERS[number]
    cookie, port = client.cookie.partition("=")[0], client.host.rpartition(":")[2]
    known = {"token": client.token, "name": cookie, "host": client.host, "port": port}
    sent = {name: value.format(**known) for name, value in headers.items()}
    found, answered, body = client.request("GET", path.format(**known), **sent)
    assert found == status
    assert "default-src 'none'" in answered["content-security-policy"]
    assert b"Open the URL" in body or "Cookie" not in headers
    assert b"root:" not in body


def test_two_hosts_are_refused(client):
    address, _, port = client.host.rpartition(":")
    with socket.create_connection((address, int(port)), 10) as connection:
        connection.sendall(
            f"GET / HTTP/1.1\r\nHost: {client.host}\r\nHost: evil.example\r\nCookie:"
            f" {client.cookie}\r\n\r\n".encode()
        )
        assert connection.recv(100).split()[1] == b"400"


def test_a_question_of_a_foreign_origin_is_refused(client):
    assert client.request("POST", "/api/sql", b"{}", Origin="http://evil.example")[0] == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(client, method):
    assert client.request(method, "/api/sql", b"{}")[0] == 405


def test_a_body_of_100_megabytes_is_refused_before_it_is_read(client):
    status, headers, body = client.request(
        "POST", "/api/sql", b"", Content_Length="100000000", Content_Type="application/json"
    )
    assert status == 413
    assert headers["connection"] == "close"
    assert b"2,000,000 bytes" in body


@pytest.mark.parametrize("length", ["²", 5_000 * "9", "-1", "1e3", ""], ids=lambda x: x[:5])
def test_a_length_that_is_no_number_is_refused(client, length):
    address, _, port = client.host.rpartition(":")
    with socket.create_connection((address, int(port)), 30) as connection:
        head = f"POST /api/sql HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\n"
        connection.sendall((head + f"Content-Length: {length}\r\n\r\n").encode("latin-1"))
        assert connection.recv(100).split()[1] == b"400"


def test_a_large_body_without_a_length_is_refused(client):
    address, _, port = client.host.rpartition(":")
    with socket.create_connection((address, int(port)), 30) as connection:
        head = f"POST /api/sql HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\n"
        kind = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall((head + kind).encode())
        chunk = b"%x\r\n%s\r\n" % (65_536, b"x" * 65_536)
        sent = 0
        try:
            for _ in range(1_600):
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:  # the server has closed it
            pass
        assert connection.recv(100).split()[1] == b"413"
    assert sent < 100_000_000


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "text/plain"),
        (b"not json", "application/json"),
        (b"[1]", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"\xff", "application/json"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(client, body, kind):
    status, _, answer = client.request("POST", "/api/sql", body, Content_Type=kind)
    assert status == 422
    assert "JSON" in json.loads(answer)["error"]


def test_unknown_arguments_are_refused(client):
    assert (
        "does not fit"
        in client.post("/api/sql", status=422, select="SELECT 1", file="/etc")["error"]
    )
    assert "does not fit" in client.post("/api/sql", status=422)["error"]
    assert (
        "unknown option"
        in client.post(
            "/api/metric", status=422, name="norms", options={"cache": True}, parameters={}
        )["error"]
    )


@pytest.mark.parametrize("name", ["metric", "cache", "self", "timeout", "where", "spaces", "zetta"])
def test_a_parameter_that_a_metric_does_not_have_is_refused(client, name):
    error = client.post(
        "/api/metric", status=422, name="isoscore", options={}, parameters={name: 1}
    )["error"]
    assert error.startswith(f"unknown parameter of isoscore {name!r}.")
    assert "zeta" in error


def test_every_answer_has_the_security_headers(client):
    for path in (
        "/",
        "/static/main.js",
        "/static/none.js",
        "/api/store",
        "/api/map?space=nowhere",
        "/nowhere",
    ):
        headers = client.request("GET", path)[1]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers


def test_refusals_are_reported_without_the_token(client):
    client.reports.clear()
    client.request("GET", f"/static/main.js?token={client.token}", Cookie="")
    [line] = client.reports
    assert line.startswith("refused GET /static/main.js: the token is missing or wrong.")
    assert client.token not in line
