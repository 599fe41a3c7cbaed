"""Read and write the objects of a bucket below a URL; alone imports obstore.

What is read from a server may be lost on the way, and so may the reply to what was written.
Requests are tried again by obstore. A commit is one object that must not be replaced: see
:meth:`Bucket.put_new`.
"""

import os
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from embstore.base import disk
from embstore.base.errors import (
    DamagedError,
    MissingObjectError,
    RemoteError,
    StoreError,
    UsageError,
)
from embstore.base.installation import needing
from embstore.storage import keys
from embstore.storage.objects import ObjectInfo, Objects, back_off

_PREFIXES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
"""Beginning of the environment variables that obstore reads, by scheme."""
SCHEMES = tuple(_PREFIXES)

_CLIENT_OPTIONS = (
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "http1_only",
    "http2_only",
    "pool_idle_timeout",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "timeout",
    "user_agent",
)
RETRIES = {"max_retries": 7}  # of a timeout or an error of the server; some two seconds
TIMEOUT = timedelta(minutes=5)  # of a whole file
_N_UPLOADS = 8
_N_TRIES = 3  # of a list request whose reply was cut
_N_CONFLICTS = 8  # attempts, in some seconds, to create what a rival creates
_CHUNK_BYTES = 1 << 20
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_LOOPBACK = r"http://(localhost|127(\.\d+){3}|\[::1\])(:\d+)?(/|$)"
_IS_SECRET = r"(?i)key|secret|token|sas|password"  # name of an option or variable
_SECRET_CHARS = 8  # shorter values, such as true, are no secrets
_TRUE = ("1", "true", "on", "yes", "y")
_IS_REFUSED = r"status code: 40[13]\b"
_IS_NO_BUCKET = r"NoSuchBucket|ContainerNotFound"
_BYTES = r"\[\d+(?:, ?\d+)+\]"  # as an error names the line of a private key that cannot be read
_NO_SERVER = "ConnectionRefused"  # as no server listens at the address
_IS_CUT = r"list response"  # reply to a list request that cannot be read
_FROM_SERVER = r"<(Code|Message)>([^<]*)</"

Retries = Mapping[str, int]


class ServedObjects(Objects):
    """The objects below a URL that obstore can read.

    Args:
        url: URL, as messages name it.
        open_store: Function that returns the store of obstore, given its classes and how requests
            are tried again.
        secret_values: Values that no message may have.
    """

    def __init__(
        self, url: str, open_store: Callable[[Any, Retries], Any], secret_values: Iterable[str] = ()
    ) -> None:
        with needing("stores at URLs need obstore", "remote", RemoteError):
            import obstore
        self.url, self._obstore, self._secrets = url, obstore, [*secret_values]
        try:
            self._open(open_store)
        except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
            raise UsageError(
                f"{self.url} cannot be opened: {self._first_line(error)} Check its options."
            ) from None

    def _open(self, open_store: Callable[[Any, Retries], Any]) -> None:
        """Open the store of obstore twice: for requests that are tried again, and for first tries,
        after which an address without a server is given up.
        """
        self._store = open_store(self._obstore.store, RETRIES)
        self._first_try = open_store(self._obstore.store, {"max_retries": 0})

    def get(self, key: str, max_bytes: int | None = None) -> bytes:
        """Return the content of an object."""
        with self._errors("read", key):
            try:
                return self._content(self._first_try, key, max_bytes)
            except self._obstore.exceptions.GenericError as error:
                if _NO_SERVER in str(error):
                    raise
                return self._content(self._store, key, max_bytes)

    def _content(self, store: Any, key: str, max_bytes: int | None) -> bytes:
        """Return the content of an object in one of the two stores of obstore."""
        reply = self._obstore.get(store, key)
        if max_bytes is not None and reply.meta["size"] > max_bytes:
            raise DamagedError(
                f"{self.url}/{key} is damaged: it is larger than {max_bytes >> 10:,} KiB."
            )
        return bytes(reply.bytes())

    def download(self, key: str, target: Path) -> None:
        """Write the content of an object to a file."""
        with disk.writing(target) as file:
            chunks = self._chunks(key)
            for chunk in chunks:
                file.write(chunk)

    def _chunks(self, key: str) -> Iterator[Any]:
        """Yield the content of an object in parts."""
        with self._errors("read", key):
            yield from self._obstore.get(self._store, key).stream(min_chunk_size=_CHUNK_BYTES)

    @contextmanager
    def _errors(self, done: str, key: str) -> Iterator[None]:
        """Raise the errors of obstore within the context as embstore's, without credentials."""
        exceptions = self._obstore.exceptions
        try:
            yield
        except (exceptions.BaseError, OSError) as error:
            if re.search(_IS_NO_BUCKET, str(error)):
                raise RemoteError(
                    f"{self.url}: there is no such bucket. Create it first, or check the URL and"
                    " the endpoint."
                ) from None
            if isinstance(error, FileNotFoundError):
                raise MissingObjectError(
                    f"{self.url}/{key} does not exist. Check the URL."
                ) from None
            refused = (
                exceptions.PermissionDeniedError,
                exceptions.UnauthenticatedError,
                PermissionError,
            )
            if isinstance(error, refused) or re.search(_IS_REFUSED, str(error)):
                raise RemoteError(
                    f"{self.url} cannot be {done}: the server refuses ({self._reason(error)})."
                    " Check the credentials and their permissions for the bucket."
                ) from None
            raise RemoteError(
                f"{self.url}/{key} cannot be {done}: {self._reason(error)}. Check the network and"
                " the endpoint, and run the same command again."
            ) from None

    def _reason(self, error: Exception) -> str:
        """Return the server's own code and message if it gave any, else the first line of the
        error.
        """
        parts = {
            name: text.partition("\n")[0] for name, text in re.findall(_FROM_SERVER, str(error))
        }
        text = ": ".join(parts[name] for name in ("Code", "Message") if parts.get(name))
        return (
            self._without_secrets(text).rstrip(".") if text else self._first_line(error).rstrip(".")
        )

    def _first_line(self, error: Exception) -> str:
        return self._without_secrets(str(error).partition("\n")[0])

    def _without_secrets(self, text: str) -> str:
        """Return a message without secret values, queries of URLs, and bytes of keys."""
        for value in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(value, "…")
        text = re.sub(_BYTES, "[…]", text)
        return re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", text)


class Bucket(ServedObjects):
    """The objects below a URL ``s3://bucket/prefix``, ``gs://…`` or ``az://…``."""

    def __init__(self, url: str, options: Mapping[str, str] | None = None) -> None:
        url, self._options = check_url(url), dict(options or {})
        self.endpoint = self._options.get("endpoint", "")
        config, client = _configuration(url, self._options)
        credentials = _credentials(url, config)
        super().__init__(
            url,
            lambda store, retries: store.from_url(
                url,
                config=config or None,
                client_options=client,
                retry_config=retries,
                credential_provider=credentials,
            ),
            _secret_values(url, self._options),
        )

    def __reduce__(self) -> tuple[type["Bucket"], tuple[str, dict[str, str]]]:
        return Bucket, (self.url, self._options)

    def newest_manifest(self) -> ObjectInfo | None:
        """Return the manifest of the highest number."""
        manifests = (info for info in self.list(keys.MANIFESTS.folder) if keys.parse(info.key))
        return max(manifests, default=None, key=lambda info: info.key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below a folder, by ascending key; a reply that was cut is requested
        again, after the last object that was read, and so is a first one that failed.
        """
        last, n_failed = None, 0
        with self._errors("listed", prefix):
            while True:
                store = self._store if n_failed or last else self._first_try
                try:
                    for chunk in self._obstore.list(store, prefix, offset=last):
                        yield from map(_info, chunk)
                        last, n_failed = chunk[-1]["path"], 0
                    return
                except self._obstore.exceptions.GenericError as error:
                    n_failed += 1
                    is_cut = re.search(_IS_CUT, str(error))
                    if _NO_SERVER in str(error) or n_failed == _N_TRIES:
                        raise
                    if store is self._store and not is_cut:
                        raise
                    back_off(n_failed)

    def put(self, sources: Mapping[str, Path]) -> None:
        """Store the content of some files, several at the same time."""
        with ThreadPoolExecutor(_N_UPLOADS, "embstore-upload") as pool:
            for _ in pool.map(self._put, sources.keys(), sources.values()):
                pass

    def _put(self, key: str, source: Path) -> None:
        """Store the content of a file, and check that all of it came."""
        size = os.path.getsize(source)
        with self._errors("written", key):
            self._obstore.put(self._store, key, source)
            stored = self._obstore.head(self._store, key)["size"]
        if stored != size:
            raise RemoteError(
                f"{self.url}/{key} was cut on its way: {stored:,} of {size:,} bytes. Run the same"
                " again."
            )

    def put_new(self, key: str, data: bytes) -> bool:
        """Create an object that must not be replaced, in one request; return False if there is
        another of this key.

        The server's answer is not trusted: "it exists" may be about the own request, whose first
        reply was lost. So after any error the object is read back, and counts as written only if it
        has exactly these bytes. If it is said to exist and does not, a rival is creating it, as S3
        says by ConditionalRequestConflict: it is tried again.
        """
        conflict = self._obstore.exceptions.AlreadyExistsError
        for n_failed in range(1, _N_CONFLICTS + 1):
            try:
                with self._errors("written", key):
                    self._obstore.put(self._store, key, data, mode="create", use_multipart=False)
                return True
            except RemoteError as error:
                failure = error
            with suppress(MissingObjectError):
                return self.get(key) == data
            if not isinstance(failure.__context__, conflict):
                break
            back_off(n_failed)
        raise failure

    def replace(self, key: str, data: bytes) -> None:
        """Write an object, in place of another one of this key."""
        with self._errors("written", key):
            self._obstore.put(self._store, key, data, use_multipart=False)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; missing ones do not matter, which Google and Azure take for an error."""
        names = [*keys]
        if not names:
            return
        try:
            with self._errors("deleted", names[0]):
                self._obstore.delete(self._store, names)
        except MissingObjectError:
            for key in names:
                with suppress(MissingObjectError), self._errors("deleted", key):
                    self._obstore.delete(self._store, key)

    def check_writable(self) -> None:
        """Raise StoreError unless the server refuses to replace an object that must be new."""
        key = f"{keys.MANIFESTS.folder}/probe-{secrets.token_hex(16)}"
        try:
            self.put_new(key, b"first")
            if self.put_new(key, b"second") or self.get(key) != b"first":
                raise StoreError(
                    f"{self.url} cannot be written safely: its server replaces objects where it is"
                    " told not to (it ignores If-None-Match: *), so two writers could overwrite"
                    " each other's changes. Use a server that has conditional writes, or build in"
                    " a folder and copy it."
                )
        finally:
            with suppress(RemoteError):
                self.delete([key])


_NO_BUCKET = (
    "is no URL of a bucket, such as s3://bucket/prefix, gs://bucket/prefix or"
    " az://container/prefix. Stores that were pushed are read at hf://datasets/OWNER/NAME and"
    " https:// too. Credentials come from the environment or from options, never from the"
    " URL."
)


def check_url(url: str, schemes: Collection[str] = SCHEMES, problem: str = _NO_BUCKET) -> str:
    """Return the URL of a store, which has no user and no query, without a slash at its end."""
    match = re.fullmatch(r"([a-z0-9]+)://([^/@?#]+)((?:/[^?#]*)?)", url)
    if match is None or match[1] not in schemes:
        shown = re.sub(r"//[^/]*@|\?.*", "//…@" if "@" in url else "", url)
        raise UsageError(f"{shown} {problem}")
    return url.rstrip("/")


def is_loopback(address: str) -> bool:
    """Return whether an address without encryption is of this machine."""
    return re.match(_LOOPBACK, address) is not None


def _info(entry: Mapping[str, Any]) -> ObjectInfo:
    return ObjectInfo(entry["path"], entry["size"], entry["last_modified"], entry["e_tag"] or "")


def _configuration(url: str, options: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the options of the bucket, and those of the client, from those that a user gives and
    the environment.
    """
    config = dict(options)
    client: dict[str, Any] = {"timeout": TIMEOUT}
    for name in _CLIENT_OPTIONS:  # obstore reads those of the environment only if none are given
        variable = f"{_PREFIXES[url.partition(':')[0]]}{name.upper()}"
        if value := config.pop(name, None) or os.environ.get(variable):
            client[name] = value
    of_environment = [
        name for name in _ENDPOINTS if url.startswith("s3://") and os.environ.get(name)
    ]
    endpoint = options.get("endpoint") or os.environ.get((of_environment or [""])[0], "")
    if endpoint.startswith("http://") and str(client.get("allow_http")).lower() not in _TRUE:
        if "endpoint" not in options and not is_loopback(endpoint):  # a call did not name it
            raise UsageError(
                f"{of_environment[0]} is {endpoint}, which is not encrypted. Set it to https://, or"
                " allow http: set AWS_ALLOW_HTTP=true, or add options='allow_http=true'."
            )
        client["allow_http"] = "true"
    return config, client


def _secret_values(url: str, options: Mapping[str, str]) -> list[str]:
    """Return the values of credentials in the options of a bucket and in the environment."""
    prefix = _PREFIXES[url.partition(":")[0]]
    variables = {name: value for name, value in os.environ.items() if name.startswith(prefix)}
    return [
        value
        for name, value in [*options.items(), *variables.items()]
        if re.search(_IS_SECRET, name) and len(value) >= _SECRET_CHARS
    ]


def _credentials(url: str, options: Mapping[str, str]) -> Any:
    """Return boto3's credentials, which include profiles and single sign-on, if it is installed and
    none are given.

    obstore itself reads the environment and asks the metadata services of clouds.
    """
    configured = {*options, *(name.lower().removeprefix("aws_") for name in os.environ)}
    if not url.startswith("s3://") or configured & {
        "access_key_id",
        "aws_access_key_id",
        "skip_signature",
    }:
        return None
    try:
        import boto3
    except ImportError:
        return None
    if boto3.Session().get_credentials() is None:
        return None
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider()
