"""A real HTTP server on 127.0.0.1 that says what a test tells it to."""

import contextlib
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Ask:
    """A request as the server got it."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: bytes):
        parts = urlsplit(handler.path)
        self.path, self.headers, self.body = parts.path, handler.headers, body
        self.query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.form = {key: v[0] for key, v in parse_qs(body.decode("utf-8", "replace")).items()}
        self.at = time.monotonic()


class Answer:
    """What the server says: status, headers and body; `declared` is a Content-Length that lies."""

    def __init__(
        self, body=b"", status=200, declared=None, pause_s=0.0, piece=None, chunked=False, **headers
    ):
        self.body = body.encode() if isinstance(body, str) else body
        self.status, self.declared, self.pause_s = status, declared, pause_s
        self.piece, self.chunked = piece, chunked
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Server:
    """Answers by path: a function of the Ask, or a list of answers for one ask after another."""

    def __init__(self):
        self.answers, self.seen = {}, defaultdict(list)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer._answer(self, Ask(self, body))

            protocol_version = "HTTP/1.1"
            do_GET = do_POST = answer

            def log_message(self, *_):
                """Quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def _answer(self, handler, ask: Ask) -> None:
        self.seen[ask.path].append(ask)
        answer = self.answers.get(ask.path, Answer("no such page", 404))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(ask)
        # Whoever asked may have heard enough.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            _send(handler, answer)

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def _send(handler, answer: Answer) -> None:
    handler.send_response(answer.status)
    length = len(answer.body) if answer.declared is None else answer.declared
    framing = (
        {"Transfer-Encoding": "chunked"} if answer.chunked else {"Content-Length": str(length)}
    )
    for name, value in {**framing, **answer.headers}.items():
        handler.send_header(name, value)
    handler.send_header("Connection", "close")  # so that a length that lies ends the answer
    handler.end_headers()
    step = answer.piece or len(answer.body) or 1
    for start in range(0, len(answer.body), step):
        handler.wfile.write(answer.body[start : start + step])
        handler.wfile.flush()
        time.sleep(answer.pause_s)
