"""A Hugging Face Hub for tests: a local HTTP server with the endpoints that huggingface_hub uses, and its state on disk.

It speaks repositories (create, look up, delete, visibility), preupload, Git LFS (batch, upload whole, verify), commits, trees,
refs, tags, super-squash, the listing and deleting of LFS files, downloads, and what a Space is set to (secrets,
variables, hardware). Xet is not spoken: set HF_HUB_DISABLE_XET=1, so uploads over Xet are untested. Neither are pull requests,
buckets and multipart LFS.

The line can be cut at any request, before it is read, in the middle of its body or after it was carried out; from then on no
request is answered until `mend()`. Every file that the Hub keeps is in `kept`, so that what was sent twice can be counted.
"""

import base64
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

When = Literal["before", "middle", "after"]
WRITER, READER = "hf_writer", "hf_reader"
"""Tokens of `ada`: one that may write, one that may only read."""
LFS_ENDINGS = (".safetensors", ".parquet", ".arrow", ".bin", ".pt", ".pkl", ".gz", ".zip", ".png")
_TYPES = "models|datasets|spaces"
_API = re.compile(rf"/api/({_TYPES})/([^/]+/[^/]+)(?:/(.*))?")
_BATCH = re.compile(r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")
_RESOLVE = re.compile(r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_STORE = re.compile(rf"/lfs/({_TYPES})/([^/]+/[^/]+)/([0-9a-f]{{64}})(/verify)?")


class Answer(NamedTuple):
    """Status, body and headers of an answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


def answer(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def refusal(status: int, message: str, code: str = "") -> Answer:
    headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
    return Answer(status, json.dumps({"error": message}).encode(), {"Content-Type": "application/json", **headers})


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Repository:
    """One repository on disk: `repo.json`, LFS contents under `lfs/`, others under `blobs/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: dict[str, Any] = json.loads((folder / "repo.json").read_text())

    @classmethod
    def create(cls, folder: Path, private: bool) -> "Repository":
        for name in ("lfs", "blobs"):
            (folder / name).mkdir(parents=True)
        state = {"private": private, "branches": {}, "tags": {}, "commits": {}}
        (folder / "repo.json").write_text(json.dumps(state))
        repository = cls(folder)
        attributes = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
        repository.commit("main", {".gitattributes": repository.keep(attributes)}, "initial commit")
        return repository

    def save(self) -> None:
        (self.folder / "repo.json").write_text(json.dumps(self.state))

    def keep(self, content: bytes) -> dict[str, Any]:
        oid = git_oid(content)
        (self.folder / "blobs" / oid).write_bytes(content)
        return {"oid": oid, "size": len(content)}

    def resolve(self, revision: str) -> str | None:
        for refs in (self.state["branches"], self.state["tags"]):
            if revision in refs:
                return str(refs[revision])
        return revision if revision in self.state["commits"] else None

    def files(self, commit: str) -> dict[str, Any]:
        return dict(self.state["commits"][commit]["files"])

    def commit(self, branch: str, files: Mapping[str, Any], message: str, squash: bool = False) -> str:
        parent = None if squash else self.state["branches"].get(branch)
        value = {"files": dict(files), "message": message, "parent": parent}
        oid = hashlib.sha1(json.dumps([value, len(self.state["commits"])]).encode()).hexdigest()
        self.state["commits"][oid] = value
        self.state["branches"][branch] = oid
        self.save()
        return oid

    def content(self, entry: Mapping[str, Any]) -> Path:
        return self.folder / ("lfs" if "lfs" in entry else "blobs") / (entry.get("lfs") or entry["oid"])


class Hub:
    """State of the server, and what it answers.

    Args:
        kept: one entry for each file it took in: repository, path (of an LFS upload: its hash) and number of bytes.
        requests: method and path of every request, in order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.address = folder, ""
        self.tokens = {WRITER: ("ada", True), READER: ("ada", False)}
        self.kept: list[tuple[str, str, int]] = []
        self.requests: list[str] = []
        self.down = False
        self._cut: tuple[int, When] | None = None
        self._cut_place = ""
        self.lock = threading.RLock()

    def cut(self, at: int, when: When) -> None:
        """Cut the line at the request of this number, counted from now on, from 1."""
        self.requests.clear()
        self._cut, self.down = (at, when), False

    def cut_after(self, place: str) -> None:
        """Cut the line after the next request with this in its path was carried out."""
        self.requests.clear()
        self._cut_place, self.down = place, False

    def mend(self) -> None:
        self._cut, self._cut_place, self.down = None, "", False

    def meets_cut(self, request: str) -> When | None:
        with self.lock:
            self.requests.append(request)
            if self._cut and len(self.requests) == self._cut[0]:
                self.down = True
                return self._cut[1]
            if self._cut_place and not self.down and self._cut_place in request:
                self.down = True
                return "after"
            return "before" if self.down else None

    def repository(self, kind: str, name: str) -> Repository:
        return Repository(self.folder / kind / name)

    def exists(self, kind: str, name: str) -> bool:
        return (self.folder / kind / name / "repo.json").is_file()

    def twice(self) -> list[tuple[str, str]]:
        """Return repository and path of every content that was taken in more than once."""
        seen = [(repository, path) for repository, path, _ in self.kept]
        return sorted({entry for entry in seen if seen.count(entry) > 1})

    # Requests

    def answer(self, method: str, target: str, body: bytes, token: str) -> Answer:
        url = urlsplit(target)
        path, query = unquote(url.path), parse_qs(url.query)
        user, writes = self.tokens.get(token, ("", False))
        if token and not user:
            return refusal(401, "Invalid user token.")
        # An address of the LFS store is its own permission, as at the Hub, where it is signed: clients send no token there.
        if method in ("POST", "PUT", "DELETE") and not writes and not _reads(path) and not _STORE.fullmatch(path):
            return refusal(403, "You don't have the rights to write: use a token with the role write.")
        if path == "/api/repos/create":
            return self._create(json.loads(body), user)
        if path == "/api/repos/delete":
            return self._delete(json.loads(body), user)
        if path == "/api/validate-yaml":
            return answer({"errors": [], "warnings": []})
        if path == "/api/whoami-v2":
            return answer({"type": "user", "name": user, "orgs": []}) if user else refusal(401, "Invalid user token.")
        if found := _BATCH.fullmatch(path):
            return self._in(
                found[1] or "models", found[2], user, lambda it: self._batch(it, found[1] or "models", found[2], body)
            )
        if found := _STORE.fullmatch(path):
            return self._store(found[1], found[2], found[3], bool(found[4]), body)
        if found := _RESOLVE.fullmatch(urlsplit(target).path):
            place = unquote(found[3]), unquote(found[4])
            return self._in(found[1] or "models", unquote(found[2]), user, lambda it: _download(it, *place))
        # The revision may hold an escaped slash, so this one is matched before it is unescaped.
        if found := _API.fullmatch(url.path):
            rest = [unquote(part) for part in (found[3] or "").split("/") if part]
            return self._in(found[1], found[2], user, lambda it: self._api(it, found[1], found[2], method, rest, body, query))
        return refusal(404, f"no such page: {path}")

    def _in(self, kind: str, name: str, user: str, call: Any) -> Answer:
        """Answer within a repository that this user may see."""
        found = self.repository(kind, name) if self.exists(kind, name) else None
        if found is None or (found.state["private"] and name.split("/")[0] != user):
            return refusal(404 if user else 401, "Repository not found", "RepoNotFound")
        reply: Answer = call(found)
        return reply

    def _create(self, wanted: dict[str, Any], user: str) -> Answer:
        owner = wanted.get("organization") or user
        kind, name = (wanted.get("type") or "model") + "s", f"{owner}/{wanted['name']}"
        if owner != user:
            return refusal(403, f"You don't have the rights to create a {kind[:-1]} under the namespace {owner}")
        address = f"{self.address}/{'' if kind == 'models' else kind + '/'}{name}"
        if self.exists(kind, name):
            return Answer(409, json.dumps({"error": "You already created this repo", "url": address}).encode())
        made = Repository.create(self.folder / kind / name, wanted.get("visibility") == "private" or bool(wanted.get("private")))
        if kind == "spaces":
            made.state |= {"sdk": wanted["sdk"], "hardware": wanted.get("hardware", "cpu-basic"), "secrets": {}, "variables": {}}
            made.save()
        return answer({"url": address, "name": name, "id": name})

    def _delete(self, wanted: dict[str, Any], user: str) -> Answer:
        kind, name = (wanted.get("type") or "model") + "s", f"{wanted.get('organization') or user}/{wanted['name']}"
        if not self.exists(kind, name):
            return refusal(404, "Repository not found", "RepoNotFound")
        (self.folder / kind / name / "repo.json").unlink()
        return answer({})

    def _batch(self, repository: Repository, kind: str, name: str, body: bytes) -> Answer:
        objects = []
        for wanted in json.loads(body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if not (repository.folder / "lfs" / wanted["oid"]).is_file():
                href = f"{self.address}/lfs/{kind}/{name}/{wanted['oid']}"
                entry["actions"] = {"upload": {"href": href, "header": {}}, "verify": {"href": f"{href}/verify", "header": {}}}
            objects.append(entry)
        return answer({"transfer": "basic", "objects": objects})

    def _store(self, kind: str, name: str, oid: str, verify: bool, body: bytes) -> Answer:
        path = self.folder / kind / name / "lfs" / oid
        if verify:
            return answer({}) if path.is_file() else refusal(404, "no such object")
        if hashlib.sha256(body).hexdigest() != oid:
            return refusal(400, "the content has another hash")
        path.write_bytes(body)
        self.kept.append((f"{kind}/{name}", oid, len(body)))
        return answer({})

    def _api(
        self, it: Repository, kind: str, name: str, method: str, rest: list[str], body: bytes, query: dict[str, list[str]]
    ) -> Answer:
        what, *more = rest or [""]
        if what == "preupload":
            return _preupload(it, more[0], json.loads(body))
        if what == "commit":
            return self._commit(it, f"{kind}/{name}", more[0], body)
        if what == "tag":
            return _tag(it, method, more[0], json.loads(body or b"{}"))
        if what == "refs":
            refs = {key: [_ref(key, *entry) for entry in it.state[key].items()] for key in ("branches", "tags")}
            return answer({**refs, "converts": [], "pullRequests": []})
        if what == "super-squash":
            head = it.resolve(more[0])
            return answer({"oid": it.commit(more[0], it.files(head or ""), "squashed", squash=True)})
        if what == "lfs-files":
            return _lfs_files(it, more, json.loads(body or b"{}"))
        if what == "settings":
            wanted = json.loads(body)
            it.state["private"] = wanted.get("visibility") == "private" or bool(wanted.get("private"))
            it.save()
            return answer({"private": it.state["private"]})
        if what in ("secrets", "variables", "hardware") and kind == "spaces":
            return _set_space(it, what, json.loads(body))
        revision = more[0] if more else "main"
        if (commit := it.resolve(revision)) is None:
            return refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if what == "tree":
            return answer(_tree(it.files(commit), "/".join(more[1:])))
        if what == "paths-info":
            wanted_paths = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode()).get("paths", [])
            return answer([entry for entry in _tree(it.files(commit), "") if entry["path"] in wanted_paths])
        if what in ("", "revision"):
            siblings = [{"rfilename": path} for path in it.files(commit)]
            seen = {"id": name, "sha": commit, "private": it.state["private"], "siblings": siblings, "tags": []}
            return answer(seen | {"downloads": 0, "likes": 0, "gated": False, "disabled": False})
        return refusal(404, f"no such endpoint: {what}")

    def _commit(self, it: Repository, name: str, branch: str, body: bytes) -> Answer:
        files = it.files(it.resolve(branch) or "")
        message = ""
        taken: list[tuple[str, str, int]] = []
        for line in body.splitlines():
            operation = json.loads(line)
            key, value = operation["key"], operation["value"]
            if key == "header":
                message = value["summary"]
                if value.get("parentCommit") and value["parentCommit"] != it.resolve(branch):
                    return refusal(412, "A commit has happened since. Please refresh and try again.")
            elif key == "file":
                content = base64.b64decode(value["content"])
                files[value["path"]] = it.keep(content)
                taken.append((name, f"{value['path']} {git_oid(content)}", len(content)))
            elif key == "lfsFile":
                if not (it.folder / "lfs" / value["oid"]).is_file():
                    return refusal(400, f"the LFS object of {value['path']} was not uploaded")
                size = (it.folder / "lfs" / value["oid"]).stat().st_size
                pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{value['oid']}\nsize {size}\n"
                files[value["path"]] = {
                    "oid": git_oid(pointer.encode()),
                    "size": size,
                    "lfs": value["oid"],
                    "pointer": len(pointer),
                }
            elif key == "deletedFile":
                files.pop(value["path"], None)
            elif key == "deletedFolder":
                files = {path: entry for path, entry in files.items() if not path.startswith(value["path"].rstrip("/") + "/")}
        commit = it.commit(branch, files, message)
        self.kept += taken
        return answer({"success": True, "commitOid": commit, "commitUrl": f"{self.address}/{name}/commit/{commit}"})


def _reads(path: str) -> bool:
    return path.endswith("/paths-info") or "/paths-info/" in path


def _preupload(it: Repository, revision: str, wanted: dict[str, Any]) -> Answer:
    commit = it.resolve(revision)
    if commit is None:
        return refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    files, modes = it.files(commit), []
    for file in wanted["files"]:
        there = files.get(file["path"], {})
        large = file["path"].endswith(LFS_ENDINGS) or file["size"] > 10 * 1024 * 1024
        oid = there.get("lfs") or there.get("oid")
        modes.append({"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid})
    return answer({"files": modes})


def _tag(it: Repository, method: str, place: str, wanted: dict[str, Any]) -> Answer:
    if method == "DELETE":
        if it.state["tags"].pop(place, None) is None:
            return refusal(404, f"no such tag: {place}", "RevisionNotFound")
    else:
        commit = it.resolve(place)
        if commit is None:
            return refusal(404, f"Invalid rev id: {place}", "RevisionNotFound")
        if wanted["tag"] in it.state["tags"]:
            return refusal(409, f"Tag reference exists already: {wanted['tag']}")
        it.state["tags"][wanted["tag"]] = commit
    it.save()
    return answer({})


def _set_space(it: Repository, what: str, wanted: dict[str, Any]) -> Answer:
    """Set a secret, a variable or the hardware; a running Space starts again, and values of secrets are not given back."""
    if what == "hardware":
        it.state["hardware"] = wanted["flavor"]
    else:
        it.state[what][wanted["key"]] = wanted["value"]
    it.state.setdefault("set", []).append([what, len(it.state["commits"])])
    it.save()
    if what == "hardware":
        return answer({"stage": "BUILDING", "hardware": {"current": None, "requested": wanted["flavor"]}})
    shown = {key: {"value": value} if what == "variables" else {} for key, value in it.state[what].items()}
    return answer({key: {"key": key, **each} for key, each in shown.items()})


def _ref(kind: str, name: str, commit: str) -> dict[str, str]:
    return {"name": name, "ref": f"refs/{'heads' if kind == 'branches' else 'tags'}/{name}", "targetCommit": commit}


def _lfs_files(it: Repository, more: list[str], wanted: dict[str, Any]) -> Answer:
    if more == ["batch"]:
        for oid in wanted["deletions"]["sha"]:
            with suppress(FileNotFoundError):
                (it.folder / "lfs" / oid).unlink()
        return answer({})
    listed = [
        {"oid": path.name, "fileOid": path.name, "size": path.stat().st_size} for path in sorted((it.folder / "lfs").iterdir())
    ]
    moment = {"pushedAt": "2026-01-01T00:00:00.000Z", "filename": "", "ref": "refs/heads/main"}
    return answer([{**entry, **moment} for entry in listed])


def _tree(files: Mapping[str, Any], below: str) -> list[dict[str, Any]]:
    entries = []
    for path, entry in files.items():
        if below and not path.startswith(below + "/"):
            continue
        shown = {"type": "file", "path": path, "oid": entry["oid"], "size": entry["size"]}
        if "lfs" in entry:
            shown["lfs"] = {"oid": entry["lfs"], "size": entry["size"], "pointerSize": entry["pointer"]}
        entries.append(shown)
    return entries


def _download(it: Repository, revision: str, path: str) -> Answer:
    commit = it.resolve(revision)
    if commit is None:
        return refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    entry = it.files(commit).get(path)
    if entry is None:
        return refusal(404, "Entry not found", "EntryNotFound")
    if not it.content(entry).is_file():
        return refusal(404, "this content was deleted for good", "EntryNotFound")
    etag = entry.get("lfs") or entry["oid"]
    return Answer(200, it.content(entry).read_bytes(), {"ETag": f'"{etag}"', "X-Repo-Commit": commit})


class _Requests(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body leave together; apart they wait 40 ms for each other
    hub: Hub

    def _serve(self) -> None:
        when = self.hub.meets_cut(f"{self.command} {self.path}")
        length = int(self.headers.get("Content-Length") or 0)
        if when in ("before", "middle"):
            if when == "middle":
                self.rfile.read(length // 2)
            self.close_connection = True
            return
        body = self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        with self.hub.lock:
            reply = self.hub.answer(self.command, self.path, body, token)
        if when == "after":
            self.close_connection = True
            return
        self.send_response(reply.status)
        for key, value in reply.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, *words: Any) -> None:
        pass


@contextmanager
def running_hub(folder: Path) -> Iterator[Hub]:
    """Serve a Hub whose state is in this folder; a later one on the same folder finds it again."""
    hub = Hub(folder)
    requests = type("Requests", (_Requests,), {"hub": hub})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), requests)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
