"""The broker as a process: where it listens, what it says, and when it ends."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from ingest.broker.__main__ import main
from ingest.broker.packets import PublishPacket


def test_a_taken_port_is_one_clear_line(broker_lines):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        result = broker_lines("--listen", f"127.0.0.1:{port}")
    assert result.returncode == 1
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith(f"broker: the broker cannot listen on 127.0.0.1:{port} (")
    assert "give another port" in line


def test_the_next_free_port_is_taken_and_told(first_url):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "ingest.broker", "--listen", f"127.0.0.1:{port}", "--next-free"],
            stdout=subprocess.PIPE,
            text=True,
        )
        url = first_url(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.communicate()
    assert url.startswith("mqtt://127.0.0.1:")
    assert int(url.rpartition(":")[2]) > port


WRONG = [
    (("--listen", "0.0.0.0:18830"), "listens on this machine only"),
    (("--listen", "192.0.2.7:18830"), "listens on this machine only"),
    (("--listen", "example.org:18830"), "listens on this machine only"),
    (("--listen", "[::]:18830"), "listens on this machine only"),
    (("--listen", "1883"), "must be HOST:PORT"),
    (("--listen", "127.0.0.1:99999"), "must be HOST:PORT"),
    (("--listen", "127.0.0.1:0", "--durable", "city/#/x"), "'#' must be the last level"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_a_wrong_address_or_filter_is_refused_in_one_sentence(capsys, arguments, words):
    assert main(list(arguments)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    [line] = shown.err.splitlines()
    assert words in line


def test_it_ends_when_its_parent_does(first_url):
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "ingest.broker", "--listen", "127.0.0.1:0", "--parent-stdin"],
        stdin=read,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(read)
    assert first_url(process).startswith("mqtt://127.0.0.1:")
    process.send_signal(signal.SIGINT)  # Ctrl-C reaches the child as well: the parent decides
    assert process.poll() is None
    os.close(write)  # what the end of the parent does, however it ends
    assert process.wait(20) == 0
    process.communicate()


def test_a_standard_input_that_is_empty_ends_it_at_once(broker_lines):
    result = broker_lines("--listen", "127.0.0.1:0", "--parent-stdin", stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stderr) == (0, "")


def test_ipv6_loopback_is_this_machine_too(first_url):
    process = subprocess.Popen(
        [sys.executable, "-m", "ingest.broker", "--listen", "[::1]:0"], stdout=subprocess.PIPE, text=True
    )
    url = first_url(process)
    process.terminate()
    assert process.wait(20) == 0
    process.communicate()
    assert url.startswith("mqtt://[::1]:")


def test_a_terminated_broker_acknowledges_nothing_on_its_way_out(embedded_broker, wire):
    device = wire(embedded_broker)
    device.connect("device")
    device.publish("city/a/d1", b"1", packet_id=1)
    assert device.before_pong() == []
    ingest = wire(embedded_broker)
    ingest.connect("ingest", clean=False)
    ingest.subscribe("city/#")
    ingest.expect(PublishPacket)
    assert embedded_broker.stop(signal.SIGTERM) == 0
    assert device.receive() is None
