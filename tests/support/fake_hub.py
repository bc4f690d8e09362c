"""The Hugging Face Hub's protocol, as far as its client library speaks it for a download: a real server."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "a" * 40


class FakeHub:
    """Repositories by name, each with its files. ``cut_after``: bytes after which the next download breaks off.

    ``ranges`` are the Range headers of downloads, as they came.
    """

    def __init__(self, repos: dict[str, dict[str, bytes]], gated: tuple[str, ...] = ()) -> None:
        self.repos = repos
        self.gated = gated
        self.cut_after: int | None = None
        self.ranges: list[str] = []
        hub = self

        class Handler(_Handler):
            def __init__(self, *arguments: object) -> None:
                self.hub = hub
                super().__init__(*arguments)  # type: ignore[arg-type]

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        """Answer without a log line."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        api = path.startswith("api/models/")
        path = path.removeprefix("api/models/")
        repo = "/".join(path.split("/")[:2])
        rest = path.removeprefix(repo).strip("/")
        if repo in self.hub.gated:
            self._refuse(403, "GatedRepo", "Access to this model is restricted.")
        elif repo not in self.hub.repos:
            self._refuse(404 if "secret" not in repo else 401, "RepoNotFound", "Repository not found")
        elif api:
            self._describe(repo, rest)
        else:
            self._download(self.hub.repos[repo], rest)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer(
            status, json.dumps({"error": message}).encode(), {"X-Error-Code": code, "X-Error-Message": message}
        )

    def _describe(self, repo: str, rest: str) -> None:
        if rest.startswith("revision/") and rest.removeprefix("revision/") not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound", "Invalid rev id")
            return
        files = self.hub.repos[repo]
        siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
        listing: object = {
            "id": repo,
            "modelId": repo,
            "sha": COMMIT,
            "siblings": siblings,
            "tags": [],
            "private": False,
        }
        if rest.startswith("tree/"):
            listing = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in files.items()
            ]
        self._answer(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})

    def _download(self, files: dict[str, bytes], rest: str) -> None:
        name = "/".join(rest.split("/")[2:])  # behind resolve/COMMIT
        data = files[name]
        headers = {
            "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        wanted, status = self.headers.get("Range"), 200
        if wanted is not None and self.command == "GET":
            self.hub.ranges.append(wanted)
            begin = int(wanted.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            data, status = data[begin:], 206
        self._answer(status, data, headers)

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.hub.cut_after
        if cut is None or cut >= len(data) or "/resolve/" not in self.path:
            self.wfile.write(data)
            return
        self.hub.cut_after = None
        self.wfile.write(data[:cut])
        self.close_connection = True
