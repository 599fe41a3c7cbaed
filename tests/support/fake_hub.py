"""A fake of the hub's HTTP API, as far as huggingface_hub's own client uses it for dataset
repositories.

Written from the client's code: the hub itself could not be reached. Commits are compare-and-swap,
large files are stored by their hash, and files are served with ranges.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from threading import Lock
from urllib.parse import unquote, urlsplit

from local_server import LocalHandler, LocalServer

TOKEN = "hf_testtoken"
Tree = dict[str, bytes]


@dataclass
class Repository:
    """A dataset repository: its commits, and the branches that point at them."""

    private: bool
    commits: dict[str, Tree] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch, tree):
        """Add a commit to a branch."""
        listed = sorted((path, hashlib.sha1(data).hexdigest()) for path, data in tree.items())
        oid = hashlib.sha1(
            json.dumps([listed, self.branches.get(branch), len(self.commits)]).encode()
        ).hexdigest()
        self.commits[oid], self.branches[branch] = tree, oid
        return oid

    def tree(self, revision):
        """Return the files of a branch or commit."""
        return self.commits.get(self.branches.get(revision, revision))


class FakeHub(LocalServer):
    """A hub of one user.

    Attributes:
        repositories: by owner and name.
        blobs: large files, by their SHA-256.
        requests: method and path of every request.
        uploaded: hashes of the large files that were uploaded, in order.
        before_commit: called before each commit.
    """

    def __init__(self):
        super().__init__(_Handler)
        self.repositories = {}
        self.blobs = {}
        self.requests = []
        self.uploaded = []
        self.before_commit = None
        self.lock = Lock()


class _Handler(LocalHandler):
    def answer(self):
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        body = self._body()
        with self.server.lock:
            for method, pattern, answer in _ROUTES:
                if self.command in method and (match := re.fullmatch(pattern, path)):
                    is_open = (
                        path.startswith("/lfs/")
                        or self.headers.get("Authorization") == f"Bearer {TOKEN}"
                    )
                    if not is_open:
                        return self._reply(401, {"error": "Invalid credentials"})
                    return answer(self, body, *match.groups())
        return self._reply(404, {"error": "no such page"})

    def _body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _reply(self, code, content, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.reply(code, data, {name.replace("_", "-"): value for name, value in headers.items()})

    def create(self, body):
        wanted = json.loads(body)
        owner, name = wanted.get("organization") or "owner", wanted["name"]
        repo = name if "/" in name else f"{owner}/{name}"
        if repo in self.server.repositories:
            return self._reply(409, {"error": "You already created this dataset repo", "url": repo})
        is_private = wanted.get("private") or wanted.get("visibility") == "private"
        self.server.repositories[repo] = made = Repository(bool(is_private))
        made.commit("main", {".gitattributes": b"*.parquet filter=lfs\n"})
        return self._reply(
            200, {"url": f"{self.server.url}/datasets/{repo}", "id": "0", "name": repo}
        )

    def _repository(self, repo):
        found = self.server.repositories.get(repo)
        if found is None:
            self._reply(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        return found

    def _tree(self, repo, revision):
        if (found := self._repository(repo)) is None:
            return None
        if (tree := found.tree(revision)) is None:
            self._reply(404, {"error": "Revision not found"}, X_Error_Code="RevisionNotFound")
        return tree

    def info(self, _, repo, revision="main"):
        if (tree := self._tree(repo, revision)) is not None:
            branches = self.server.repositories[repo].branches
            files = [{"rfilename": path} for path in sorted(tree)]
            self._reply(
                200,
                {
                    "id": repo,
                    "sha": branches.get(revision, revision),
                    "siblings": files,
                    "tags": [],
                },
            )

    def branch(self, _, repo, branch):
        if (found := self._repository(repo)) is not None:
            found.branches.setdefault(branch, found.branches["main"])
            self._reply(200, {})

    def validate(self, body):
        import yaml

        content = json.loads(body)["content"]
        header = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        is_valid = header is not None and isinstance(yaml.safe_load(header[1]), dict)
        self._reply(
            200 if is_valid else 400,
            {"errors": [] if is_valid else [{"message": "no header"}], "warnings": []},
        )

    def preupload(self, body, repo, revision):
        if (tree := self._tree(repo, revision)) is None:
            return
        files = [
            {
                "path": file["path"],
                "shouldIgnore": False,
                "uploadMode": "lfs" if file["path"].endswith((".parquet", ".faiss")) else "regular",
                "oid": _git_hash(tree[file["path"]]) if file["path"] in tree else None,
            }
            for file in json.loads(body)["files"]
        ]
        self._reply(200, {"files": files})

    def batch(self, body, repo):
        if self._repository(repo) is None:
            return
        objects = []
        for wanted in json.loads(body)["objects"]:
            oid, entry = wanted["oid"], {"oid": wanted["oid"], "size": wanted["size"]}
            if oid not in self.server.blobs:
                entry["actions"] = {
                    "upload": {"href": f"{self.server.url}/lfs/{oid}", "header": {}},
                    "verify": {"href": f"{self.server.url}/lfs/verify/{oid}", "header": {}},
                }
            objects.append(entry)
        self._reply(200, {"transfer": "basic", "objects": objects})

    def upload(self, body, oid):
        if hashlib.sha256(body).hexdigest() != oid:
            return self._reply(400, {"error": "the content has another hash"})
        self.server.blobs[oid] = body
        self.server.uploaded.append(oid)
        return self._reply(200, {})

    def verify(self, _, oid):
        self._reply(200 if oid in self.server.blobs else 404, {})

    def commit(self, body, repo, branch):
        if (tree := self._tree(repo, branch)) is None:
            return None
        found = self.server.repositories[repo]
        if self.server.before_commit is not None:
            self.server.before_commit(found)
        head, *operations = [json.loads(line) for line in body.splitlines()]
        if head["value"].get("parentCommit") not in (None, found.branches[branch]):
            return self._reply(
                412, {"error": "A commit has happened since. Please refresh and try again."}
            )
        new = dict(tree)
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                new[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                new[value["path"]] = self.server.blobs[value["oid"]]
            else:
                del new[value["path"]]
        oid = found.commit(branch, new)
        return self._reply(
            200, {"commitUrl": f"{self.server.url}/datasets/{repo}/commit/{oid}", "commitOid": oid}
        )

    def resolve(self, _, repo, revision, path):
        if (tree := self._tree(repo, revision)) is None:
            return None
        if path not in tree:
            return self._reply(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
        data = tree[path]
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            start, end = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
            return self._reply(
                206, data[start : end + 1], Content_Range=f"bytes {start}-{end}/{len(data)}"
            )
        return self._reply(200, data)


def _git_hash(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


_ROUTES = [
    ("POST", r"/api/repos/create", _Handler.create),
    ("POST", r"/api/validate-yaml", _Handler.validate),
    ("GET", r"/api/datasets/([^/]+/[^/]+)", _Handler.info),
    ("GET", r"/api/datasets/([^/]+/[^/]+)/revision/(.+)", _Handler.info),
    ("POST", r"/api/datasets/([^/]+/[^/]+)/branch/(.+)", _Handler.branch),
    ("POST", r"/api/datasets/([^/]+/[^/]+)/preupload/(.+)", _Handler.preupload),
    ("POST", r"/api/datasets/([^/]+/[^/]+)/commit/(.+)", _Handler.commit),
    ("POST", r"/datasets/([^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", r"/lfs/([0-9a-f]{64})", _Handler.upload),
    ("POST", r"/lfs/verify/([0-9a-f]{64})", _Handler.verify),
    ("GET HEAD", r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", _Handler.resolve),
]
