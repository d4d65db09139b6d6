"""The broker as a process: where it listens, what it says, and when it ends."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ingest.broker import Limits
from ingest.broker.__main__ import _parser, main
from ingest.broker.access import Access
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
    (("--listen", "127.0.0.1:0", "--limit", "max_conections=3"), "the nearest is max_connections"),
    (("--listen", "127.0.0.1:0", "--limit", "max_connections=few"), "'few' is no number of 0 or more"),
    (("--listen", "127.0.0.1:0", "--limit", "receive_maximum=0"), "not within 1 to 65535"),
    (("--listen", "127.0.0.1:0", "--listen-tls", "127.0.0.1:0"), "need --certificate and --key"),
    (("--listen", "127.0.0.1:0", "--access", "nowhere.toml"), "nowhere.toml: "),
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


def test_every_port_that_is_asked_for_is_told(first_url):
    process = subprocess.Popen(
        [sys.executable, "-m", "ingest.broker", "--listen", "127.0.0.1:0", "--listen-websocket", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    urls = json.loads(process.stdout.readline())
    process.terminate()
    assert process.wait(20) == 0
    process.communicate()
    assert sorted(urls) == ["mqtt", "ws"]
    assert urls["ws"].startswith("ws://127.0.0.1:")


def test_a_hashed_password_lets_its_user_in(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "ingest.broker", "--hash-password"], input="secret\n", capture_output=True, text=True
    )
    path = tmp_path / "access.toml"
    path.write_text(f'[[user]]\nname = "a"\npassword = "{result.stdout.strip()}"\n')
    access = Access.read(path)
    assert access.verify("a", b"secret")
    assert not access.verify("a", b"Secret")


def test_every_limit_and_option_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "broker.md").read_text()
    for field in dataclasses.fields(Limits):
        assert f"`{field.name}`" in text
    for action in _parser()._actions:
        assert action.option_strings[-1] == "--help" or f"`{action.option_strings[-1]}" in text
