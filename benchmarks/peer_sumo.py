"""A workload in SUMO's mesoscopic model: Eissfeldt (2004), Vehicle-based modelling of traffic, doctoral thesis.

A street is cut into segments of some 100 m; a vehicle passes to the next segment no sooner than a time gap after the
one before, which depends on whether the two segments are free or jammed. With all four gaps at 1 s and 5 m a vehicle
this is the triangle of a driver who takes 1 s: SUMO adds the time in which the vehicle drives its own length.
"""

import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import sumo

from benchmarks.peer import Run
from benchmarks.workload import Long, Workload

BIN = Path(sumo.SUMO_HOME) / "bin"
# No vehicle is ever taken out of a jam, as ours are not.
MESO = ("--mesosim", "--time-to-teleport=-1", "--no-step-log", "--no-warnings", "--seed=1")
TRIANGLE = ("--meso-tauff=1", "--meso-taufj=1", "--meso-taujf=1", "--meso-taujj=1")


def run(workload: Workload, *, folder: Path | None = None) -> Run:
    """Return the run of a workload with fixed routes in SUMO; files go to ``folder``, by default a temporary one.

    Raises
    ------
    ValueError
        When vehicles have no routes.
    """
    if workload.routes is None:
        raise ValueError(f"{workload.name}: SUMO is compared on fixed routes")
    if folder is None:
        with tempfile.TemporaryDirectory() as made:
            return run(workload, folder=Path(made))
    write_network(workload, folder)
    write_routes(workload, folder)
    words = ("--net-file=net.xml", "--route-files=rou.xml", *TRIANGLE)
    spent = simulate(folder, words, horizon_s=workload.horizon_s)
    links = {str(k): k for k in range(len(workload.network.links))}
    return result(folder, links, {str(k): k for k in range(len(workload))}, workload, spent)


def simulate(folder: Path, words: Sequence[str], *, horizon_s: float) -> tuple[float, float]:
    """Run SUMO in a folder and return its CPU and its time on the clock (s).

    Reading the files, measured by a run that ends at once, is left out.

    Counts by edge go to ``edge.xml``, those of the first hour to ``hour.xml``, trips to ``trip.xml``.
    """
    more = "".join(
        f'<edgeData id="{name}" file="{name}.xml" end="{end_s}"/>'
        for name, end_s in (("edge", horizon_s), ("hour", min(3600.0, horizon_s)))
    )
    (folder / "measure.add.xml").write_text(f"<additional>{more}</additional>", "utf-8")
    given = next((word for word in words if word.startswith("--additional-files=")), "--additional-files=")
    files = f"{given}{',' if given[-1] != '=' else ''}measure.add.xml"
    words = [*(word for word in words if word != given), files, *MESO, "--tripinfo-output=trip.xml"]
    spent, wall = [], []
    for end_s in (1.0, horizon_s):
        before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        _call("sumo", [*words, "--tripinfo-output.write-unfinished", f"--end={end_s}"], folder)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(time.perf_counter() - clock)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return spent[1] - spent[0], wall[1] - wall[0]


def write_network(workload: Workload, folder: Path) -> None:
    """Write ``net.xml``, made by netconvert from plain XML; ids are positions."""
    roads = workload.network.compile()
    nodes = [f'<node id="n{k}" x="{x:.2f}" y="{y:.2f}" type="priority"/>' for k, (x, y) in enumerate(roads.node_xy)]
    edges = [
        f'<edge id="{k}" from="n{roads.from_node[k]}" to="n{roads.to_node[k]}" numLanes="{roads.lanes[k]}" '
        f'speed="{roads.free_speed[k]:.6f}" length="{roads.length[k]:.4f}" '
        f'priority="{round(roads.priority[k] * 100)}"/>'
        for k in range(roads.n_links)
    ]
    connections = []
    for k in range(roads.n_links):
        outs = roads.movement_out[roads.movement_start[k] : roads.movement_start[k + 1]].tolist()
        if not outs:
            connections.append(f'<connection from="{k}"/>')
        connections += [
            f'<connection from="{k}" to="{out}" fromLane="{lane}" toLane="{min(lane, int(roads.lanes[out]) - 1)}"/>'
            for out in outs
            for lane in range(int(roads.lanes[k]))
        ]
    for name, tag, rows in (("nod", "nodes", nodes), ("edg", "edges", edges), ("con", "connections", connections)):
        (folder / f"{name}.xml").write_text(f"<{tag}>\n" + "\n".join(rows) + f"\n</{tag}>\n", "utf-8")
    words = ["--node-files=nod.xml", "--edge-files=edg.xml", "--connection-files=con.xml", "--output-file=net.xml"]
    _call("netconvert", [*words, "--no-turnarounds", "--no-warnings", "--no-internal-links"], folder)


def write_routes(workload: Workload, folder: Path) -> None:
    """Write ``rou.xml``: a vehicle of 5 m with its gap, which takes 1 s to react, for every trip."""
    kind = '<vType id="car" length="4" minGap="1" tau="1" sigma="0" speedFactor="1" speedDev="0" maxSpeed="100"/>'
    rows = ["<routes>", kind]
    for k in np.argsort(workload.depart, kind="stable").tolist():
        edges = " ".join(str(link) for link in workload.routes[k])  # type: ignore[index]
        rows.append(
            f'<vehicle id="{k}" type="car" depart="{workload.depart[k]:.3f}" departLane="best" departSpeed="max">'
            f'<route edges="{edges}"/></vehicle>'
        )
    (folder / "rou.xml").write_text("\n".join([*rows, "</routes>"]), "utf-8")


def _call(program: str, words: Sequence[str], folder: Path) -> None:
    done = subprocess.run([BIN / program, *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stderr[-2000:]}")


def _attributes(path: Path, tag: str) -> list[dict[str, str]]:
    """Return the attributes of every element of a kind, without holding the file in memory."""
    rows = []
    for _, element in ElementTree.iterparse(path):
        if element.tag == tag:
            rows.append(dict(element.attrib))
            element.clear()
    return rows


def counts(path: Path, links: Mapping[str, int]) -> tuple[Long, Long, float]:
    """Return what has entered and left every link, and the vehicle-seconds, those inside junctions too."""
    entered, left, on_links = np.zeros(len(links), np.int64), np.zeros(len(links), np.int64), 0.0
    for row in _attributes(path, "edge"):
        on_links += float(row["sampledSeconds"])
        if row["id"] in links:
            # SUMO counts those that depart on an edge, and arrive there, apart.
            entered[links[row["id"]]] = int(row["entered"]) + int(row["departed"])
            left[links[row["id"]]] = int(row["left"]) + int(row["arrived"])
    return entered, left, on_links


def result(
    folder: Path,
    links: Mapping[str, int],
    vehicles: Mapping[str, int],
    workload: Workload,
    spent: tuple[float, float],
) -> Run:
    """Return what `simulate` has left in a folder; ``links`` and ``vehicles`` give positions by SUMO's ids."""
    entered, left, on_links = counts(folder / "edge.xml", links)
    arrive, waiting = np.full(len(workload), np.nan), np.maximum(0.0, workload.horizon_s - workload.depart)
    for row in _attributes(folder / "trip.xml", "tripinfo"):
        vehicle, time_s = vehicles[row["id"]], float(row["arrival"])
        arrive[vehicle] = time_s if time_s >= 0 else np.nan
        waiting[vehicle] = float(row["departDelay"])
    return Run(
        solver=f"SUMO {version('eclipse-sumo')} meso",
        spent_s=spent[0],
        wall_s=spent[1],
        arrive=arrive,
        entered=entered,
        left=left,
        vehicle_seconds=on_links,
        waiting_s=float(waiting.sum()),
        distance_m=float((left * workload.network.links.length).sum()),
    )
