"""A Hub on the loopback interface: what huggingface_hub asks of the real one, from a folder, with faults on demand."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class LoopbackHub:
    """Serves each folder ``root/<owner>/<name>`` as a repository of one commit: a model, or a data set.

    Attributes
    ----------
    commit : str
        The only revision there is, besides "main".
    asked : list of str
        Method and path of every request.
    resumed : list of str
        Files of which only the rest was asked for.
    status : dict
        Repository -> HTTP status to answer instead; 200 stands for a sign-in page.
    cut : int
        That many downloads of weights end after half of what was asked for.
    delay_s : float
        Pause before each 16 KiB of a file.
    """

    def __init__(self, root: Path, commit: str = COMMIT):
        self.root, self.commit, self.cut, self.delay_s = root, commit, 0, 0.0
        self.asked: list[str] = []
        self.resumed: list[str] = []
        self.status: dict[str, int] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.answer(self, body=True)

            def do_HEAD(self):
                hub.answer(self, body=False)

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hub.answer(self, body=True)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        path = request.path.split("?")[0]
        self.asked.append(f"{request.command} {path}")
        parts = path.strip("/").split("/")
        api = parts[:2] in (["api", "models"], ["api", "datasets"])
        parts = parts[1:] if parts[0] == "datasets" else parts
        repo = "/".join(parts[2:4] if api else parts[:2])
        folder = self.root / repo
        code = self.status.get(repo)
        if code == 200:
            return self.send(request, 200, b"<html>Please sign in</html>", {"Content-Type": "text/html"}, body)
        if code or not folder.is_dir():
            kind = {401: {"X-Error-Code": "GatedRepo"}, None: {"X-Error-Code": "RepoNotFound"}}.get(code, {})
            return self.send(request, code or 404, b"{}", kind, body)
        at = {"revision", "tree", "paths-info", "resolve"}.intersection(parts)
        revision = parts[parts.index(at.pop()) + 1] if at else None
        if revision not in (None, "main", self.commit):
            return self.send(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
        if "tree" in parts or "paths-info" in parts:
            files = [{"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0" * 40}
                     for file in sorted(folder.iterdir())]  # fmt: skip
            return self.send(request, 200, json.dumps(files).encode(), {"Content-Type": "application/json"}, body)
        if api:
            names = sorted(file.name for file in folder.iterdir())
            about = {"id": repo, "modelId": repo, "sha": self.commit, "siblings": [{"rfilename": name} for name in names],
                     "private": False, "tags": [], "downloads": 0, "likes": 0}  # fmt: skip
            return self.send(request, 200, json.dumps(about).encode(), {"Content-Type": "application/json"}, body)
        file = folder / parts[-1]
        if not file.is_file():
            return self.send(request, 404, b"{}", {"X-Error-Code": "EntryNotFound"}, body)
        return self.send_file(request, file, body)

    def send(self, request, code: int, content: bytes, headers: dict, body: bool) -> None:
        request.send_response(code)
        for name, value in (headers | {"Content-Length": str(len(content)), "X-Repo-Commit": self.commit}).items():
            request.send_header(name, value)
        request.end_headers()
        if body:
            request.wfile.write(content)

    def send_file(self, request, file: Path, body: bool) -> None:
        content = file.read_bytes()
        start = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        rest = content[start:]
        request.send_response(206 if start else 200)
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": self.commit, "Accept-Ranges": "bytes",
                   "Content-Length": str(len(rest))}  # fmt: skip
        if start:
            self.resumed.append(file.name)
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        if not body:
            return
        if self.cut and file.suffix in (".safetensors", ".bin", ".parquet"):
            self.cut -= 1
            request.wfile.write(rest[: len(rest) // 2])
            request.wfile.flush()
            request.close_connection = True
            request.connection.shutdown(2)
            return
        for at in range(0, len(rest), 1 << 14):
            time.sleep(self.delay_s)
            request.wfile.write(rest[at : at + (1 << 14)])

    @contextlib.contextmanager
    def running(self) -> Iterator[LoopbackHub]:
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()
