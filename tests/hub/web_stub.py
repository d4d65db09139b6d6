"""A stub hub for the cockpit: serves the contract with a made-up city, and can be told to misbehave.

``python web_stub.py --port 0 --links 900`` prints its address. Tests steer it through ``POST /stub/...``.
"""

import argparse
import asyncio
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from web_stub_city import StubCity

STATIC = Path(__file__).parents[2] / "hub" / "static"
# What a careful hub would send: everything from itself, no inline script.
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; style-src 'self'; "
    "frame-ancestors 'none'; base-uri 'self'"
)
EVIL = "<img src=x onerror=\"document.title='hacked'\">"


def rfc3339(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Stub:
    """The state behind the stub's routes."""

    def __init__(self, links: int, factor: float) -> None:
        self.city = StubCity(side=max(3, round(((links / 4) ** 0.5) + 0.5)))
        self.factor = factor
        self.started = time.time()
        self.sequence = 0
        self.frozen = False  # it goes on saying hello, the city's time stands
        self.mute = False  # the socket stays open and says nothing
        self.sockets: set[WebSocket] = set()
        self.runs: dict[str, float] = {}
        self.alerts: dict[str, dict[str, Any]] = {}
        self.refuse_until = 0.0
        self.stopped_at = 0.0
        self.reset()

    def reset(self) -> None:
        """Back to the first picture and the first alerts; sockets and runs stay."""
        self.frozen = self.mute = False
        self.faults: dict[str, dict[str, Any]] = {}
        self.equipment: list[dict[str, str]] = []
        self.out: list[dict[str, Any]] = []
        self.places: list[dict[str, Any]] = []
        self.suspects: list[dict[str, Any]] = []
        self.refuse_until = self.stopped_at = 0.0
        self.city.fixed = {}
        self.alerts.clear()
        for k, (severity, en, zh) in enumerate(ALERTS):
            self.add_alert(f"a{k}", severity, en, zh, position=7 + 31 * k % self.city.n_links, age_s=240 + 400 * k)
        self.alerts["a3"].update(
            handling="acknowledged",
            acknowledged={"by": "Li Wei", "at": rfc3339(self.now() - 60), "comment": None},
        )
        self.alerts["a5"].update(state="resolved", resolved_at=rfc3339(self.now() - 120))

    def now(self) -> float:
        return self.stopped_at or self.started + self.factor * (time.time() - self.started)

    def add_alert(self, key: str, severity: int, en: str, zh: str, *, position: int, age_s: float) -> dict[str, Any]:
        city = self.city
        x, y = city.shapes[position][1]
        lon, lat = city.lonlat(x, y)
        since = rfc3339(self.now() - age_s)
        self.alerts[key] = {
            "id": key,
            "rule": en,
            "severity": severity,
            "state": "firing",
            "handling": "new",
            "on": "link",
            "subject": city.link_ids[position],
            "link_id": city.link_ids[position],
            "lon": lon,
            "lat": lat,
            "since": since,
            "updated": since,
            "resolved_at": None,
            "summary": {"en": en, "zh": zh},
            "where": {
                "en": f"{city.names_en[position] or 'Link'} {city.link_ids[position]}",
                "zh": f"{city.names_zh[position] or '路段'} {city.link_ids[position]}",
            },
            "labels": {"department": "traffic-police"},
            "evidence": {"link_id": city.link_ids[position], "speed_kmh": 8.2, "density_veh_km": 96.0, "readings": []},
            "acknowledged": None,
        }
        return self.alerts[key]

    def header(self, kind: int) -> bytes:
        return b"CTF1" + struct.pack("<B3xIIdd", kind, self.sequence, self.city.n_links, self.now(), time.time())

    def full_frame(self) -> bytes:
        return self.header(0) + self.city.ratio.tobytes() + self.city.source.tobytes()

    def delta_frame(self, index: np.ndarray) -> bytes:
        head = self.header(1) + struct.pack("<I", len(index))
        return (
            head + index.astype("<u4").tobytes() + self.city.ratio[index].tobytes() + self.city.source[index].tobytes()
        )

    async def say(self, message: bytes | dict[str, Any]) -> None:
        if self.mute:
            return
        for socket_ in list(self.sockets):
            try:
                if isinstance(message, bytes):
                    await socket_.send_bytes(message)
                else:
                    await socket_.send_json(message)
            except (WebSocketDisconnect, RuntimeError):  # it went away while we spoke
                self.sockets.discard(socket_)

    async def live(self) -> None:
        """A frame a second: changes, and the whole every ten."""
        while True:
            await asyncio.sleep(1)
            before = self.city.ratio.copy()
            if self.frozen:  # as the hub does when a replay has ended
                await self.say({"type": "hello", "network_sha256": f"stub-{self.city.side}"})
                continue
            self.sequence += 1
            self.city.tick(self.now())
            if self.sequence % 10 == 0:
                await self.say(self.full_frame())
            else:
                await self.say(self.delta_frame(np.flatnonzero(self.city.ratio != before)))
            if self.sequence % 5 == 0:
                await self.say({"type": "summary", "summary": self.summary()})

    def summary(self) -> dict[str, Any]:
        known = self.city.ratio[self.city.ratio < 255] / 250
        return {
            "time": rfc3339(self.now()),
            "speed_ratio": float(known.mean()),
            "congested_km": float((known < 0.4).sum() * 0.33),
            "delay_veh_h_per_h": float((1 - known).sum() * 4.1),
            "sensors_reporting": 1204,
            "sensors_total": 1231,
            "estimate_error": {"speed_kmh_mae": 3.4, "flow_veh_h_mae": 88.0},
            "typical": None,
        }

    def link(self, link_id: str) -> dict[str, Any]:
        city = self.city
        position = city.link_ids.index(link_id)
        free = (80, 60, 50, 40)[city.link_class[position]]
        known = city.ratio[position] != 255
        speed = free * float(city.ratio[position]) / 250 if known else None
        source = ["guessed", "estimated", "measured"][city.source[position]]
        now = self.now()
        times = [now - 60 * (90 - k) for k in range(91)]
        trend = [free * (0.9 - 0.4 * np.exp(-(((k - 60) / 22) ** 2)) + 0.03 * np.sin(k * 1.3)) for k in range(91)]
        return {
            "link_id": link_id,
            "name": {"en": city.names_en[position], "zh": city.names_zh[position]},
            "length_m": 331.0,
            "lanes": 2,
            "free_speed_kmh": free,
            "capacity_veh_h": 3600.0,
            "assumed": ["lanes", "capacity"],
            "state": {
                "time": rfc3339(now),
                "speed_kmh": speed,
                "speed_sd_kmh": 2.1 if source == "measured" else 6.4,
                "flow_veh_h": 942.0,
                "flow_sd_veh_h": 60.0,
                "speed_low_kmh": None if speed is None else speed - 7.0,
                "speed_high_kmh": None if speed is None else speed + 4.0,
                "flow_low_veh_h": 840.0,
                "flow_high_veh_h": 1050.0,
                "density_veh_km": 27.7,
                "source": source,
                "measured_at": rfc3339(now - 12) if source == "measured" else None,
                "probe_vehicles": 2.7 if source == "measured" else 0.0,
            },
            "equipment": [sentence["en"] for sentence in self.equipment],
            "equipment_zh": [sentence["zh"] for sentence in self.equipment],
            "sensors": [
                {
                    "sensor_id": f"D-{position:04d}-{lane}",
                    "kind": "detector",
                    "quantities": ["speed_kmh", "flow_veh_h", "occupancy"],
                    "last_time": rfc3339(now - 12) if lane < 2 else rfc3339(now - 900),
                    "silent": lane == 2,
                    "stuck": False,
                    "dark": False,
                    "because": "",
                    "because_zh": "",
                    "suspected": None,
                    "reason": None,
                    "suspected_since": None,
                    "values": {"speed_kmh": speed, "flow_veh_h": 471.0, "occupancy": 0.123},
                    **self.faults.get(f"D-{position:04d}-{lane}", {}),
                }
                for lane in (1, 2)
                if source == "measured"
            ],
            "history": {
                "time": [rfc3339(t) for t in times],
                "speed_kmh": [float(v) if not 20 < k < 24 else None for k, v in enumerate(trend)],
                "speed_low_kmh": [float(v) - (3.0 if k % 40 < 25 else 9.0) for k, v in enumerate(trend)],
                "speed_high_kmh": [float(v) + (3.0 if k % 40 < 25 else 9.0) for k, v in enumerate(trend)],
                "flow_veh_h": [900.0] * 91,
                "source": ["measured" if k % 40 < 25 else "estimated" for k in range(91)],
            },
            "truth": {"speed_kmh": (speed or 20.0) - 1.3, "flow_veh_h": 951.0},
        }

    def place(self, theme: str, sensor_id: str, east_m: float, north_m: float, **fields: Any) -> dict[str, Any]:
        """Return a place as the hub shows it; ``fields`` replace what is ordinary."""
        lon, lat = self.city.lonlat(east_m, north_m)
        ordinary = {
            **dict.fromkeys(("owner", "asset_id", "zone_id", "link_id", "because", "because_zh", "name_zh"), ""),
            **dict.fromkeys(("silent", "stuck", "dark"), False),
            **{"kind": "air_station", "on": "station", "name": sensor_id, "lon_lat": [lon, lat]},
            **{"full_share": None, "level": 0, "time": rfc3339(self.now() - 40), "age_s": 40.0},
        }
        return {"theme": theme, "sensor_id": sensor_id, "values": [], **ordinary, **fields}

    def outage(self) -> dict[str, Any]:
        states = [asset["state"] for asset in self.out]
        counts = {state: states.count(state) for state in ("failed", "dark", "unheard", "on_battery")}
        return {"counts": counts, "dark_sensors": 3 if self.out else 0, "assets": self.out[:200]}

    def run(self, run_id: str) -> dict[str, Any]:
        share = min(1.0, (time.time() - self.runs[run_id]) / 1.5)
        answer: dict[str, Any] = {"run_id": run_id, "state": "running" if share < 1 else "done", "progress": share}
        if share < 1:
            return answer
        middles = np.array([shape[1] for shape in self.city.shapes])
        closed = int(run_id.split("-")[1])
        away = np.hypot(*(middles - middles[closed]).T)
        change = 9 * np.exp(-((away / 500) ** 2)) * np.where(np.arange(self.city.n_links) % 3 == 0, -0.3, 1)
        change[closed] = 9

        def result(spent: float, delay: float, arrived: int) -> dict[str, Any]:
            return {"total_time_spent_veh_h": spent, "total_delay_veh_h": delay, "arrived": arrived}

        return answer | {
            "name": f"close {self.city.link_ids[closed]}",
            "basis": {"en": "typical day, one run, no interval", "zh": "典型日，单次运行，无区间"},
            "baseline": result(6120.4, 812.0, 41_800),
            "scenario": result(6211.9, 901.3, 41_760),
            "difference": {"total_time_spent_veh_h": 91.5, "total_delay_veh_h": 89.3, "arrived": -40},
            "links": {"link_ids": self.city.link_ids, "delay_change_veh_h": change.tolist()},
        }


ALERTS = [
    (2, "Speed far below free flow for 10 min", "速度低于自由流 10 分钟"),
    (1, "Flow stopped, queue spills back", "车流停滞，排队外溢"),
    (3, "Detector disagrees with its neighbours", "检测器与相邻不一致"),
    (2, "Queue longer than the link", "排队超过路段长度"),
    (4, "Detector silent for 10 min", "检测器 10 分钟无数据"),
    (2, "Congestion on the ring road", "环路拥堵"),
    (4, f"Detector stuck {EVIL}", f"检测器数值不变 {EVIL}"),
]


def build(stub: Stub) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(stub.live())
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        if time.time() < stub.refuse_until and not request.url.path.startswith("/stub"):
            return JSONResponse({"title": "away", "detail": "the hub is starting"}, 503)
        response: Response = await call_next(request)
        response.headers["content-security-policy"] = POLICY
        return response

    api = "/api/v1"
    app.get(f"{api}/network")(lambda: stub.city.network())
    app.get(f"{api}/network/base")(lambda: stub.city.base())
    app.get(f"{api}/network/geometry")(lambda: Response(stub.city.geometry(), media_type="application/octet-stream"))
    app.get(f"{api}/alerts")(lambda: {"alerts": list(stub.alerts.values())})

    app.get(f"{api}/outage")(lambda: stub.outage())
    app.get(f"{api}/places")(lambda: {"places": [stub.place(**place) for place in stub.places]})

    @app.get(f"{api}/suspects")
    def suspects() -> dict[str, Any]:
        codes = [row["code"] for row in stub.suspects]
        return {"counts": {code: codes.count(code) for code in codes}, "suspects": stub.suspects}

    @app.get(f"{api}/links/{{link_id}}")
    def link(link_id: str) -> dict[str, Any]:
        if link_id not in stub.city.link_ids:
            raise HTTPException(404, f"no link {link_id}")
        return stub.link(link_id)

    @app.post(f"{api}/alerts/{{key}}/acknowledge")
    async def acknowledge(key: str) -> dict[str, Any]:
        now = rfc3339(stub.now())
        stub.alerts[key].update(
            handling="acknowledged", updated=now, acknowledged={"by": "operator", "at": now, "comment": None}
        )
        await stub.say({"type": "alert", "alert": stub.alerts[key]})
        return stub.alerts[key]

    @app.post(f"{api}/scenarios", status_code=202)
    async def scenario(request: Request) -> dict[str, str]:
        closed = (await request.json())["close"][0]["links"][0]
        run_id = f"run-{stub.city.link_ids.index(closed)}-{len(stub.runs)}"
        stub.runs[run_id] = time.time()
        return {"run_id": run_id}

    @app.get(f"{api}/runs/{{run_id}}")
    def run(run_id: str) -> dict[str, Any]:
        if run_id not in stub.runs:
            raise HTTPException(404, f"no run {run_id}")
        return stub.run(run_id)

    @app.websocket(f"{api}/live")
    async def live(socket_: WebSocket) -> None:
        if time.time() < stub.refuse_until:
            await socket_.close()
            return
        await socket_.accept()
        await socket_.send_json({"type": "hello", "network_sha256": f"stub-{stub.city.side}"})
        await socket_.send_bytes(stub.full_frame())
        await socket_.send_json({"type": "summary", "summary": stub.summary()})
        stub.sockets.add(socket_)
        try:
            while True:
                await socket_.receive()
        except (WebSocketDisconnect, RuntimeError):
            stub.sockets.discard(socket_)

    @app.post("/stub/steer")
    async def steer(request: Request) -> dict[str, Any]:
        """Do what a test wishes.

        Fields: reset, burst (frames at once), frozen, mute, refuse_s, clear, fixed {link_id: byte},
        alert {id, severity, en, zh, link_id}, faults {sensor_id: fields}, equipment [{en, zh}] of any link,
        out [assets that do not work], places [arguments of Stub.place], suspects [rows].
        """
        wish = await request.json()
        if wish.get("reset"):
            stub.reset()
        if "frozen" in wish:
            stub.stopped_at = stub.now() if wish["frozen"] else 0.0
            stub.frozen = wish["frozen"]
        stub.mute = wish.get("mute", stub.mute)
        for _ in range(wish.get("burst", 0)):  # frames as fast as they go
            stub.sequence += 1
            await stub.say(stub.full_frame())
        if "fixed" in wish:
            stub.city.fixed = {stub.city.link_ids.index(k): v for k, v in wish["fixed"].items()}
        stub.faults = wish.get("faults", stub.faults)
        stub.equipment = wish.get("equipment", stub.equipment)
        stub.places = wish.get("places", stub.places)
        stub.suspects = wish.get("suspects", stub.suspects)
        if "out" in wish:
            stub.out = wish["out"]
            await stub.say({"type": "asset", "asset": {}})
        if wish.get("clear"):
            stub.alerts.clear()
        if "alert" in wish:
            new = wish["alert"]
            at = stub.city.link_ids.index(new["link_id"])
            alert = stub.add_alert(new["id"], new["severity"], new["en"], new["zh"], position=at, age_s=0)
            await stub.say({"type": "alert", "alert": alert})
        if "refuse_s" in wish:
            stub.refuse_until = time.time() + wish["refuse_s"]
            for socket_ in list(stub.sockets):
                await socket_.close()
            stub.sockets.clear()
        return {}

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--links", type=int, default=900)
    parser.add_argument("--factor", type=float, default=20.0)
    args = parser.parse_args()
    with socket.create_server(("127.0.0.1", args.port)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        config = uvicorn.Config(build(Stub(args.links, args.factor)), log_level="warning")
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
