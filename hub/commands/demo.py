"""``citytwin demo``: everything on embedded parts, with a living city whose sensors publish over MQTT."""

import argparse
import os
from dataclasses import replace
from pathlib import Path

from hub.commands.arguments import hour, port, seconds, speed
from hub.demo import Demo
from hub.halt import Halt
from hub.settings import Settings
from hub.street_child import StreetChild


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--network", type=Path, metavar="DIR", help="network folder; without it a city is generated")
    parser.add_argument("--speed", type=speed, default=1.0, metavar="F", help="city seconds per second (default 1)")
    parser.add_argument("--port", type=port, metavar="N", help="port of the page, 0 takes a free one (default 8000)")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier demos stored")
    parser.add_argument("--for", type=seconds, dest="for_s", metavar="S", help="stop by itself after S seconds")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the city, its traffic and its faults")
    parser.add_argument("--hour", type=hour, default=7.5, metavar="H", help="hour of its day the street starts at")


def run(args: argparse.Namespace) -> int:
    """Run the demo until Ctrl-C, or for the seconds that were asked for."""
    settings = Settings.read(os.environ)
    if args.port is not None:
        settings = replace(settings, port=args.port)
    street = StreetChild(Demo(speed=args.speed, seed=args.seed, hour=args.hour))
    with Halt().listening() as halt:
        try:
            street.launch()
            # These load for a second or two, and so does the street, beside them.
            from hub.city import demo_network
            from hub.running import run as run_hub

            return run_hub(
                settings,
                lambda: demo_network(args.network, settings.state / "city", seed=args.seed),
                halt=halt,
                street=street,
                fresh=args.fresh,
                for_s=args.for_s,
            )
        finally:
            street.stop()
