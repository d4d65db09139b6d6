"""The notebook's client against a real small hub, and against what is no hub."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import citytwin
from ingest.publisher import Publisher
from sensors import InputError, WorkError
from tests.system.conftest import RunningHub, wait_until
from twin import Network
from twin.generate import generate

pd = pytest.importorskip("pandas", reason="CLIENT NOT TESTED: the extra citytwin[notebook] is not installed")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("city") / "small"
    Network.from_tables(generate(seed=3, junctions=60)).write(folder)
    return Network.read(folder)


@pytest.fixture(scope="module")
def hub(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that serves a small city, none of whose sensors speaks by itself."""
    running = RunningHub(["serve", "--network", str(network.folder), "--port", "0"], tmp_path_factory.mktemp("hub"), {})
    try:
        wait_until(lambda: running.get("/api/v1/state"), "the first snapshot")
        yield running
    finally:
        running.stop()


@pytest.fixture
def live(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> citytwin.Hub:
    monkeypatch.setenv("CITYTWIN_STATE", str(hub.state))
    return citytwin.connect()


def test_the_hub_of_the_state_folder_is_found(live: citytwin.Hub, hub: RunningHub) -> None:
    assert live.url == hub.url
    assert repr(live) == f"Hub({hub.url!r})"


def test_state_and_links_are_tables_in_the_order_of_the_network(live: citytwin.Hub, network: Network) -> None:
    state, links = live.state(), live.links()
    assert tuple(state.index) == tuple(links.index) == network.compile().link_ids
    assert state.attrs["network_sha256"] == network.sha256
    assert set(state["source"]) <= {"measured", "estimated", "guessed"}
    assert (links["free_speed_kmh"] > 0).all()
    longitude, latitude = links["coordinates"].iloc[0][0]
    assert [longitude, latitude] == pytest.approx(network.geometry(0)[0], abs=1e-6)


def test_the_network_is_the_one_that_the_hub_serves(live: citytwin.Hub, network: Network) -> None:
    assert live.network().sha256 == network.sha256


def test_a_published_reading_comes_back_as_reading_and_as_value_of_its_sensor(
    live: citytwin.Hub, hub: RunningHub, network: Network
) -> None:
    sensor = next(sensor for sensor in network.sensors if sensor.link_id and "speed_kmh" in sensor.quantities)
    time_ms = int(pd.Timestamp.now("UTC").timestamp() * 1000)
    publisher = Publisher(hub.ports()["mqtt"], client_id="test-client")
    publisher.publish_all([(f"city/test/{sensor.sensor_id}", b'{"t":%d,"flow_veh_h":600,"speed_kmh":31.5}' % time_ms)])
    assert publisher.drain(30.0)
    publisher.close()
    speed = live.readings(sensor.sensor_id, quantity="speed_kmh")
    assert speed["value"].tolist() == [31.5]
    assert speed["time"].iloc[0] == pd.Timestamp(time_ms, unit="ms", tz="UTC")
    assert set(live.readings(sensor.sensor_id)["quantity"]) == {"flow_veh_h", "speed_kmh"}
    wait_until(lambda: live.sensors().loc[sensor.sensor_id, "values"].get("speed_kmh") == 31.5, "its last value")
    wait_until(lambda: live.link(sensor.link_id)["state"]["source"] == "measured", "a measured link")


def test_readings_of_a_silent_sensor_are_an_empty_table(live: citytwin.Hub) -> None:
    readings = live.readings("nobody")
    assert readings.empty
    assert list(readings.columns) == ["time", "quantity", "value", "quality", "received_at"]


def test_alerts_are_a_table_with_columns_even_when_there_are_none(live: citytwin.Hub) -> None:
    assert {"id", "rule", "severity", "link_id", "summary", "since"} <= set(live.alerts("all").columns)
    with pytest.raises(InputError, match="firing"):
        live.alerts("loud")


def test_closing_a_link_gives_both_runs_and_the_change_of_every_link(live: citytwin.Hub, network: Network) -> None:
    closed = network.compile().link_ids[0]
    answer = live.close([closed], minutes=5, horizon_minutes=10)
    assert answer.basis == "typical day, one run, no interval"
    assert answer.basis in repr(answer)
    table = answer.summary()
    assert list(table.columns) == ["baseline", "scenario"]
    for name, difference in answer.difference.items():
        assert table.loc[name, "scenario"] - table.loc[name, "baseline"] == pytest.approx(difference, abs=1e-2)
    assert set(answer.links().index) <= set(network.compile().link_ids)
    assert answer.document["question"]["close"] == [
        {"links": [closed], "from_s": 0.0, "until_s": 300.0, "reroute": False}
    ]


def test_an_unknown_link_is_refused_in_the_words_of_the_hub(live: citytwin.Hub) -> None:
    with pytest.raises(InputError, match="link 'Ä 1#x' is not in this network"):
        live.link("Ä 1#x")
    with pytest.raises((InputError, WorkError), match="L9999"):
        live.close(["L9999"])


def test_without_a_hub_one_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYTWIN_STATE", str(tmp_path))
    with pytest.raises(WorkError, match=r"no hub runs on the state folder .*make demo"):
        citytwin.connect()


def test_a_hub_that_went_away_is_told_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(WorkError, match=rf"no hub answers at http://127.0.0.1:{port} .*make demo"):
        citytwin.connect(f"http://127.0.0.1:{port}")


def test_an_address_without_http_is_refused() -> None:
    with pytest.raises(InputError, match="'localhost:8000', must start with http://"):
        citytwin.connect("localhost:8000")


@pytest.fixture
def answering() -> Iterator[Callable[[int, bytes], str]]:
    """Serve one fixed answer to every request, and return the address of it."""
    servers: list[HTTPServer] = []

    def begin(status: int, body: bytes) -> str:
        class Fixed(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Fixed))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_page_that_is_no_hub_is_told_so(answering: Callable[[int, bytes], str]) -> None:
    with pytest.raises(WorkError, match="is no hub"):
        citytwin.connect(answering(200, b"<html>a printer"))


def test_a_hub_that_cannot_now_is_failed_work_and_no_bad_input(answering: Callable[[int, bytes], str]) -> None:
    with pytest.raises(WorkError, match=r"^the twin has made no snapshot yet$"):
        citytwin.connect(answering(503, b'{"detail": "the twin has made no snapshot yet"}'))
    with pytest.raises(WorkError, match="HTTP 502"):
        citytwin.connect(answering(502, b"bad gateway"))


def test_a_network_on_another_machine_is_told(answering: Callable[[int, bytes], str]) -> None:
    url = answering(200, b'{"folder": "/a/folder/of/another/machine", "network_sha256": "0"}')
    with pytest.raises(WorkError, match=r"lies in no folder of this machine \(/a/folder/of/another/machine\)"):
        citytwin.Hub(url).network()


def test_a_network_that_changed_since_is_told(answering: Callable[[int, bytes], str], network: Network) -> None:
    body = f'{{"folder": "{network.folder}", "network_sha256": "0"}}'.encode()
    with pytest.raises(WorkError, match="was changed since the hub read it"):
        citytwin.Hub(answering(200, body)).network()


def test_a_hub_of_this_machine_is_not_asked_for_through_a_proxy(
    answering: Callable[[int, bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert citytwin.connect(answering(200, b"{}")).get("/any") == {}
    assert os.environ["http_proxy"]
