"""The network between worker, broker, database and sensors is cut and mended; CITYTWIN_TEST_CUT_S says for how long."""

import os
import time
from typing import Any

import pytest

from ingest.postgres import EmbeddedPostgres

# A minute and a half also outlasts the keep-alive of MQTT; what a worker does about a cut, it does within seconds.
CUT_S = float(os.environ.get("CITYTWIN_TEST_CUT_S", "3"))


def socket_of(server: EmbeddedPostgres) -> str:
    return str(server.folder / ".s.PGSQL.5432")


@pytest.mark.slow
@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_a_database_beyond_a_cut_network_is_waited_for(
    silent: bool, broker: Any, server: EmbeddedPostgres, worker_of: Any, flow_to: Any, proxy_to: Any, settled: Any
) -> None:
    network = proxy_to(socket_of(server))
    worker = worker_of(broker.url, f"postgresql://citytwin@127.0.0.1:{network.port}/citytwin")
    worker.start()
    flow = flow_to(broker.url)
    flow.goes_on("at the beginning")
    network.cut(silent=silent)
    if not silent:
        flow.goes_on("by way of the spool", n=300)
    time.sleep(CUT_S)
    network.mend()
    flow.recovers(worker)
    settled(flow, worker, server.url)


@pytest.mark.slow
@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_a_broker_beyond_a_cut_network_is_waited_for(
    silent: bool, broker: Any, server: EmbeddedPostgres, worker_of: Any, flow_to: Any, proxy_to: Any, settled: Any
) -> None:
    network = proxy_to(("127.0.0.1", broker.port))
    worker = worker_of(f"mqtt://127.0.0.1:{network.port}", server.url)
    worker.start()
    flow = flow_to(broker.url)
    flow.goes_on("at the beginning")
    network.cut(silent=silent)
    time.sleep(CUT_S)
    before = flow.acknowledged
    time.sleep(0.5)
    assert flow.acknowledged == before, "nobody could store them"
    network.mend()
    flow.recovers(worker)
    settled(flow, worker, server.url)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["worker", "sensor"])
def test_a_hundred_reconnects_a_minute_lose_and_double_nothing(
    who: str,
    broker: Any,
    server: EmbeddedPostgres,
    worker_of: Any,
    flow_to: Any,
    proxy_to: Any,
    settled: Any,
    until: Any,
) -> None:
    network = proxy_to(("127.0.0.1", broker.port))
    beyond = f"mqtt://127.0.0.1:{network.port}"
    worker = worker_of(beyond if who == "worker" else broker.url, server.url)
    worker.start()
    flow = flow_to(beyond if who == "sensor" else broker.url)
    flow.goes_on("at the beginning")
    made = network.accepted
    for _ in range(20):
        time.sleep(0.6)
        network.break_connections()
    assert network.accepted > made + 3
    flow.recovers(worker)
    settled(flow, worker, server.url)


@pytest.mark.slow
def test_a_mosquitto_that_restarts_without_its_memory_is_subscribed_to_again(
    make_broker: Any, server: EmbeddedPostgres, worker_of: Any, flow_to: Any, stored: Any, until: Any
) -> None:
    mosquitto = make_broker("mosquitto")
    mosquitto.start()
    worker = worker_of(mosquitto.url, server.url)
    worker.start()
    until(lambda: worker.up() and worker.ready(), "a ready worker")
    flow = flow_to(mosquitto.url)
    flow.goes_on("at the beginning")
    mosquitto.forget_all_and_restart()
    flow.recovers(worker)
    until(worker.ready, "the worker's session")
    before = len(flow.values)
    flow.goes_on("after the restart", n=500)
    published = flow.finish()
    # Mosquitto may have acknowledged and lost what it had not delivered yet; what came after the worker did is there.
    since = published[before][0]
    until(lambda: stored(server.url, "flow")[-1] == published[-1], "the last reading")
    assert [row for row in stored(server.url, "flow") if row[0] >= since] == published[before:]
