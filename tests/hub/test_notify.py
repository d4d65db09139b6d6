"""Telling people: at least once, with receipts, through failures and restarts, and never in the twin's way."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from hub.alert import Alert, AlertEvent, event_of
from hub.notify import Notifier, Patience, untold
from hub.receivers import MqttTopic, RefusedError, Webhook, alertmanager
from ingest.publisher import Publisher
from sensors import InputError, WorkError

QUICK = Patience(first_retry_s=0.005, longest_retry_s=0.02, maximum_age_s=30.0)


def event(number: int = 1, *, state: str = "firing", rule: str = "queue spills back") -> AlertEvent:
    resolved = state == "resolved"
    alert = Alert(
        alert_id=f"a{number}",
        fingerprint=f"{number:016x}",
        rule=rule,
        severity=2,
        on="link",
        subject=f"L{number}",
        labels={"department": "traffic-police"},
        state="resolved" if resolved else "firing",
        since=1_700_000_000.0,
        updated=1_700_000_060.0,
        resolved_at=1_700_000_120.0 if resolved else None,
        place={"link_id": f"L{number}", "lon": 120.0, "lat": 30.0, "where": {"en": "Long Street", "zh": "长街"}},
        summary={"en": "slow", "zh": "慢"},
    )
    return event_of(alert, state, time=alert.updated, recorded_at=time.time())


class Answers:
    """A webhook that gives the listed status codes one after the other, then 200."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.bodies: list[dict[str, Any]] = []
        self.taken: list[dict[str, Any]] = []
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answers.bodies.append(body)
                code = answers.codes.pop(0) if answers.codes else 200
                if code == 0:  # the connection breaks without an answer
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                if code == 200:
                    answers.taken.append(body)
                self.send_response(code)
                if 300 <= code < 400:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/alerts?key=1"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def answers() -> Iterator[Callable[..., Answers]]:
    servers: list[Answers] = []

    def start(*codes: int) -> Answers:
        servers.append(Answers(*codes))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


class Ear:
    """A receiver in memory that fails as often as it is told."""

    def __init__(self, name: str = "ear", *, fails: int = 0, refuses: bool = False) -> None:
        self.name, self.fails, self.refuses = name, fails, refuses
        self.heard: list[str] = []
        self.tries = 0
        self.gate = threading.Event()
        self.gate.set()

    def send(self, event: AlertEvent) -> None:
        self.gate.wait(20)
        self.tries += 1
        if self.refuses:
            raise RefusedError("never")
        if self.fails:
            self.fails -= 1
            raise WorkError("not now")
        self.heard.append(f"{event.alert_id} {event.event}")


def adds_up(notifier: Notifier) -> bool:
    return all(
        c.taken == c.delivered + c.dead + sum(c.suppressed.values()) + c.waiting for c in notifier.counts().values()
    )


@pytest.fixture
def running() -> Iterator[Callable[..., tuple[Notifier, list[AlertEvent]]]]:
    made: list[Notifier] = []

    def start(*receivers: Any, rows: Any = (), patience: Patience = QUICK) -> tuple[Notifier, list[AlertEvent]]:
        receipts: list[AlertEvent] = []
        notifier = Notifier(receivers, on_receipt=receipts.append, patience=patience)
        made.append(notifier)
        notifier.start(rows)
        return notifier, receipts

    yield start
    for notifier in made:
        notifier.stop()


def test_a_webhook_that_fails_first_is_told_in_the_end_and_in_order(answers: Any, running: Any) -> None:
    server = answers(500, 503, 429, 0)
    notifier, receipts = running(Webhook(server.url))
    for number in (1, 2, 3):
        notifier.push(event(number))
    notifier.push(event(1, state="resolved"))
    assert notifier.settled(timeout_s=20)
    told = [(body["alerts"][0]["annotations"]["alert_id"], body["status"]) for body in server.taken]
    assert told == [("a1", "firing"), ("a2", "firing"), ("a3", "firing"), ("a1", "resolved")]
    assert [(r.event, r.alert_id, r.payload["of"], r.payload["delivered"]) for r in receipts] == [
        ("notified", "a1", "firing", True),
        ("notified", "a2", "firing", True),
        ("notified", "a3", "firing", True),
        ("notified", "a1", "resolved", True),
    ]
    assert receipts[0].payload["attempts"] == 5
    counts = notifier.counts()["webhook"]
    assert (counts.taken, counts.delivered, counts.retries) == (4, 4, 4)
    assert adds_up(notifier)


@pytest.mark.parametrize("code", [400, 404, 410, 302])
def test_what_a_webhook_refuses_for_good_is_a_dead_letter_and_the_next_is_told(
    answers: Any, running: Any, code: int
) -> None:
    server = answers(code)
    notifier, receipts = running(Webhook(server.url))
    notifier.push(event(1))
    notifier.push(event(2))
    assert notifier.settled(timeout_s=20)
    assert len(server.bodies) == 2
    assert [r.payload["delivered"] for r in receipts] == [False, True]
    assert str(code) in receipts[0].comment
    assert notifier.counts()["webhook"].dead == 1
    assert adds_up(notifier)


def test_a_webhook_that_nobody_serves_fails_with_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        with pytest.raises(WorkError, match="cannot be reached"):
            Webhook(url).send(event())
    for url in ("ftp://x/", "file:///etc/passwd", "http://", "x"):
        with pytest.raises(InputError, match="must start with http"):
            Webhook(url)


def test_an_alert_that_grows_too_old_is_a_dead_letter(running: Any) -> None:
    ear = Ear(fails=10**9)
    notifier, receipts = running(ear, patience=Patience(0.002, 0.004, maximum_age_s=0.05))
    notifier.push(event(1))
    assert notifier.settled(timeout_s=20)
    assert [r.payload["delivered"] for r in receipts] == [False]
    assert receipts[0].comment == "not now"
    assert receipts[0].payload["attempts"] > 1
    assert adds_up(notifier)


def test_a_receiver_that_hangs_delays_neither_the_caller_nor_the_others(running: Any) -> None:
    hung, free = Ear("hung"), Ear("free")
    hung.gate.clear()
    notifier, _ = running(hung, free, patience=Patience(capacity=5))
    for number in range(100):
        notifier.push(event(number))  # returns although nobody listens
    deadline = time.monotonic() + 20
    while len(free.heard) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    counts = notifier.counts()["hung"]
    assert counts.waiting == 5
    assert counts.suppressed == {"queue_full": 95}
    assert adds_up(notifier)
    hung.gate.set()
    assert notifier.settled(timeout_s=20)
    assert hung.heard[0] == "a0 firing"  # it was on its way
    assert hung.heard[1:] == [f"a{number} firing" for number in range(96, 100)]
    assert adds_up(notifier)


def test_only_firing_and_resolved_are_told(running: Any) -> None:
    ear = Ear()
    notifier, _ = running(ear)
    for state in ("pending", "inactive", "acknowledged", "notified"):
        notifier.push(event(1, state=state))
    notifier.push(event(2))
    assert notifier.settled(timeout_s=20)
    assert ear.heard == ["a2 firing"]
    assert notifier.counts()["ear"].taken == 1


def test_after_a_restart_exactly_what_has_no_receipt_is_told(running: Any) -> None:
    rows: list[AlertEvent] = [event(1), event(2), event(1, state="resolved")]
    ear = Ear("ear")
    first, receipts = running(ear, Ear("other"))
    first.push(rows[0])
    assert first.settled(timeout_s=20)
    first.stop()
    rows += receipts
    assert [(e.alert_id, e.event) for e in untold(rows, "ear")] == [("a2", "firing"), ("a1", "resolved")]
    later, new = Ear("ear"), Ear("new")
    stored = [{**row.to_row(), "payload": json.dumps(row.payload)} for row in rows]
    second, more = running(later, new, rows=stored)
    assert second.settled(timeout_s=20)
    assert later.heard == ["a2 firing", "a1 resolved"]
    assert new.heard == ["a1 firing", "a2 firing", "a1 resolved"]
    assert untold([*rows, *more], "ear") == []


def test_what_is_too_old_to_help_is_not_told_after_a_restart(running: Any) -> None:
    ear = Ear()
    old = event(1)
    old = AlertEvent(**{**{n: getattr(old, n) for n in old.__slots__}, "recorded_at": time.time() - 3601})
    notifier, _ = running(ear, rows=[old, event(2)], patience=Patience(maximum_age_s=3600))
    assert notifier.settled(timeout_s=20)
    assert ear.heard == ["a2 firing"]


def test_stopping_leaves_what_waits_without_a_receipt(running: Any) -> None:
    ear = Ear(fails=10**9)
    notifier, receipts = running(ear)
    notifier.push(event(1))
    deadline = time.monotonic() + 20
    while not ear.tries and time.monotonic() < deadline:
        time.sleep(0.001)
    notifier.stop()
    assert receipts == []
    assert notifier.counts()["ear"].waiting == 1


def test_two_receivers_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="different names"):
        Notifier([Ear("a"), Ear("a")], on_receipt=lambda receipt: None)


def test_counts_are_shown_to_prometheus(running: Any) -> None:
    notifier, _ = running(Ear(refuses=True))
    notifier.push(event(1))
    assert notifier.settled(timeout_s=20)
    text = notifier.as_prometheus()
    assert 'citytwin_notifications_total{receiver="ear",result="dead"} 1' in text
    assert 'citytwin_notifications_waiting{receiver="ear"} 0' in text
    for line in text.splitlines():
        assert line.startswith("# TYPE ") or re.fullmatch(r'\w+\{(\w+="\w+",?)+\} \d+', line)


def test_the_webhooks_message_has_the_fields_and_types_of_alertmanagers_version_4() -> None:
    """Field names and types of ``template.Data`` and ``webhook.Message`` in Alertmanager 0.27."""
    text_map = {"groupLabels", "commonLabels", "commonAnnotations"}
    for state in ("firing", "resolved"):
        message = json.loads(json.dumps(alertmanager(event(state=state), receiver="r", external_url="http://hub")))
        assert set(message) == {
            "version",
            "groupKey",
            "truncatedAlerts",
            "status",
            "receiver",
            "externalURL",
            "alerts",
            *text_map,
        }
        assert (message["version"], message["truncatedAlerts"], message["status"]) == ("4", 0, state)
        (alert,) = message["alerts"]
        assert set(alert) == {"status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"}
        for texts in (*(message[key] for key in text_map), alert["labels"], alert["annotations"]):
            assert all(isinstance(value, str) for value in texts.values())
            assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", key) for key in texts)
        stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
        assert re.fullmatch(stamp, alert["startsAt"])
        assert re.fullmatch(stamp, alert["endsAt"])
        assert alert["endsAt"].startswith("0001") == (state == "firing")
        assert alert["labels"]["alertname"] == "queue spills back"
        assert alert["annotations"]["summary_zh"] == "慢"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[[], str]]:
    program = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if program is None:
        pytest.skip("NO MOSQUITTO: install mosquitto to test against a real broker")
    port = _free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    running: list[subprocess.Popen[bytes]] = []

    def start() -> str:
        running.append(subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return f"mqtt://127.0.0.1:{port}"
            time.sleep(0.01)
        raise AssertionError("mosquitto did not start")

    start.port = port  # type: ignore[attr-defined]
    yield start
    for process in running:
        process.terminate()
        process.wait(10)


def test_alerts_come_on_the_hubs_topic_even_when_the_broker_comes_late(mosquitto: Any, running: Any) -> None:
    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    publisher = Publisher(url, client_id="hub-alerts", first_connect_s=0)
    topic = MqttTopic(publisher, base="hub/alerts", district="old town/1", patience_s=0.05)
    notifier, receipts = running(topic)
    notifier.push(event(1))
    deadline = time.monotonic() + 20
    while not notifier.counts()["mqtt"].retries and time.monotonic() < deadline:
        time.sleep(0.001)
    assert receipts == []  # no broker, no receipt
    heard: list[tuple[str, dict[str, Any]]] = []
    listener = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
    subscribed = threading.Event()
    listener.on_connect = lambda client, *_: client.subscribe("hub/alerts/#", qos=1)
    listener.on_subscribe = lambda *_: subscribed.set()
    listener.on_message = lambda _client, _data, message: heard.append((message.topic, json.loads(message.payload)))
    try:
        mosquitto()
        listener.connect("127.0.0.1", mosquitto.port)
        listener.loop_start()
        assert subscribed.wait(20)
        notifier.push(event(2, state="resolved", rule="拥堵 +#"))
        assert notifier.settled(timeout_s=20)
        deadline = time.monotonic() + 20
        while not any(alert["id"] == "a2" for _, alert in heard) and time.monotonic() < deadline:
            time.sleep(0.005)
        # The first may have gone out before the listener subscribed; the broker confirmed both.
        assert [r.alert_id for r in receipts] == ["a1", "a2"]
        topic_name, alert = heard[-1]
        assert topic_name == "hub/alerts/old-town-1/拥堵"
        assert (alert["id"], alert["state"], alert["where"]["zh"]) == ("a2", "resolved", "长街")
    finally:
        listener.loop_stop()
        listener.disconnect()
        notifier.stop()
        publisher.close()
