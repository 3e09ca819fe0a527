# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
An HTTP server on a loopback port of its own: hands each request to a function, and spoils the answer if asked to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Respond = Callable[[str, str, bytes], "tuple[int, bytes, str]"]
"""Method, target and body of a request to status, body and fault of its answer."""

SHUTDOWN_POLL_S = 0.02
"""How often the server checks whether it is to stop; a cloud waits this long for each of its instances."""


class Server(ThreadingHTTPServer):
    """Serves on 127.0.0.1, at a port that the kernel chooses, from construction to `close`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, respond: Respond) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.respond = respond
        threading.Thread(target=self.serve_forever, args=(SHUTDOWN_POLL_S,), daemon=True).start()

    @property
    def url(self) -> str:
        """Scheme, address and port, without a path."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        """Stop accepting connections; requests that are being answered are not waited for."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        status, answer, fault = self.server.respond(self.command, self.path, body)
        self.close_connection = True
        if fault == "silent":
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer[: len(answer) // 2] if fault == "cut" else answer)

    do_GET = do_POST = do_PUT = do_DELETE = _respond  # noqa: N815 - http.server calls them by these names

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: `Cloud.requests` lists the requests."""
