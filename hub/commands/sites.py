"""``citytwin network sites``: which detectors are worth most, and where the next ones would tell most."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from sensors import InputError
from twin import Network
from twin.estimate import Estimator
from twin.prior import free_flow_prior
from twin.sites import Worth, next_sites, value

MEASURES_SPEED = frozenset({"speed_kmh", "travel_time_s", "occupancy", "density_veh_km"})


def configure(actions: Any) -> argparse.ArgumentParser:
    """Add the subcommand and return its parser."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "sites", help="say what each detector is worth, and where to place the next ones"
    )
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--next", dest="n_sites", type=int, default=5, metavar="N", help="new sites (default 5)")
    parser.add_argument("--show", type=int, default=10, metavar="N", help="detectors most and least worth (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="of the random first look at all links (default 1)")
    parser.add_argument("--json", action="store_true", help="print one object with all of them")
    parser.set_defaults(work=_sites)
    return parser


def _sites(args: argparse.Namespace) -> int:
    if args.n_sites < 0:
        raise InputError(f"--next is {args.n_sites}, must be 0 or more")
    if args.show < 0:
        raise InputError(f"--show is {args.show}, must be 0 or more")
    network = Network.read(args.folder)
    compiled = network.compile()
    if not compiled.n_links:
        raise InputError(f"{args.folder} has no links")
    position = network.links.position
    on: dict[int, list[str]] = {}
    for sensor in network.sensors:
        if sensor.link_id in position and MEASURES_SPEED & set(sensor.quantities):
            on.setdefault(position[sensor.link_id], []).append(sensor.sensor_id)
    measured = np.zeros(compiled.n_links, np.bool_)
    measured[list(on)] = True
    estimator = Estimator(compiled, prior=free_flow_prior(compiled, network.signals))
    worth = value(estimator, measured)
    sites = next_sites(estimator, measured, args.n_sites, random=np.random.default_rng(args.seed))
    if args.json:
        print(json.dumps(_as_json(network, worth, sites, on), ensure_ascii=False, indent=1))
        return 0
    print(
        f"{len(on):,} of {compiled.n_links:,} links are measured; a vehicle's speed is known to "
        f"{worth.deviation * 3.6:.1f} km/h (one standard deviation, without the past of the links)"
    )
    ranked = list(zip(worth.link.tolist(), worth.share.tolist(), strict=True))
    parts = (
        ("worth most: repair these first", ranked[: args.show]),
        ("worth least", ranked[args.show :][-args.show :]),
    )
    for title, rows in parts:
        if rows and args.show:
            print(f"\n  {title}")
            for link, share in rows:
                names = ", ".join(on[link])
                print(f"    {names:<24} {_name(network, link)}: without it {100 * share:.2f} % more uncertainty")
    if len(sites.link):
        print("\n  next sites, in this order")
        for link, share in zip(sites.link.tolist(), sites.share.tolist(), strict=True):
            print(f"    {compiled.link_ids[link]:<24} {_name(network, link)}: {100 * share:.2f} % less uncertainty")
    return 0


def _name(network: Network, link: int) -> str:
    return network.link_names(link)["en"]


def _as_json(network: Network, worth: Worth, sites: Worth, on: dict[int, list[str]]) -> dict[str, Any]:
    ids = network.links.ids
    return {
        "deviation_kmh": worth.deviation * 3.6,
        "detectors": [
            {"link_id": ids[link], "sensor_ids": on[link], "more_uncertainty": share}
            for link, share in zip(worth.link.tolist(), worth.share.tolist(), strict=True)
        ],
        "sites": [
            {"link_id": ids[link], "less_uncertainty": share}
            for link, share in zip(sites.link.tolist(), sites.share.tolist(), strict=True)
        ],
    }
