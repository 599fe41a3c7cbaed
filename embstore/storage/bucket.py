"""Read and write the objects of a bucket below a URL; alone imports obstore.

What is read from a server may be lost on the way, and so may the reply to what was written. Reads are tried again by
obstore. A commit is one object that must not be replaced: see :meth:`ObjectStore.put_new`.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from embstore.base.errors import MissingObjectError, RemoteError, UsageError
from embstore.base.installation import needing
from embstore.base.supply import Range

SCHEMES = ("s3", "gs", "az")

_CLIENT_OPTIONS = (
    "allow_http", "allow_invalid_certificates", "connect_timeout", "http1_only", "http2_only", "pool_idle_timeout",
    "proxy_ca_certificate", "proxy_excludes", "proxy_url", "timeout", "user_agent",
)  # fmt: skip
_RETRIES = {"max_retries": 7, "retry_timeout": timedelta(seconds=60)}  # some two seconds of an address without a server
_PATIENT = {
    "max_retries": 100, "retry_timeout": timedelta(seconds=30), "backoff": {"max_backoff": timedelta(seconds=3)},
}  # fmt: skip
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_LOOPBACK = r"http://(localhost|127(\.\d+){3}|\[::1\])(:\d+)?(/|$)"
_IS_SECRET = r"(?i)key|secret|token|sas|signature|password|credential"
_IS_REFUSED = r"status code: 40[13]\b"
_IS_NO_BUCKET = r"NoSuchBucket|ContainerNotFound"
_BYTES = r"\[\d+(?:, ?\d+)+\]"  # as an error names the line of a private key that cannot be read
_FROM_SERVER = r"<(Code|Message)>([^<]*)</"


class ObjectInfo(NamedTuple):
    """An object of a bucket."""

    key: str
    size: int
    modified: datetime
    tag: str


class ObjectReader(ABC):
    """What a store that is only read needs of a bucket, a dataset repository or a web server."""

    url: str

    @property
    def has_ranges(self) -> bool:
        """Whether parts of objects can be read; else whole objects are."""
        return True

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Return the content of an object."""

    def get_range(self, key: str, part: Range) -> bytes:
        """Return a part of an object, of exactly the requested size."""
        start, end = part
        data = self._get_range(key, start, end)
        if len(data) != end - start:
            raise RemoteError(
                f"{self.url}/{key} is shorter than its manifest says: {len(data):,} of {end - start:,} bytes at "
                f"{start:,}. It was changed meanwhile, or is damaged. Run: ⦃embstore verify⦄"
            )
        return data

    @abstractmethod
    def _get_range(self, key: str, start: int, end: int) -> bytes:
        """Return a part of an object; less where the object is shorter."""


class ObjectStore(ObjectReader):
    """The objects below a URL ``s3://bucket/prefix``, ``gs://…`` or ``az://…``."""

    def __init__(self, url: str, options: Mapping[str, str] | None = None, *, is_patient: bool = False) -> None:
        with needing("stores at URLs need obstore", "remote", RemoteError):
            import obstore
        self._obstore = obstore
        self.url = check_url(url)
        options = dict(options or {})
        self._secrets = [value for name, value in options.items() if re.search(_IS_SECRET, name) and value]
        of_environment = [name for name in _ENDPOINTS if self.url.startswith("s3://") and os.environ.get(name)]
        endpoint = options.get("endpoint") or os.environ.get((of_environment or [""])[0], "")
        if endpoint.startswith("http://") and not (options.get("allow_http") or os.environ.get("AWS_ALLOW_HTTP")):
            if "endpoint" not in options and not re.match(_LOOPBACK, endpoint):  # a call did not name it
                raise UsageError(
                    f"{of_environment[0]} is {endpoint}, which is not encrypted. Set it to https://, or allow http: "
                    "set AWS_ALLOW_HTTP=true, or add ⦃store-option=allow_http=true⦄."
                )
            options["allow_http"] = "true"
        client = {name: options.pop(name) for name in _CLIENT_OPTIONS if name in options}
        try:
            self._store = obstore.store.from_url(
                self.url, config=options or None, client_options=client or None,
                retry_config=_PATIENT if is_patient else _RETRIES,
                credential_provider=_credentials(self.url, options),
            )  # fmt: skip
        except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
            raise UsageError(f"{self.url} cannot be opened: {self._first_line(error)} Check ⦃store-option⦄.") from None

    def get(self, key: str) -> bytes:
        """Return the content of an object."""
        with self._errors("read", key):
            return bytes(self._obstore.get(self._store, key).bytes())

    def _get_range(self, key: str, start: int, end: int) -> bytes:
        with self._errors("read", key):
            return bytes(self._obstore.get_range(self._store, key, start=start, end=end))

    def head(self, key: str) -> ObjectInfo:
        """Return size and time of an object."""
        with self._errors("read", key):
            return _info(self._obstore.head(self._store, key))

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects below a folder, by ascending key."""
        with self._errors("listed", prefix):
            for chunk in self._obstore.list(self._store, prefix or None, offset=after or None):
                yield from (info for info in map(_info, chunk) if info.key > after)  # Azure lists the earlier ones too

    def put(self, key: str, content: bytes | Path) -> None:
        """Write an object whose key has a hash of its content, so that it does not matter who wrote it."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        with self._errors("written", key):
            self._obstore.put(self._store, key, content)
        if (stored := self.head(key).size) != size:
            raise RemoteError(f"{self.url}/{key} was cut on its way: {stored:,} of {size:,} bytes. Run the same again.")

    def put_new(self, key: str, data: bytes) -> bool:
        """Create an object that must not be replaced, in one request; return False if there is another of this key.

        The server's answer is not trusted: "it exists" may be about the own request, whose first reply was lost. So
        after any error the object is read back, and counts as written only if it has exactly these bytes.
        """
        try:
            with self._errors("written", key):
                self._obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except RemoteError as error:
            try:
                return self.get(key) == data
            except MissingObjectError:
                raise error from None
        return True

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; missing ones do not matter, which Google and Azure take for an error."""
        if not keys:
            return
        try:
            with self._errors("deleted", keys[0]):
                self._obstore.delete(self._store, list(keys))
        except MissingObjectError:
            for key in keys:
                with suppress(MissingObjectError), self._errors("deleted", key):
                    self._obstore.delete(self._store, key)

    @contextmanager
    def _errors(self, done: str, key: str) -> Iterator[None]:
        """Raise the errors of obstore within the context as embstore's, without credentials."""
        exceptions = self._obstore.exceptions
        try:
            yield
        except (exceptions.BaseError, OSError) as error:
            if re.search(_IS_NO_BUCKET, str(error)):
                raise RemoteError(
                    f"{self.url}: there is no such bucket. Create it first, or check the URL and the endpoint."
                ) from None
            if isinstance(error, FileNotFoundError):
                raise MissingObjectError(f"{self.url}/{key} does not exist. Check the URL.") from None
            refused = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError)
            if isinstance(error, refused) or re.search(_IS_REFUSED, str(error)):
                raise RemoteError(
                    f"{self.url} cannot be {done}: the server refuses ({self._reason(error)}). Check the credentials "
                    "and their permissions for the bucket."
                ) from None
            raise RemoteError(
                f"{self.url}/{key} cannot be {done}: {self._reason(error)}. Check the network and the endpoint, and "
                "run the same command again."
            ) from None

    def _reason(self, error: Exception) -> str:
        """Return the server's own code and message if it gave any, else the first line of the error."""
        given = {name: text.partition("\n")[0] for name, text in re.findall(_FROM_SERVER, str(error))}
        text = ": ".join(given[name] for name in ("Code", "Message") if given.get(name))
        return self._without_secrets(text).rstrip(".") if text else self._first_line(error).rstrip(".")

    def _first_line(self, error: Exception) -> str:
        return self._without_secrets(str(error).partition("\n")[0])

    def _without_secrets(self, text: str) -> str:
        """Return a message without the values of secret options and variables, queries of URLs, and bytes of keys."""
        of_environment = [value for name, value in os.environ.items() if re.search(_IS_SECRET, name) and len(value) > 3]
        for value in sorted({*self._secrets, *of_environment}, key=len, reverse=True):
            text = text.replace(value, "…")
        text = re.sub(_BYTES, "[…]", text)
        return re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", text)


_NO_BUCKET = (
    "is no URL of a bucket, such as s3://bucket/prefix, gs://bucket/prefix or az://container/prefix. Stores that were "
    "pushed are read at hf://datasets/OWNER/NAME and https:// too. Credentials come from the environment or from "
    "⦃store-option⦄, never from the URL."
)


def check_url(url: str, schemes: Collection[str] = SCHEMES, problem: str = _NO_BUCKET) -> str:
    """Return the URL of a store, which has no user and no query, without a slash at its end."""
    match = re.fullmatch(r"([a-z0-9]+)://([^/@?#]+)((?:/[^?#]*)?)", url)
    if match is None or match[1] not in schemes:
        shown = re.sub(r"//[^/]*@|\?.*", "//…@" if "@" in url else "", url)
        raise UsageError(f"{shown} {problem}")
    return url.rstrip("/")


def _info(found: Mapping[str, Any]) -> ObjectInfo:
    return ObjectInfo(found["path"], found["size"], found["last_modified"], found["e_tag"] or "")


def _credentials(url: str, options: Mapping[str, str]) -> Any:
    """Return boto3's credentials, which include profiles and single sign-on, if it is installed and none are given.

    obstore itself reads the environment and asks the metadata services of clouds.
    """
    given = {*options, *(name.lower().removeprefix("aws_") for name in os.environ)}
    if not url.startswith("s3://") or given & {"access_key_id", "aws_access_key_id", "skip_signature"}:
        return None
    try:
        import boto3
    except ImportError:
        return None
    if boto3.Session().get_credentials() is None:
        return None
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider()
