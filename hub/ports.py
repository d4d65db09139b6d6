"""``ports.json`` in the state folder: the addresses that a running hub uses, for every program beside it."""

import json
from pathlib import Path

NAME = "ports.json"


def read(state: Path) -> dict[str, str]:
    """Return the addresses that a running hub wrote (``http``, ``mqtt``, ``postgres``), empty when none runs."""
    try:
        found = json.loads((state / NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def write(state: Path, **urls: str) -> None:
    """Write the addresses in use, in one step."""
    fresh = state / (NAME + ".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)  # a URL may hold a password
    fresh.write_text(json.dumps(urls, indent=1) + "\n", "utf-8")
    fresh.replace(state / NAME)


def remove(state: Path) -> None:
    """Take the addresses away: nobody serves them any more."""
    (state / NAME).unlink(missing_ok=True)
