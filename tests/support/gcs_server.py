"""Google's XML interface before a server of S3's, as far as a store in ``gs://`` needs it.

The two are alike but for credentials, the condition of a write, and the reply to the deletion of
what does not exist. This is no server of Google's: it shows what obstore sends for it, and that all
else works on such replies.
"""

import http.client
import json
import secrets
from urllib.parse import quote, unquote

from buckets import KEY
from local_server import LocalHandler, LocalServer
from object_servers import host_and_port, new_bucket

TOKEN = "ya29.example-of-a-token"
_AUTHORIZATION = (  # moto checks no more
    f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request"
)
_CONDITION = "x-goog-if-generation-match"
_PASSED = ("etag", "last-modified", "content-range", "content-type")


class GoogleServer(LocalServer):
    """A server whose buckets are those of a server of S3's interface.

    Attributes:
        n_conditional: number of the requests that must not replace an object.
    """

    def __init__(self, endpoint):
        super().__init__(_Passing)
        self.upstream, self.n_conditional = endpoint, 0

    def new_url(self):
        """Return the URL of a store in a new bucket."""
        return f"gs://{new_bucket(self.upstream).name}/some/prefix"

    @property
    def options(self):
        """Options of a client: a service account that names the server in the place of Google's."""
        key = {
            "gcs_base_url": self.url,
            "disable_oauth": True,
            "client_email": "",
            "private_key": TOKEN,
            "private_key_id": "",
        }
        return {"service_account_key": json.dumps(key), "allow_http": "true"}


class _Passing(LocalHandler):
    disable_nagle_algorithm = True

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {
            name: self.headers[name] for name in ("range", "content-type") if name in self.headers
        }
        if self.headers.get(_CONDITION) == "0":
            self.server.n_conditional += 1
            headers["if-none-match"] = "*"
        is_missing = self.command == "DELETE" and self._ask("HEAD", b"", {})[0] == 404
        status, found, data = self._ask(self.command, body, headers)
        passed = {name: found[name] for name in _PASSED if name in found}
        size = found["content-length"] if self.command == "HEAD" else str(len(data))
        passed |= {"x-goog-generation": str(secrets.randbits(40)), "Content-Length": size}
        self.reply(404 if is_missing else status, data, passed)

    def _ask(self, method, body, headers):
        connection = http.client.HTTPConnection(*host_and_port(self.server.upstream))
        path, mark, query = self.path.partition("?")
        path = quote(unquote(path), safe="/")  # obstore writes %2D and %2F, too
        connection.request(
            method, f"{path}{mark}{query}", body, {"authorization": _AUTHORIZATION, **headers}
        )
        reply = connection.getresponse()
        try:
            return reply.status, reply.headers, reply.read()
        finally:
            connection.close()
