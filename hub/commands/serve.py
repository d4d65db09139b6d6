"""``citytwin serve``: hub, twin and rules on real sensors; what has no URL is embedded."""

import argparse
import os
from dataclasses import replace
from pathlib import Path

from hub.commands.arguments import port, seconds
from hub.halt import Halt
from hub.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--network", type=Path, metavar="DIR", help="network folder (default: network in city.toml)")
    parser.add_argument("--port", type=port, metavar="N", help="port of the page, 0 takes a free one (default 8000)")
    parser.add_argument("--no-ingest", action="store_true", help="other processes take readings in")
    parser.add_argument("--for", type=seconds, dest="for_s", metavar="S", help="stop by itself after S seconds")


def run(args: argparse.Namespace) -> int:
    """Run the hub until a signal."""
    from hub.city import served_network
    from hub.running import run as run_hub

    settings = Settings.read(os.environ)
    if args.port is not None:
        settings = replace(settings, port=args.port)
    with Halt().listening() as halt:
        return run_hub(
            settings,
            lambda: served_network(args.network, settings),
            halt=halt,
            ingest=not args.no_ingest,
            for_s=args.for_s,
        )
