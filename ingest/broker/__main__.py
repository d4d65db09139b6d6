"""``python -m ingest.broker``: the broker as a process of its own."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from ingest.broker.access import Access, hash_password
from ingest.broker.mosquitto_acl import mosquitto_acl
from ingest.broker.options import Options, limits_of
from ingest.broker.server import Broker
from ingest.broker.settings import Settings
from ingest.broker.topics import filter_fault
from sensors import InputError, WorkError


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
    parser.add_argument(
        "--mosquitto-acl", action="store_true", help="print what --access allows as an acl_file of Mosquitto"
    )
    parser.add_argument("--hash-password", action="store_true", help="read a password, print what --access keeps of it")
    return parser


def raise_file_limit() -> None:
    """Let the process have as many connections as the system allows it, up to 65,536."""
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


def _options(args: argparse.Namespace) -> Options:
    given = [text.partition("=") for text in args.limit]
    return Options(
        listen=args.listen,
        listen_tls=args.listen_tls,
        listen_websocket=args.listen_websocket,
        listen_websocket_tls=args.listen_websocket_tls,
        certificate=args.certificate,
        key=args.key,
        client_ca=args.client_ca,
        access=args.access,
        limits=limits_of({name: value for name, _, value in given}, where="--limit"),
    )


async def _serve(args: argparse.Namespace, options: Options, settings: Settings) -> None:
    access, tls = options.users(), options.tls()
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # Ctrl-C reaches the whole process group; a broker with a parent outlives it until the parent has drained.
    loop.add_signal_handler(signal.SIGINT, (lambda: None) if args.parent_stdin else stop.set)
    broker = Broker(settings, access=access)
    try:
        print(json.dumps(await options.open_ports(broker, tls, next_free=args.next_free)), flush=True)
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
        if args.mosquitto_acl:
            if args.access is None:
                raise InputError("--mosquitto-acl prints what --access FILE allows, which is not given")
            print(mosquitto_acl(Access.read(args.access), args.access), end="")
            return 0
        durable = tuple(args.durable or Settings().durable)
        faults = [f"--durable: {fault}" for text in durable if (fault := filter_fault(text, max_levels=32))]
        if faults:
            raise InputError(faults)
        raise_file_limit()
        options = _options(args)
        settings = Settings(durable=durable, durable_clients=tuple(args.durable_client or ()), limits=options.limits)
        asyncio.run(_serve(args, options, settings))
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
