"""The page of an ingest worker for those who run it: is it alive, is it ready, how much went through."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ingest.metrics import IngestMetrics
from sensors import WorkError

Health = Callable[[], Mapping[str, Mapping[str, Any]]]


@contextlib.contextmanager
def worker_page(port: int, metrics: IngestMetrics, health: Health, *, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve ``/metrics``, ``/healthz`` and ``/readyz``, to this machine only by default, and yield the address.

    Parameters
    ----------
    port
        0: any free one.
    health
        Returns each part with whether it works (``ok``); all must for ``/readyz`` to answer 200, else it is 503.

    Raises
    ------
    WorkError
        When the port cannot be used.
    """

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, "text/plain; version=0.0.4; charset=utf-8", metrics.as_prometheus())
            elif path == "/healthz":
                self._answer(200, "application/json", json.dumps({"status": "ok"}))
            elif path == "/readyz":
                parts = health()
                good = all(part["ok"] for part in parts.values())
                self._answer(200 if good else 503, "application/json", json.dumps({"ready": good, "parts": parts}))
            else:
                self._answer(404, "text/plain; charset=utf-8", "see /metrics, /healthz and /readyz\n")

        def _answer(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Say nothing: a scraper asks every few seconds."""

    try:
        server = ThreadingHTTPServer((host, port), Page)
    except OSError as error:
        raise WorkError(
            f"port {port} of {host} cannot be used ({error.strerror}): "
            "stop the program that has it, or give --metrics-port 0 for a free one"
        ) from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="page", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
