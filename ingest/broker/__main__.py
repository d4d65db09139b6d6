"""``python -m ingest.broker``: the broker as a process of its own."""

import argparse
import asyncio
import dataclasses
import difflib
import json
import logging
import os
import signal
import ssl
import sys
import threading
from pathlib import Path

from ingest.broker.access import Access, hash_password
from ingest.broker.server import Broker
from ingest.broker.settings import Limits, Settings
from ingest.broker.topics import filter_fault
from sensors import InputError, WorkError


def _address(text: str, option: str = "--listen") -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise InputError(f"{option} is {text!r}, must be HOST:PORT, for example 127.0.0.1:1883")
    return host, int(port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ingest.broker", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:1883", metavar="HOST:PORT", help="port 0: any free one")
    parser.add_argument("--next-free", action="store_true", help="when the port is taken, the next free one")
    parser.add_argument("--parent-stdin", action="store_true", help="stop when standard input ends")
    parser.add_argument("--durable", action="append", metavar="FILTER", help="acknowledge through (city/#, /hfp/#)")
    parser.add_argument(
        "--durable-client", action="append", metavar="PREFIX", help="client ids whose sessions count as durable (any)"
    )
    parser.add_argument("--listen-tls", metavar="HOST:PORT", help="the same over TLS (needs --certificate and --key)")
    parser.add_argument("--listen-websocket", metavar="HOST:PORT", help="MQTT over WebSocket, in the clear")
    parser.add_argument("--listen-websocket-tls", metavar="HOST:PORT", help="MQTT over WebSocket over TLS")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--client-ca",
        type=Path,
        metavar="FILE",
        help="clients over TLS must show a certificate of it; its CN is the user",
    )
    parser.add_argument(
        "--limit", action="append", default=[], metavar="NAME=VALUE", help="one of the limits in docs/broker.md"
    )
    parser.add_argument("--access", type=Path, metavar="FILE", help="users and the topics of each, TOML")
    parser.add_argument("--hash-password", action="store_true", help="read a password, print what --access keeps of it")
    return parser


def _limits(texts: list[str]) -> Limits:
    given: dict[str, float] = {}
    faults = []
    known = {field.name: field.type for field in dataclasses.fields(Limits)}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1) or ["max_connections"]
            faults.append(f"--limit: unknown name {name!r}, the nearest is {nearest[0]}")
            continue
        try:
            number = int(value) if known[name] in (int, "int") else float(value)
        except ValueError:
            number = -1
        if not 0 <= number < float("inf"):
            faults.append(f"--limit {name}: {value!r} is no number of 0 or more")
            continue
        given[name] = number
    if given.get("receive_maximum", 1) not in range(1, 65_536) or given.get("max_keep_alive_s", 1) not in range(
        1, 65_536
    ):
        faults.append("--limit: receive_maximum and max_keep_alive_s are 1 to 65535")
    if given.get("max_topic_aliases", 0) > 65_535 or given.get("max_packet_bytes", 0) > 268_435_455:
        faults.append("--limit: max_topic_aliases is at most 65535, max_packet_bytes at most 268435455")
    if faults:
        raise InputError(faults)
    return dataclasses.replace(Limits(), **given)  # type: ignore[arg-type]


def _raise_file_limit() -> None:
    try:
        import resource
    except ImportError:  # no such limit on this platform
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _stop_at_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def wait() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)

    # A thread, because a standard input that is a file or /dev/null cannot be watched by every event loop.
    threading.Thread(target=wait, name="parent", daemon=True).start()


def _tls(args: argparse.Namespace) -> ssl.SSLContext | None:
    if not (args.listen_tls or args.listen_websocket_tls):
        return None
    if not (args.certificate and args.key):
        raise InputError("--listen-tls and --listen-websocket-tls need --certificate and --key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for option, path in (("--certificate", args.certificate), ("--key", args.key), ("--client-ca", args.client_ca)):
        if path is not None and not path.is_file():
            raise InputError(f"{option}: {path} is no file")
    try:
        context.load_cert_chain(args.certificate, args.key)
        if args.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(args.client_ca)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"--certificate, --key or --client-ca: {error}") from None
    return context


async def _listen(broker: Broker, args: argparse.Namespace, tls: ssl.SSLContext | None) -> dict[str, str]:
    """Open every port that is asked for, and return their URLs."""
    urls = {}
    for scheme, option, text, secure in (
        ("mqtt", "--listen", args.listen, False),
        ("mqtts", "--listen-tls", args.listen_tls, True),
        ("ws", "--listen-websocket", args.listen_websocket, False),
        ("wss", "--listen-websocket-tls", args.listen_websocket_tls, True),
    ):
        if not text:
            continue
        host, port = _address(text, option)
        port = await broker.listen(
            host,
            port,
            next_free=args.next_free and scheme == "mqtt",
            tls=tls if secure else None,
            websocket=scheme.startswith("ws"),
        )
        urls[scheme] = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    return urls


async def _serve(
    args: argparse.Namespace, settings: Settings, access: Access | None, tls: ssl.SSLContext | None
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # Ctrl-C reaches the whole process group; a broker with a parent outlives it until the parent has drained.
    loop.add_signal_handler(signal.SIGINT, (lambda: None) if args.parent_stdin else stop.set)
    broker = Broker(settings, access=access)
    try:
        print(json.dumps(await _listen(broker, args, tls)), flush=True)
    except BaseException:
        await broker.close()
        raise
    if args.parent_stdin:
        _stop_at_end_of_input(loop, stop)
    await stop.wait()
    await broker.close()


def main(argv: list[str] | None = None) -> int:
    """Run until stopped; 0 stopped, 1 cannot listen, 2 wrong use."""
    args = _parser().parse_args(argv)
    logging.basicConfig(format="broker: %(message)s", level=logging.WARNING)
    if args.hash_password:
        print(hash_password(sys.stdin.buffer.readline().rstrip(b"\r\n")))
        return 0
    try:
        durable = tuple(args.durable or Settings().durable)
        faults = [f"--durable: {fault}" for text in durable if (fault := filter_fault(text, max_levels=32))]
        if faults:
            raise InputError(faults)
        _raise_file_limit()
        access = Access.read(args.access) if args.access else None
        limits = _limits(args.limit)
        settings = Settings(durable=durable, durable_clients=tuple(args.durable_client or ()), limits=limits)
        asyncio.run(_serve(args, settings, access, _tls(args)))
    except InputError as error:
        for sentence in error.faults:
            print(f"broker: {sentence}", file=sys.stderr)
        return 2
    except WorkError as error:
        print(f"broker: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
