"""Servers on 127.0.0.1: of a folder, and a fake Kaggle with the client's protocol and its failures.

Kaggle's API is reached as a proxy, since the client's address is fixed; the storage to which it redirects is on another
port, reached first through the proxy, and directly when a transfer is resumed. `scripts` list the answers to the next
requests; without, they succeed.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

SIGNATURE = "signed-with-a-secret"
ANSWERS = {
    "IntrospectToken": {"active": True, "username": "someone"},
    "GetDataset": {"currentVersionNumber": 3},
    "GetDatasetMetadata": {"info": {"licenses": [{"name": "CC0-1.0"}]}},
}


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler], **attributes) -> Iterator[ThreadingHTTPServer]:
    """A server on this machine, with attributes for its handler; stopped at the end of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    vars(server).update(attributes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def offered(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve the files of a folder; gives its address, and the paths that were requested."""
    requested = []

    class Files(SimpleHTTPRequestHandler):
        def log_request(self, *_):
            requested.append(self.path)

        def log_message(self, *_):
            pass

    with serving(partial(Files, directory=folder)) as server:
        yield f"http://127.0.0.1:{server.server_port}", requested


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status: int, content: bytes = b"", kind: str = "application/json", **headers) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": len(content)} | headers
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(content)

    def misbehaves(self, call: str) -> bool:
        """Record the request, and answer it as the script says, if there is one."""
        kaggle = self.server.kaggle
        kaggle.requests.append((call, dict(self.headers)))
        script = kaggle.scripts.get(call, [])
        self.act = script.pop(0) if script else ("well",)
        match self.act:
            case ("status", status, *headers):
                self.answer(status, b"<Error>no</Error>", "text/xml", **dict(headers))
            case ("page",):
                self.answer(200, b"<html>Sign in to the network</html>", "text/html")
            case ("silent",):
                time.sleep(kaggle.patience)
                self.close_connection = True
            case _:
                return False
        return True

    def do_POST(self):
        kaggle = self.server.kaggle
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        call = urlsplit(self.path).path.rsplit("/", 1)[-1]
        if self.misbehaves(call):
            return
        if kaggle.password and self.headers.get("Authorization") != kaggle.password:
            self.answer(401, b'{"code": 401, "message": "Unauthenticated"}')
        elif call == "DownloadDataset":
            kaggle.questions.append(question)
            location = f"http://127.0.0.1:{kaggle.storage.server_port}/archive.zip?sig={SIGNATURE}"
            self.answer(302, Location=location)
        else:
            self.answer(200, json.dumps(ANSWERS[call]).encode())

    def do_GET(self):
        if self.misbehaves("archive.zip"):
            return
        kaggle = self.server.kaggle
        content = kaggle.content
        start = 0
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", kaggle.etag) == kaggle.etag:
            start = int(asked[1])
        status = 206 if start else 200
        headers = {"Accept-Ranges": "bytes", "ETag": kaggle.etag, "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        promised = {"Content-Length": len(content) - start}
        body = content[start:]
        match self.act:
            case ("cut" | "stall", until):
                body = content[start:until]
            case ("length", more):
                promised["Content-Length"] += more
            case ("corrupt",):
                middle = len(content) // 2
                body = content[start:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
        self.answer(status, body, "application/zip", **headers, **promised)
        if self.act[0] == "stall":
            self.wfile.flush()
            time.sleep(kaggle.patience)
        self.close_connection = True


class Kaggle:
    """The two servers, their content, the requests they got, and the scripts of their answers."""

    def __init__(self, content: bytes):
        self.content, self.etag = content, '"one"'
        self.password: str | None = None
        self.patience = 8
        self.requests: list[tuple[str, dict]] = []
        self.questions: list[dict] = []
        self.scripts: dict[str, list[tuple]] = {}
        self.api, self.storage = self.serve(), self.serve()

    def serve(self) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.kaggle, server.daemon_threads = self, True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def environment(self, home: Path) -> dict[str, str]:
        """Environment variables that lead the real client here, without a real account."""
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": f"http://127.0.0.1:{self.api.server_port}",
            "no_proxy": "127.0.0.1",
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "FACEMASK_TIMEOUT": "2",
        }


@contextmanager
def kaggle(content: bytes) -> Iterator[Kaggle]:
    """The servers, until the end of the block."""
    servers = Kaggle(content)
    try:
        yield servers
    finally:
        for server in (servers.api, servers.storage):
            server.shutdown()
            server.server_close()
