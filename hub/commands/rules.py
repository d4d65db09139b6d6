"""``citytwin rules check FILE``: reads a rules file and says what is wrong with it, all at once."""

import argparse
from collections import Counter
from pathlib import Path

from hub.rules import load


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their arguments."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = commands.add_parser("check", help="validate a rules file", description="Validate a rules file.")
    check.add_argument("file", type=Path, metavar="FILE", help="for example config/rules.toml")
    # Accepted on either side of the action; the outer parser holds the default.
    check.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")


def run(args: argparse.Namespace) -> int:
    """Print how many rules the file has and return 0; its faults are raised."""
    rules = load(args.file).rules
    kinds = ", ".join(f"{count} on {on}" for on, count in Counter(rule.on for rule in rules).items())
    print(f"{args.file}: {len(rules)} rules{f' ({kinds})' if kinds else ''}, no faults")
    for rule in rules:
        if rule.unless:
            print(f"{args.file}: rule {rule.name!r}: note: no source of contexts is connected, 'unless' has no effect")
    return 0
