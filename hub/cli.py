"""``citytwin``: finds the command's module, runs it, and turns every error into one clear line."""

import argparse
import importlib
import os
import signal
import sys

from sensors import InputError, WorkError

COMMANDS = {
    "demo": "start everything on embedded parts: a living city, its sensors, the twin and the cockpit",
    "serve": "hub with cockpit and API, twin, rules and ingest",
    "ingest": "an ingest worker alone: MQTT to database",
    "fleet": "virtual sensors that publish to the broker",
    "replay": "recorded readings to the broker or the database",
    "network": "import, generate, validate and describe networks",
    "assets": "what fails with what, why, and what to repair first",
    "simulate": "one run of the traffic engine, offline",
    "compare": "two scenarios on the same day, with the difference",
    "rules": "validate a rules file",
    "doctor": "what was found: versions, database, broker, ports",
}


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="citytwin", description="A live digital twin of a city's roads.")
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if name == wanted:  # only the wanted command pays for its imports
            importlib.import_module(f"hub.commands.{name}").configure(sub)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 the work failed, 2 wrong use or bad input."""
    words = sys.argv[1:] if argv is None else argv
    wanted = next((word for word in words if not word.startswith("-")), None)
    parser = _parser(wanted)
    args = parser.parse_args(words)
    if args.version:
        from importlib.metadata import version

        print(version("citytwin"))
        return 0
    if args.command is None:
        parser.print_help()
        return 2
    try:
        return int(importlib.import_module(f"hub.commands.{args.command}").run(args))
    except InputError as error:
        if args.debug:
            raise
        for fault in error.faults:
            print(f"citytwin {args.command}: {fault}", file=sys.stderr)
        return 2
    except WorkError as error:
        if args.debug:
            raise
        print(f"citytwin {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # `citytwin ... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
