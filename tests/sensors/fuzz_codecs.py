"""Mutated payloads and topics through every codec, as many as are wanted: ``--examples 1000000`` takes some minutes.

Payloads are good ones of each codec and, where ``CITYTWIN_TEST_DATA`` has them, real captures; a mutation flips, cuts,
repeats or joins bytes, or puts something hostile in the place of a value. Each must become readings that can be stored,
or a named reason; the first that does not is printed and ends the run.
"""

import argparse
import gzip
import json
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sensors import QUANTITIES, PayloadError, Reason
from sensors.codecs import Decoder
from sensors.payload import TopicRule, decoder

RULES = (
    TopicRule("city/#", "citytwin"),
    TopicRule("/hfp/#", "hfp"),
    TopicRule("ngsi/#", "ngsi", options={"zone": "Europe/Madrid"}),
    TopicRule(
        "v1.1/#",
        "sensorthings",
        options={
            "streams": {"7": {"sensor": "D1", "quantity": "speed_kmh", "unit": "m/s"}},
            "multistreams": {"3": [{"sensor": "D2", "quantity": q} for q in ("speed_kmh", "count_veh")]},
        },
    ),
    TopicRule(
        "v3/#",
        "ttn",
        sensor="{4}",
        options={
            "profile": [
                {"devices": "lht*", "bytes": {"b": {"at": 5, "type": "uint16", "quantity": "voltage_v", "unit": "mV"}}},
                {"devices": "lpp*", "frame": "cayenne_lpp", "decoded": {"temperature_3": "temperature_c"}},
                {
                    "devices": "*",
                    "decoded": {"temperature": "temperature_c", "Humidity": {"quantity": "humidity", "unit": "%"}},
                },
            ]
        },
    ),
)
Seed = tuple[str, bytes]
GOOD: list[Seed] = [
    (topic, json.dumps(payload).encode())
    for topic, payload in (
        ("city/centre/D1", {"t": "2014-08-01T00:00:00Z", "flow_veh_h": 840, "speed_kmh": 31.5}),
        ("city/centre/D1", {"readings": [{"t": 1406851200000, "speed_kmh": 31.5}, {"t": 1, "occupancy": 0.1}]}),
        (
            "/hfp/v1/journey/ongoing/bus/0018/00640",
            {"VP": {"tst": "2018-10-09T04:32:52Z", "spd": 1.5, "hdg": 3, "lat": 60, "long": 25}},
        ),
        (
            "ngsi/x",
            {
                "id": "T",
                "type": "TrafficFlowObserved",
                "dateObserved": "2014-08-01T00:00:00Z",
                "occupancy": 0.5,
                "intensity": {"value": 5, "metadata": {"unitCode": {"value": "C62"}}},
            },
        ),
        (
            "ngsi/x",
            {
                "subscriptionId": "s",
                "data": [
                    {
                        "id": "A",
                        "type": "AirQualityObserved",
                        "no2": {"value": 4, "unitCode": "GQ"},
                        "dateObserved": {"value": {"@value": "2014-08-01T00:00:00Z"}},
                    }
                ],
            },
        ),
        ("v1.1/Datastreams(7)/Observations", {"phenomenonTime": "2014-08-01T00:00:00Z", "result": 10}),
        (
            "v1.1/CreateObservations",
            [
                {
                    "Datastream": {"@iot.id": 7},
                    "components": ["phenomenonTime", "result"],
                    "dataArray": [["2014-08-01T00:00:00Z", 10], ["2014-08-01T00:05:00Z", 11]],
                },
                {"Datastream": {"@iot.id": 7}, "phenomenonTime": "2014-08-01T00:10:00Z", "result": 12},
            ],
        ),
        ("v1.1/MultiDatastreams(3)/Observations", {"phenomenonTime": "2014-08-01T00:00:00Z", "result": [10, 20]}),
        (
            "v1.1/Observations",
            {
                "resultTime": "2014-08-01T00:00:00Z",
                "result": 1,
                "Datastream": {
                    "@iot.id": 8,
                    "ObservedProperty": {"name": "temperature_c"},
                    "unitOfMeasurement": {"symbol": "K"},
                    "Thing": {"name": "W1"},
                },
            },
        ),
        (
            "v3/a@t/devices/lpp-1/up",
            {
                "end_device_ids": {"device_id": "lpp-1"},
                "uplink_message": {"f_port": 2, "frm_payload": "A2cBEA==", "received_at": "2022-08-29T08:54:11.97Z"},
            },
        ),
    )
]
HOSTILE = [
    b"NaN", b"-Infinity", b"Infinity", b"1e999", b"-1e308", b"1" * 400, b'"12"', b'"NaN"', b"null", b"true", b"[]",
    b"{}", b'""', b"[" * 300 + b"]" * 300, b'{"a":' * 300 + b"1" + b"}" * 300, b"\xff\xfe", b'"\xed\xa0\x80"',
    b'"\\ud800"', b'"\\u0000"', b"0", b"-0.0", b"1e-320", b'"1970-01-01T00:00:00Z"', b'"294000-01-01T00:00:00Z"',
    b"9214646400000000", b'"0001-01-01T00:00:00+23:59"', b'"9999-12-31T23:59:59-23:59"', b'"furlong"',
    b'{"value": NaN, "unitCode": "GP"}', b'"2014-08-01T00:00:00Z/"', b'"/"', b'{"value": [1]}', b"\xef\xbb\xbf",
    b"9" * 5000, b'{"@value": 1}',
]  # fmt: skip
TOPIC_PARTS = ["", "/", "$SYS", "#", "+", "\0", "\ud800", "温度", "a" * 300, "Datastreams()", "Datastreams('7')", "v2"]
_KEY = re.compile(rb'"([^"\\]+)"\s*:')
_VALUE = re.compile(rb'(?<=[:,\[])\s*("(?:[^"\\]|\\.)*"|-?[\d.eE+-]+|null|true|false)')


def captures(folder: Path | None) -> Iterator[Seed]:
    """Yield the real messages of the shared data."""
    if folder is None or not folder.is_dir():
        return
    with gzip.open(folder / "hsl_hfp_20181009T0432Z_first3000.txt.gz", "rt", encoding="utf-8") as file:
        for line in file:
            head, _, body = line.rstrip("\n").partition(" {")
            yield head.split(" ", 1)[1], b"{" + body.encode()
    for path in sorted(folder.glob("hsl_single/*.json")):
        yield "/hfp/v1/journey/ongoing/bus/0018/00640", path.read_bytes()
    for path in sorted(folder.glob("smart_data_models/*.json")):
        yield "ngsi/x", path.read_bytes()
    for line in (folder / "ttn_v3_uplinks_sanitised.jsonl").read_text("utf-8").splitlines():
        message = json.loads(line)
        yield message["topic"].replace("<", "").replace(">", ""), json.dumps(message["payload"]).encode()


def mutated(payload: bytes, rng: random.Random, other: bytes) -> bytes:
    """Return a payload with one to four things wrong."""
    kinds = (
        5 if rng.random() < 0.3 else 1
    )  # broken bytes seldom leave JSON behind: most payloads have wrong values only
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(payload) + 1)
        match rng.randrange(kinds):
            case 4:
                payload = payload[:at] + rng.randbytes(rng.randint(1, 4)) + payload[at + rng.randint(0, 4) :]
            case 5:
                payload = payload[:at]
            case 2:
                payload = payload[:at] + payload[rng.randrange(at + 1) :][:2000]
            case 3:
                payload = payload[:at] + other[rng.randrange(len(other) + 1) :]
            case 0:
                keys = list(_KEY.finditer(payload[:4000]))
                names = _KEY.findall(other[:4000])
                if keys and names:
                    place = rng.choice(keys)
                    payload = payload[: place.start(1)] + rng.choice(names) + payload[place.end(1) :]
            case _:
                found = list(_VALUE.finditer(payload[:4000]))
                if found:
                    place = rng.choice(found)
                    payload = payload[: place.start(1)] + rng.choice(HOSTILE) + payload[place.end(1) :]
    return payload


def mutated_topic(topic: str, rng: random.Random) -> str:
    """Return a topic of which one level is another, or all of it is."""
    levels = topic.split("/")
    levels[rng.randrange(len(levels))] = rng.choice(TOPIC_PARTS)
    return "/".join(levels)


def outcome(decode: Decoder, topic: str, payload: bytes) -> str:
    """Return what became of a payload, by name; AssertionError when that is not what a codec may do."""
    try:
        readings, rejected = decode(topic, payload)
    except PayloadError as error:
        return str(Reason(error.reason))
    assert readings or rejected, "neither a reading nor a reason"
    for reading in readings:
        assert abs(round(reading.value * QUANTITIES[reading.quantity].scale)) < 2**63
        assert type(reading.value) is float
        assert type(reading.time_ms) is int
        assert 0 < len(reading.sensor_id.encode()) <= 512
        assert "\0" not in reading.sensor_id
    assert all(isinstance(entry.reason, Reason) and entry.detail.isprintable() for entry in rejected)
    return "part of it stored" if readings and rejected else "stored" if readings else str(rejected[0].reason)


def main() -> int:
    """Run as many examples as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    data = os.environ.get("CITYTWIN_TEST_DATA")
    rng = random.Random(args.seed)
    groups = [GOOD]
    if real := list(captures(Path(data) / "mqtt" if data else None)):
        groups += [[seed for seed in real if seed[0].startswith("/hfp")], [seed for seed in real if seed[0][0] != "/"]]
    decode = decoder(RULES)
    counts: Counter[str] = Counter()
    slowest = 0.0
    begun = time.process_time()
    for _ in range(args.examples):
        topic, payload = rng.choice(rng.choice(groups))
        payload = mutated(payload, rng, rng.choice(rng.choice(groups))[1])
        if rng.random() < 0.1:
            topic = mutated_topic(topic, rng)
        started = time.process_time()
        try:
            counts[outcome(decode, topic, payload)] += 1
        except Exception:
            print(f"topic {topic!r}\npayload {payload!r}", file=sys.stderr)
            raise
        slowest = max(slowest, time.process_time() - started)
    for name, count in counts.most_common():
        print(f"{count:9,}  {name}")
    spent = time.process_time() - begun
    print(f"{sum(counts.values()):9,}  in all, {spent:.0f} s of CPU, the slowest {slowest * 1e3:.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
