"""An S3 server on loopback, moto's, behind a proxy of our own that fails on request.

moto 5.2 knows `If-None-Match: *` of single puts and of multipart uploads, ranges, `If-Match` of reads, and listings by
pages. It checks whether an object is there and writes it in two steps, so the proxy lets one conditional put through at
a time; and it checks no signatures.
"""

import http.client
import http.server
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace

import pytest

from semshard.storage import Limits, ObjectPlace

KEY, SECRET = "AKIATESTTESTTEST", "w0rdsThatNoMessageMayEverRepeat"
QUICK = Limits(attempts=4, wait=0.002, longest_wait=0.01, timeout=20, connect_timeout=2, part=64 << 10)
_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}
CONFLICT = "ConditionalRequestConflict"


@dataclass
class Fault:
    """What goes wrong with the next request of a method.

    refuse    answered with `status` and `code`, and not carried out
    lose      carried out, and answered with `status`
    hang      never answered
    drop      the connection is closed unanswered; the request was not carried out
    cut       the connection is closed in the middle of the body: of the answer, or of a put
    """

    kind: str
    method: str = ""  # any
    status: int = 503
    code: str = "SlowDown"
    path: str = ""  # a part of the path and query, any
    times: int = 1


@dataclass
class Store:
    """The server, as its clients see it."""

    endpoint: str  # of the proxy
    direct: tuple[str, int]  # moto itself
    faults: list[Fault] = field(default_factory=list)
    page: int = 1000  # objects in an answer to a listing, at most
    ignores_conditions: bool = False  # as some stores do
    requests: list[str] = field(default_factory=list, repr=False)  # "METHOD path?query" of each, in order
    turn: threading.Lock = field(default_factory=threading.Lock)
    conditional: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to be its client."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
        }  # fmt: skip

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None):
        """(status, headers, body) of a request to moto itself."""
        signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request"}
        connection = http.client.HTTPConnection(*self.direct, timeout=30)
        try:
            connection.request(method, path, body, signed | (headers or {}))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def make_bucket(self, name: str) -> None:
        assert self.ask("PUT", f"/{name}")[0] == 200

    def shows(self, path: str) -> bool:
        """Whether an object, BUCKET/KEY, can be seen."""
        return self.ask("HEAD", f"/{path}")[0] == 200

    def unfinished(self, bucket: str) -> int:
        """Multipart uploads that were begun and neither completed nor aborted."""
        return self.ask("GET", f"/{bucket}?uploads")[2].count(b"<Upload>")

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self.turn:
            self.requests.append(f"{method} {path}")
            for fault in self.faults:
                if fault.times and fault.method in ("", method) and fault.path in path:
                    fault.times -= 1
                    return fault
        return None


class _Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, *words): ...

    def handle_one_request(self):
        with suppress(ConnectionError):
            super().handle_one_request()

    def do_any(self):
        fault = self.server.store.fault_for(self.command, self.path)
        kind, length = fault.kind if fault else "", int(self.headers.get("Content-Length") or 0)
        half = kind == "cut" and self.command in ("PUT", "POST")
        body = self.rfile.read(length // 2 if half else length)
        if half or kind == "drop":
            self.close()
        elif kind == "hang":
            with suppress(OSError):
                self.connection.recv(1)  # returns when the client gives up
            self.close()
        elif kind == "refuse":
            self.refuse(fault)
        else:
            self.carry_out(body, fault)

    def carry_out(self, body: bytes, fault: Fault | None):
        store, kind = self.server.store, fault.kind if fault else ""
        dropped = {*_HOP, "if-none-match"} if store.ignores_conditions else _HOP
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        one_at_a_time = store.conditional if "If-None-Match" in self.headers else nullcontext()
        with one_at_a_time:
            page = f"&max-keys={store.page}" if "list-type" in self.path else ""
            status, answered, data = store.ask(self.command, self.path + page, body, headers)
        if kind == "lose":
            self.refuse(fault)
            return
        self.send_response(status)
        for name, value in answered.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        size = answered.get("Content-Length", len(data)) if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if kind == "cut" else data)
        if kind == "cut":
            self.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_any  # noqa: N815

    def refuse(self, fault: Fault):
        # As S3 answers: with the number of the key, which no message may repeat.
        body = f"<Error><Code>{fault.code}</Code><AWSAccessKeyId>{KEY}</AWSAccessKeyId></Error>".encode()
        self.send_response(fault.status)
        self.send_header("Content-Length", str(0 if self.command == "HEAD" else len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def close(self):
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    store: Store

    def handle_error(self, request, client_address): ...


@contextmanager
def object_store() -> Iterator[Store]:
    """The server, running; skips the test where obstore or moto is missing."""
    pytest.importorskip("obstore", reason="needs obstore: pip install 'semshard[objects]'")
    os.environ.setdefault(
        "S3_UPLOAD_PART_MIN_SIZE", "1"
    )  # read by moto when it is imported: small parts make quick tests
    server_of_moto = pytest.importorskip("moto.server", reason="needs moto's server: pip install 'moto[server]'")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line per request
    moto = server_of_moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    proxy = _Server(("127.0.0.1", 0), _Proxy)
    proxy.store = Store(f"http://127.0.0.1:{proxy.server_port}", moto.get_host_and_port())
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy.store
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
        moto.stop()


def place_in(store: Store, url: str, remark: Callable[[str], None] = lambda sentence: None, **limits) -> ObjectPlace:
    """A place of the server, with short waiting times."""
    return ObjectPlace(url, remark, replace(QUICK, **limits))
