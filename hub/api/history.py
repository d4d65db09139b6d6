"""Stored history: pages and steps of a series, the network at a time, profiles, gaps, zones, and all of it as a stream.

``corrected`` overlays corrections, which it does unless told otherwise; ``known_at`` leaves out what was received or
corrected later. Steps of whole five minutes come from the rollups, which follow the readings within half a minute.
"""

import threading
from collections.abc import Generator
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import StreamingResponse

from hub.app import App
from hub.show import number, parse_stamp, stamp
from ingest import queries, rollup
from ingest.rollup import Buckets
from ingest.series import LATEST_MS
from sensors import Batch, InputError

DAY_S = 86_400.0
MOST_STEPS = 100_000
EXPORTS = 2  # at once: each holds a connection to the database for as long as its reader takes
From = Annotated[str | None, Query(alias="from")]
Step = Annotated[int, Query(ge=1, le=366 * 86_400)]


def router(app: App) -> APIRouter:
    """Return the routes below ``/readings/``."""
    routes = APIRouter(tags=["history"], prefix="/readings")
    database = app.store.database
    zone = app.settings.city.timezone
    exports = threading.BoundedSemaphore(EXPORTS)

    def window(from_: str | None, until: str | None) -> tuple[float, float]:
        """Return the times of a question; without them the last day."""
        end = parse_stamp(until, name="until")
        end = app.clock.now() if end is None else end
        since = parse_stamp(from_, name="from")
        since = end - DAY_S if since is None else since
        if since >= end:
            raise InputError(f"from is {from_!r}, must be before until ({stamp(end)})")
        return since, end

    @routes.get("/latest")
    def latest() -> dict[str, Any]:
        """Return the newest reading of every series."""
        return {"readings": _rows(app.store.latest())}

    @routes.get("/page")
    def page(
        sensor_id: str,
        quantity: str,
        from_: From = None,
        until: str | None = None,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=100_000)] = 1000,
        known_at: str | None = None,
        corrected: bool = True,
    ) -> dict[str, Any]:
        """Return readings of one series by time; ``next`` is the ``after`` of the next page, null on the last one."""
        since, end = window(from_, until)
        last = parse_stamp(after, name="after")
        found = queries.page(
            database, sensor_id, quantity, since=since, until=end, limit=limit, corrected=corrected,
            after_ms=None if last is None else round(last * 1000), known_at=_known(known_at),
        )  # fmt: skip
        columns = (found.time_ms, found.value, found.quality, found.received_at)
        rows = [
            {"time": stamp(ms / 1000), "value": value, "quality": quality, "received_at": stamp(received)}
            for ms, value, quality, received in zip(*(column.tolist() for column in columns), strict=True)
        ]
        more = rows[-1]["time"] if len(rows) == limit else None
        return {"sensor_id": sensor_id, "quantity": quantity, "readings": rows, "next": more}

    @routes.get("/buckets")
    def buckets(
        sensor_id: str,
        quantity: str,
        from_: From = None,
        until: str | None = None,
        step_s: Step = rollup.STEP_S,
        known_at: str | None = None,
        corrected: bool = True,
    ) -> dict[str, Any]:
        """Return one series by steps of time: readings, mean, least and greatest."""
        since, end = window(from_, until)
        _bounded(since, end, step_s)
        if known_at is None and corrected and rollup.answers(since=since, until=end, step_s=step_s):
            found = rollup.buckets(database, sensor_id, quantity, since=since, until=end, step_s=step_s)
        else:
            found = queries.buckets(
                database, sensor_id, quantity, since=since, until=end, step_s=step_s, corrected=corrected,
                known_at=_known(known_at),
            )  # fmt: skip
        return {"sensor_id": sensor_id, "quantity": quantity, "step_s": step_s, "buckets": _steps(found)}

    @routes.get("/network")
    def network(
        at: str | None = None,
        within_s: Annotated[float, Query(gt=0, le=7 * DAY_S)] = 900.0,
        known_at: str | None = None,
        corrected: bool = True,
    ) -> dict[str, Any]:
        """Return the last reading of every series at a time, as known at another time."""
        time = parse_stamp(at, name="at")
        time = app.clock.now() if time is None else time
        found = queries.network(database, at=time, within_s=within_s, known_at=_known(known_at), corrected=corrected)
        return {"at": stamp(time), "readings": _rows(found)}

    @routes.get("/profile")
    def profile(
        sensor_id: str, quantity: str, from_: From = None, until: str | None = None, step_s: Step = 900
    ) -> dict[str, Any]:
        """Return the mean of a series by time of the week in the city's zone; ``second`` counts from Monday 00:00."""
        since, end = window(from_, until)
        if step_s % rollup.STEP_S:
            whole = f"a multiple of {rollup.STEP_S}"
            raise InputError(f"step_s is {step_s}, must be {whole}: profiles come from the rollups")
        found = rollup.week_profile(
            database, sensor_id, quantity, since=since, until=end, time_zone=zone, step_s=step_s
        )
        rows = _steps(found)
        for row, ms in zip(rows, found.time_ms.tolist(), strict=True):
            row["second"] = ms // 1000
            del row["time"]
        return {"sensor_id": sensor_id, "quantity": quantity, "time_zone": zone, "step_s": step_s, "profile": rows}

    @routes.get("/gaps")
    def gaps(
        sensor_id: str,
        quantity: str,
        longer_than_s: Annotated[float, Query(gt=0)],
        from_: From = None,
        until: str | None = None,
    ) -> dict[str, Any]:
        """Return the stretches without a reading, each from the reading before it to the one after it."""
        since, end = window(from_, until)
        found = queries.gaps(database, sensor_id, quantity, since=since, until=end, longer_than_s=longer_than_s)
        pairs = zip(found.from_ms.tolist(), found.until_ms.tolist(), strict=True)
        rows = [{"from": stamp(a / 1000), "until": stamp(b / 1000)} for a, b in pairs]
        return {"sensor_id": sensor_id, "quantity": quantity, "gaps": rows}

    @routes.get("/completeness")
    def completeness(from_: From = None, until: str | None = None) -> dict[str, Any]:
        """Return intervals received and expected of every sensor that sent anything, by day of the city's zone."""
        since, end = window(from_, until)
        found = rollup.completeness(database, since=since, until=end, time_zone=zone)
        rows = [{"sensor_id": c.sensor_id, "day": c.day, "received": c.received, "expected": c.expected} for c in found]
        return {"time_zone": zone, "days": rows}

    @routes.get("/curve")
    def curve(
        quantity: str, from_: From = None, until: str | None = None, zone_id: str | None = None
    ) -> dict[str, Any]:
        """Return the mean of a quantity over the whole network, or over one zone, by five minutes."""
        since, end = window(from_, until)
        _bounded(since, end, rollup.STEP_S)
        if zone_id is None:
            found = rollup.network_curve(database, quantity, since=since, until=end)
        else:
            found = rollup.zone_curve(database, zone_id, quantity, since=since, until=end)
        rows = [{key: row[key] for key in ("time", "n", "mean")} for row in _steps(found)]
        return {"quantity": quantity, "zone_id": zone_id, "curve": rows}

    @routes.get("/zones")
    def zones(quantity: str, from_: From = None, until: str | None = None) -> dict[str, Any]:
        """Return the mean of a quantity by zone."""
        since, end = window(from_, until)
        found = rollup.zones(database, quantity, since=since, until=end)
        rows = [{"zone_id": name, "n": n, "mean": number(mean)} for name, (n, mean) in found.items()]
        return {"quantity": quantity, "zones": rows}

    @routes.get("/export", response_class=StreamingResponse)
    def export(from_: From = None, until: str | None = None) -> StreamingResponse:
        """Return all readings of a time as CSV, by series and time, however many they are."""
        since, end = window(from_, until)
        if not exports.acquire(blocking=False):
            raise HTTPException(503, f"{EXPORTS} exports are under way, try again later", headers={"Retry-After": "60"})
        batches = queries.stream(database, since=since, until=end)
        try:
            first = next(batches, Batch())  # a fault shows before the answer begins
        except BaseException:
            exports.release()
            raise
        return StreamingResponse(
            _csv(first, batches, exports),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="readings.csv"'},
        )

    return routes


def _known(text: str | None) -> float:
    known = parse_stamp(text, name="known_at")
    return LATEST_MS / 1000 if known is None else known


def _bounded(since: float, until: float, step_s: float) -> None:
    if (until - since) / step_s > MOST_STEPS:
        raise InputError(f"from and until hold more than {MOST_STEPS} steps of {step_s} s, ask for a shorter time")


def _rows(batch: Batch) -> list[dict[str, Any]]:
    columns = (batch.time_ms.tolist(), batch.value.tolist(), batch.quality.tolist())
    return [
        {"sensor_id": sensor_id, "quantity": key, "time": stamp(ms / 1000), "value": number(value), "quality": quality}
        for sensor_id, key, ms, value, quality in zip(batch.sensor_id, batch.quantity, *columns, strict=True)
    ]


def _steps(found: Buckets) -> list[dict[str, Any]]:
    columns = (found.time_ms, found.n, found.mean, found.least, found.greatest)
    return [
        {"time": stamp(ms / 1000), "n": n, "mean": number(mean), "least": number(least), "greatest": number(greatest)}
        for ms, n, mean, least, greatest in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _csv(
    first: Batch, rest: Generator[Batch, None, None], exports: threading.BoundedSemaphore
) -> Generator[str, None, None]:
    try:
        yield "sensor_id,quantity,time,value,quality\n"
        yield _lines(first)
        for batch in rest:
            yield _lines(batch)
    finally:
        rest.close()  # its connection goes back
        exports.release()


def _lines(batch: Batch) -> str:
    quoted = {text: _quoted(text) for text in set(batch.sensor_id)}
    columns = (batch.time_ms.tolist(), batch.value.tolist(), batch.quality.tolist())
    return "".join(
        f"{quoted[sensor_id]},{key},{stamp(ms / 1000)},{value!r},{quality}\n"
        for sensor_id, key, ms, value, quality in zip(batch.sensor_id, batch.quantity, *columns, strict=True)
    )


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\r\n') else text
