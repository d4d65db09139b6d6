"""A believable invented city as the tables of a network folder: the same seed gives the same bytes."""

import numpy as np

from sensors import InputError
from twin.generator import tables
from twin.generator.blocks import cut_blocks
from twin.generator.demand import make_demand
from twin.generator.equipment import install
from twin.generator.ground import Ground
from twin.generator.loading import load_links
from twin.generator.names import give_names
from twin.generator.places import add_places
from twin.generator.plan import draw_plan
from twin.generator.roads import lay_roads
from twin.generator.scenery import draw_areas, raise_buildings
from twin.generator.signals import plan_signals

Table = list[dict[str, str | float | int | None]]

LEAST_JUNCTIONS = 50


def generate(*, seed: int = 1, junctions: int = 300) -> dict[str, Table]:
    """Return the tables of an invented city by file stem, ready for `twin.tables.write_table`.

    A river with few bridges, ring roads, arterials about 1.3 km apart, an old town of crooked streets; signals with
    plans, zones and a day's demand, sensors of traffic, weather, air, car parks, metro and events, equipment and what
    it depends on, water, parks and buildings. Coordinates are degrees on WGS84 near 120.2 E, 30.3 N; nothing real is
    meant.

    Parameters
    ----------
    seed
        From 0 up; decides everything.
    junctions
        About how many junctions, from 50 up; the area grows with it.

    Returns
    -------
    dict
        Rows by table; every row of a table has the same keys, in the order of its columns.

    Raises
    ------
    InputError
        When the seed is negative or there are too few junctions.

    Examples
    --------
    >>> city = generate(seed=1, junctions=100)
    >>> city["config"][0]["name"], city["link"][0]["link_id"], 90 <= len(city["node"]) <= 110
    ('Yunlan', 'L0001', True)
    """
    faults = []
    if seed < 0:
        faults.append(f"seed is {seed}, must be 0 or more")
    if junctions < LEAST_JUNCTIONS:
        faults.append(f"junctions is {junctions}, must be {LEAST_JUNCTIONS} or more")
    if faults:
        raise InputError(faults)
    # One stream of random numbers for each part: a change of one part leaves the others as they were.
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(9)]
    plan = draw_plan(streams[0], junctions=junctions)
    ground = Ground.draw(streams[1], side_m=plan.side_m, centres=plan.centres)
    cut_blocks(streams[2], plan, junctions=junctions)
    roads = lay_roads(streams[3], plan, ground)
    names = give_names(streams[4], plan, roads, seed=seed)
    demand = make_demand(streams[5], plan, roads)
    flow = np.maximum(*(load_links(roads, demand, demand.matrix(h * 3600, (h + 1) * 3600)) for h in (8, 18)))
    movements, signals = plan_signals(roads, flow)
    ids = tables.Ids.of(roads)
    kit = install(streams[6], roads, names, signals, flow, node_ids=ids.nodes, link_ids=ids.links)
    add_places(streams[8], kit, roads, tables.node_zones(demand))
    areas = draw_areas(streams[7], plan, ground, names)
    business = demand.jobs / np.maximum(1.0, np.bincount(demand.node_zone, minlength=len(demand.jobs)))
    buildings = raise_buildings(streams[7], roads, (business / business.max())[demand.node_zone], areas)
    return {
        **tables.network_tables(roads, names, demand, signals, ids, seed=seed),
        **tables.signal_tables(roads, names, movements, signals, ids),
        **tables.demand_tables(roads, names, demand, ids),
        "sensor": kit.sensors,
        "asset": kit.assets,
        "dependency": kit.dependencies,
        **tables.scenery_tables(areas, buildings),
    }
