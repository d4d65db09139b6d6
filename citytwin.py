"""The notebook's client of a running hub: live state, alerts, readings and what-if as DataFrames."""

import http.client
import ipaddress
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub import ports
from hub.settings import Settings
from sensors import InputError, WorkError

if TYPE_CHECKING:
    from pandas import DataFrame

    from twin import Network

__all__ = ["Hub", "WhatIf", "connect"]

ALERT_COLUMNS = (
    "id", "fingerprint", "rule", "severity", "state", "handling", "on", "subject", "link_id", "lon", "lat", "since",
    "updated", "resolved_at", "summary", "where", "labels", "evidence", "acknowledged",
)  # fmt: skip


def connect(url: str | None = None) -> "Hub":
    """Return a client of the hub that runs on this machine, or of the one at a URL.

    Parameters
    ----------
    url
        ``http://host:port``; without it, the hub of this state folder (`CITYTWIN_STATE`).

    Raises
    ------
    WorkError
        When no hub answers.
    """
    if url is None:
        state = Settings.read(os.environ).state
        url = ports.read(state).get("http")
        if url is None:
            raise WorkError(f"no hub runs on the state folder {state}: start one with 'make demo', or give its URL")
    hub = Hub(url)
    hub.get("/healthz")
    return hub


class Hub:
    """A running hub, seen from a notebook.

    Parameters
    ----------
    url
        ``http://host:port``.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(f"the hub's URL is {url!r}, must start with http:// or https://")
        self.url = url.rstrip("/")
        self._opener = _opener(self.url)

    def __repr__(self) -> str:
        return f"Hub({self.url!r})"

    def get(self, path: str, **parameters: object) -> Any:
        """Return the JSON document at a path.

        Raises
        ------
        InputError
            When the hub refuses the request, with its reason.
        WorkError
            When no hub answers.
        """
        given = {key.rstrip("_"): str(value) for key, value in parameters.items() if value is not None}
        query = f"?{urllib.parse.urlencode(given)}" if given else ""
        return self._send(urllib.request.Request(self.url + path + query))  # noqa: S310 - http by construction

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send a JSON document to a path and return the answer; raises as `get` does."""
        data = json.dumps(body).encode()
        head = {"Content-Type": "application/json"}
        return self._send(urllib.request.Request(self.url + path, data=data, headers=head, method="POST"))  # noqa: S310

    def state(self) -> "DataFrame":
        """Return the state of every link: speed, flow, density with deviation and source, by link id.

        The city time of the snapshot is in ``attrs["time"]``.
        """
        from pandas import DataFrame

        document = self.get("/api/v1/state")
        columns = {key: value for key, value in document.items() if isinstance(value, list)}
        frame = DataFrame(columns).set_index("link_ids").rename_axis("link_id")
        frame.attrs.update(time=document["time"], network_sha256=document["network_sha256"])
        return frame

    def links(self) -> "DataFrame":
        """Return the attributes of every link, by link id, with its line as ``coordinates`` (longitude, latitude)."""
        from pandas import DataFrame

        features = self.get("/api/v1/network/links")["features"]
        rows = [{**row["properties"], "coordinates": row["geometry"]["coordinates"]} for row in features]
        return DataFrame(rows).set_index("link_id")

    def alerts(self, state: str = "firing") -> "DataFrame":
        """Return alerts, ``firing``, ``resolved`` or ``all``."""
        from pandas import DataFrame

        rows = self.get("/api/v1/alerts", state=state)["alerts"]
        return DataFrame(rows, columns=None if rows else ALERT_COLUMNS)

    def sensors(self) -> "DataFrame":
        """Return every sensor with its last values, by sensor id."""
        from pandas import DataFrame

        return DataFrame(self.get("/api/v1/sensors")["sensors"]).set_index("sensor_id")

    def readings(self, sensor_id: str, *, quantity: str | None = None, limit: int = 1000) -> "DataFrame":
        """Return stored readings of a sensor, newest first."""
        from pandas import DataFrame, to_datetime

        document = self.get("/api/v1/readings", sensor_id=sensor_id, quantity=quantity, limit=limit)
        frame = DataFrame(document["readings"], columns=["time", "quantity", "value", "quality", "received_at"])
        return frame.assign(time=to_datetime(frame["time"]))

    def assets(self) -> "DataFrame":
        """Return the equipment and how each piece is, by asset id."""
        from pandas import DataFrame

        return DataFrame(self.get("/api/v1/assets")["assets"]).set_index("asset_id")

    def fail(self, asset_id: str, *, author: str, reason: str = "", since: str | None = None) -> Any:
        """Declare an asset failed, now or since an RFC 3339 time, and return how it is; raises as `get` does."""
        body = {"author": author, "reason": reason, **({"since": since} if since else {})}
        return self.post(f"/api/v1/assets/{urllib.parse.quote(asset_id, safe='')}/fail", body)

    def restore(self, asset_id: str, *, author: str, reason: str = "") -> Any:
        """Declare an asset restored and return how it is; raises as `get` does."""
        path = f"/api/v1/assets/{urllib.parse.quote(asset_id, safe='')}/restore"
        return self.post(path, {"author": author, "reason": reason})

    def network(self) -> "Network":
        """Return the network that the hub serves, read from its folder; its links are in the order of `state`.

        Raises
        ------
        WorkError
            When the folder is not on this machine, or was changed since the hub read it.
        """
        from twin import Network

        about = self.get("/api/v1/network")
        folder = about["folder"]
        if folder is None or not Path(folder).is_dir():
            raise WorkError(
                f"the network of the hub at {self.url} lies in no folder of this machine ({folder}):"
                " read a copy of it with twin.Network.read"
            )
        network = Network.read(folder)
        if network.sha256 != about["network_sha256"]:
            raise WorkError(f"the network in {folder} was changed since the hub read it: restart the hub")
        return network

    def link(self, link_id: str) -> Any:
        """Return everything the hub says about one link."""
        return self.get(f"/api/v1/links/{urllib.parse.quote(link_id, safe='')}")

    def close(self, links: Sequence[str], *, minutes: float = 30.0, horizon_minutes: float = 60.0) -> "WhatIf":
        """Return what closing links on a typical day would do; waits until both runs are done.

        Raises
        ------
        InputError
            When a link is not known.
        WorkError
            When the run fails.
        """
        body = {"close": [{"links": list(links), "until_s": minutes * 60}], "horizon_s": horizon_minutes * 60}
        run_id = self.post("/api/v1/scenarios", body)["run_id"]
        while (document := self.get(f"/api/v1/runs/{run_id}"))["state"] == "running":
            time.sleep(0.2)
        if document["state"] == "failed":
            raise WorkError(f"the what-if failed: {document['error']}")
        return WhatIf(document)

    def _send(self, request: urllib.request.Request) -> Any:
        try:
            with self._opener.open(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                body = error.read().decode("utf-8", "replace")
            try:
                detail = str(json.loads(body)["detail"])
            except (ValueError, KeyError, TypeError):
                detail = f"the hub at {self.url} answers HTTP {error.code}"
            if error.code >= 500:
                raise WorkError(detail) from None
            raise InputError(detail) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise WorkError(f"no hub answers at {self.url} ({reason}): start one with 'make demo'") from None
        except (ValueError, http.client.HTTPException):
            raise WorkError(f"what answers at {self.url} is no hub: give the URL that the hub printed") from None


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Return what opens URLs of a hub; a hub on this machine is never asked for through a proxy."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))


class WhatIf:
    """The answer to a what-if: both summaries, their difference, and the change on every link."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.basis: str = document["basis"]["en"]
        self.difference: Mapping[str, float] = document["difference"]

    def __repr__(self) -> str:
        change = self.difference["total_time_spent_veh_h"]
        return f"WhatIf({change:+.1f} vehicle-hours; {self.basis})"

    def summary(self) -> "DataFrame":
        """Return baseline and scenario side by side."""
        from pandas import DataFrame

        return DataFrame({"baseline": self.document["baseline"], "scenario": self.document["scenario"]})

    def links(self) -> "DataFrame":
        """Return the change of delay on every link in vehicle-hours, by link id."""
        from pandas import DataFrame

        return DataFrame(self.document["links"]).set_index("link_ids").rename_axis("link_id")


if __name__ == "__main__":  # `python -m citytwin` is what somebody types whose PATH has no `citytwin`
    import sys

    from hub.cli import main

    sys.exit(main())
