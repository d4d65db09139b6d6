"""What the environment and ``config/`` say, read once; every other part gets values, never the environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest.broker.options import Options
from sensors import InputError
from sensors.clock import CityClock
from sensors.codecs import OPTIONS
from sensors.payload import DEFAULT_RULES, TopicRule
from sensors.toml import nearest, read_toml, unknown_keys

VARIABLES = {
    "CITYTWIN_DATABASE_URL": "libpq URI of the database; unset: embedded PostgreSQL in the state folder",
    "CITYTWIN_MQTT_URL": "mqtt://[user:password@]host:port or mqtts://; unset: embedded broker",
    "CITYTWIN_CONFIG": "folder with city.toml, rules.toml, departments.toml; unset: the one that is shipped",
    "CITYTWIN_STATE": "folder for everything that lasts; unset: .citytwin in a checkout, else the user's state folder",
    "CITYTWIN_HOST": "where the hub listens; unset: 127.0.0.1",
    "CITYTWIN_PORT": "port of the hub, 0 takes a free one; unset: 8000",
    "CITYTWIN_SCHEDULER": "tcp://host:8786 of a Dask scheduler; unset: local processes",
    "CITYTWIN_LOG": "console or json; unset: console",
    "CITYTWIN_CLOCK": "live, replay, or <RFC 3339>@<factor>; unset: live",
    "CITYTWIN_MQTT_LISTEN": "host:port of the embedded broker; unset: 127.0.0.1:1883, else the next free port",
    "CITYTWIN_PG_BIN": "folder with the programs of PostgreSQL; unset: the installed wheel, PATH, system folders",
    "CITYTWIN_TEST_MQTTJS": "node_modules folder with MQTT.js, for a test of the broker; unset: skipped",
    "CITYTWIN_TEST_DATA": "folder with real input data, for tests; unset: ../shared/data",
    "CITYTWIN_TEST_TIMESCALE_URL": "libpq URI of a TimescaleDB, for tests; unset: those tests are skipped",
    "CITYTWIN_CHROMIUM": "path of the Chromium that browser tests use; unset: chromium on PATH",
}
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class City:
    """``config/city.toml``: how this city is called and how its data is taken in.

    Parameters
    ----------
    retention_s, future_s
        Readings outside [now - retention_s, now + future_s] of the city clock are rejected.
    snapshot_every_s
        Wall seconds between two snapshots of the twin.
    max_unverified_sensors
        Sensors that no network names are admitted up to this number.
    spool_bytes
        Most that is kept on disk while the database is away; beyond it, messages wait at the broker.
    linger_s, quiet_linger_s
        A message waits so long for others to share its commit; where few come and nobody waits for an answer, up to the
        second.
    network
        Folder of the network that ``citytwin serve`` serves; in the file relative to the file's folder.
    webhook_url
        Receives alerts as Alertmanager v4 JSON; empty: none.
    broker
        How the embedded broker is set up.
    """

    name: str = "citytwin"
    name_zh: str = "城市孪生"
    timezone: str = "Asia/Shanghai"
    district: str = "centre"
    topics: tuple[TopicRule, ...] = DEFAULT_RULES
    retention_s: float = 400 * 86_400.0
    future_s: float = 300.0
    max_unverified_sensors: int = 10_000
    spool_bytes: float = 1024.0 * (1 << 20)
    linger_s: float = 0.005
    quiet_linger_s: float = 0.4
    snapshot_every_s: float = 1.0
    network: Path | None = None
    webhook_url: str = ""
    alert_topic: str = "hub/alerts"
    broker: Options = field(default_factory=Options)

    @classmethod
    def read(cls, path: Path) -> "City":
        """Return the content of a ``city.toml``.

        Raises
        ------
        InputError
            Names the file, the key and what would be right, for every fault at once.
        """
        document = read_toml(path)
        faults = unknown_keys(document, ("city", "ingest", "twin", "notify", "broker", "topic"), where=str(path))
        values: dict[str, Any] = {}
        for section, keys in _SECTIONS.items():
            table = document.get(section, {})
            if not isinstance(table, dict):
                faults.append(f"{path}: [{section}] must be a table")
                continue
            faults += unknown_keys(table, keys, where=f"{path}: [{section}]")
            for key, (target, kind, factor) in keys.items():
                if key not in table:
                    continue
                value = table[key]
                numeric = kind in (int, float)
                good = isinstance(value, (int, float) if numeric else kind) and not isinstance(value, bool)
                if not good or (numeric and not value > 0):
                    wanted = "a number > 0" if numeric else "text"
                    faults.append(f"{path}: [{section}] {key} is {value!r}, must be {wanted}")
                else:
                    values[target] = kind(value * factor) if numeric else value
        values["topics"], topic_faults = _topics(document.get("topic"), path)
        faults += topic_faults
        values["broker"], broker_faults = _broker(document.get("broker", {}), path)
        faults += broker_faults
        if "network" in values:
            values["network"] = path.parent / Path(values["network"]).expanduser()
        city = cls(**{key: value for key, value in values.items() if value is not None})
        try:
            ZoneInfo(city.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            faults.append(f"{path}: [city] timezone is {city.timezone!r}, must be an IANA zone such as 'Asia/Shanghai'")
        if city.webhook_url and urlsplit(city.webhook_url).scheme not in ("http", "https"):
            faults.append(f"{path}: [notify] webhook_url is {city.webhook_url!r}, must start with http:// or https://")
        if faults:
            raise InputError(faults)
        return city


_SECTIONS: dict[str, dict[str, tuple[str, type, float]]] = {
    "city": {
        "name": ("name", str, 1),
        "name_zh": ("name_zh", str, 1),
        "timezone": ("timezone", str, 1),
        "district": ("district", str, 1),
        "network": ("network", str, 1),
    },
    "ingest": {
        "retention_days": ("retention_s", float, 86_400),
        "future_s": ("future_s", float, 1),
        "max_unverified_sensors": ("max_unverified_sensors", int, 1),
        "spool_mib": ("spool_bytes", float, 1 << 20),
        "linger_ms": ("linger_s", float, 1e-3),
        "quiet_linger_ms": ("quiet_linger_s", float, 1e-3),
    },
    "twin": {"snapshot_every_s": ("snapshot_every_s", float, 1)},
    "notify": {"webhook_url": ("webhook_url", str, 1), "alert_topic": ("alert_topic", str, 1)},
}


def _broker(table: object, path: Path) -> tuple[Options | None, list[str]]:
    if not isinstance(table, dict):
        return None, [f"{path}: [broker] must be a table"]
    try:
        return Options.of_table(table, folder=path.parent, where=f"{path}: [broker]"), []
    except InputError as error:
        return None, list(error.faults)


def _topics(rows: object, path: Path) -> tuple[tuple[TopicRule, ...] | None, list[str]]:
    if rows is None:
        return None, []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None, [f"{path}: topic must be a list of [[topic]] tables"]
    faults, topics = [], []
    for number, row in enumerate(rows, 1):
        where = f"{path}: [[topic]] number {number}"
        known = ("filter", "codec", "sensor", "sensors")
        own = OPTIONS.get(row["codec"], ()) if isinstance(row.get("codec"), str) else ()
        faults += unknown_keys(row, (*known, *own), where=where)
        naming = row.get("sensor", ""), row.get("sensors", {})
        if not all(isinstance(row.get(key), str) and row[key] for key in ("filter", "codec")):
            faults.append(f"{where}: needs filter and codec as text")
        elif not isinstance(naming[0], str):
            faults.append(f"{where}: sensor is {naming[0]!r}, must be text with {{n}} for level n of the topic")
        elif not isinstance(naming[1], dict) or not all(isinstance(name, str) for name in naming[1].values()):
            faults.append(f"{where}: sensors is {naming[1]!r}, must be a table of text")
        else:
            try:
                options = {key: row[key] for key in own if key in row}
                topics.append(TopicRule(row["filter"], row["codec"], *naming, options))
            except InputError as error:
                faults += [f"{where}: {fault}" for fault in error.faults]
    return tuple(topics), faults


def _default_state() -> Path:
    if (_ROOT / "pyproject.toml").exists():
        return _ROOT / ".citytwin"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "citytwin"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "citytwin"


def _default_config() -> Path:
    checkout = _ROOT / "config"
    return checkout if (checkout / "city.toml").exists() else Path(__file__).parent / "config"


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of one process; see ``VARIABLES`` for what each means."""

    database_url: str | None = None
    mqtt_url: str | None = None
    config: Path = field(default_factory=_default_config)
    state: Path = field(default_factory=_default_state)
    host: str = "127.0.0.1"
    port: int = 8000
    scheduler: str | None = None
    log: str = "console"
    clock: str = "live"
    mqtt_listen: str | None = None
    city: City = field(default_factory=City)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings of an environment.

        Raises
        ------
        InputError
            For every fault at once: the variable, its value and what would be right.
        """
        faults: list[str] = []
        get = {
            name.removeprefix("CITYTWIN_").lower(): text.strip() for name, text in environment.items() if text.strip()
        }
        values: dict[str, Any] = {
            key: get[key]
            for key in ("database_url", "mqtt_url", "scheduler", "log", "clock", "mqtt_listen", "host")
            if f"CITYTWIN_{key.upper()}" in environment and key in get
        }
        for key in ("config", "state"):
            if f"CITYTWIN_{key.upper()}" in environment and key in get:
                values[key] = Path(get[key]).expanduser().absolute()
        if environment.get("CITYTWIN_PORT", "").strip():
            text = environment["CITYTWIN_PORT"].strip()
            if text.isascii() and text.isdigit() and int(text) < 65_536:
                values["port"] = int(text)
            else:
                faults.append(f"CITYTWIN_PORT is {text!r}, must be a number from 0 to 65535")
        faults += _url_faults(values)
        faults += _listen_faults(values.get("mqtt_listen"))
        try:
            CityClock.parse(values.get("clock", "live"), wall=lambda: 0.0)  # refused before anything is started
        except InputError as error:
            faults += error.faults
        if values.get("log", "console") not in ("console", "json"):
            faults.append(f"CITYTWIN_LOG is {values['log']!r}, must be 'console' or 'json'")
        if "config" in values and not values["config"].is_dir():
            faults.append(f"CITYTWIN_CONFIG is {str(values['config'])!r}, which is not a folder")
        if faults:
            raise InputError(faults)
        settings = cls(**values)
        path = settings.config / "city.toml"
        return cls(**values, city=City.read(path) if path.exists() else City())


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each ``CITYTWIN_`` variable that nobody reads; a warning, since others may use the prefix.

    Examples
    --------
    >>> unknown_variables({"CITYTWIN_PROT": "1"})
    ["CITYTWIN_PROT: is not read, did you mean 'CITYTWIN_PORT'?"]
    """
    return [
        f"{name}: is not read, {nearest(name, VARIABLES)}"
        for name in sorted(environment)
        if name.startswith("CITYTWIN_") and name not in VARIABLES
    ]


def _url_faults(values: Mapping[str, Any]) -> list[str]:
    faults = []
    url = values.get("database_url", "postgresql://")
    if not url.startswith(("postgresql://", "postgres://")):
        faults.append(f"CITYTWIN_DATABASE_URL is {masked(url)!r}, must start with postgresql://")
    url = values.get("mqtt_url", "mqtt://localhost")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("mqtt", "mqtts") and bool(parts.hostname) and (parts.port or 1883) > 0
    except ValueError:
        good = False
    if not good:
        faults.append(f"CITYTWIN_MQTT_URL is {masked(url)!r}, must be mqtt://[user:password@]host:port or mqtts://...")
    return faults


def _listen_faults(text: str | None) -> list[str]:
    """Return what is wrong with the embedded broker's address; that it may not leave this machine the broker says."""
    if text is None:
        return []
    host, _, port = text.rpartition(":")
    if host and port.isascii() and port.isdigit() and int(port) < 65_536:
        return []
    return [f"CITYTWIN_MQTT_LISTEN is {text!r}, must be host:port such as 127.0.0.1:1883, with port 0 for a free one"]


def masked(url: str) -> str:
    """Return a URL that may be printed: without what stands between the user and the host."""
    head, at, tail = url.rpartition("@")
    if not at:
        return url
    scheme, slashes, user = head.rpartition("//")
    return f"{scheme}{slashes}{user.partition(':')[0]}:***@{tail}"
