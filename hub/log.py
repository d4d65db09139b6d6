"""The log: lines for people on a console, JSON for machines; always on stderr, so that output stays clean."""

import json
import logging
import sys


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, part, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return json.dumps(
            {
                "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
                "level": record.levelname.lower(),
                "part": record.name,
                "message": record.getMessage(),
            },
            ensure_ascii=False,
        )


def configure_log(kind: str) -> None:
    """Send the project's log to stderr, as ``console`` lines or as ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    if kind == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # These say every request or every reconnect; what matters of it is in our own lines and in /metrics.
    for noisy in ("uvicorn.access", "uvicorn.error", "websockets", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
