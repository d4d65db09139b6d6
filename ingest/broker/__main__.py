"""``python -m ingest.broker``: the broker as a process of its own."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading

from ingest.broker.server import Broker
from ingest.broker.settings import Settings
from ingest.broker.topics import filter_fault
from sensors import InputError, WorkError


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise InputError(f"--listen is {text!r}, must be HOST:PORT, for example 127.0.0.1:1883")
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
    return parser


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


async def _serve(args: argparse.Namespace, settings: Settings) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # Ctrl-C reaches the whole process group; a broker with a parent outlives it until the parent has drained.
    loop.add_signal_handler(signal.SIGINT, (lambda: None) if args.parent_stdin else stop.set)
    host, port = _address(args.listen)
    broker = Broker(settings)
    port = await broker.listen(host, port, next_free=args.next_free)
    shown = f"[{host}]" if ":" in host else host
    print(json.dumps({"mqtt": f"mqtt://{shown}:{port}"}), flush=True)
    if args.parent_stdin:
        _stop_at_end_of_input(loop, stop)
    await stop.wait()
    await broker.close()


def main(argv: list[str] | None = None) -> int:
    """Run until stopped; 0 stopped, 1 cannot listen, 2 wrong use."""
    args = _parser().parse_args(argv)
    logging.basicConfig(format="broker: %(message)s", level=logging.WARNING)
    try:
        durable = tuple(args.durable or Settings().durable)
        faults = [f"--durable: {fault}" for text in durable if (fault := filter_fault(text, max_levels=32))]
        if faults:
            raise InputError(faults)
        _raise_file_limit()
        asyncio.run(_serve(args, Settings(durable=durable, durable_clients=tuple(args.durable_client or ()))))
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
