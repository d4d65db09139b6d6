"""OpenStreetMap extract to a network folder, beside osmnx on the same ways.

Both read the streets on which one drives, with lengths, and speeds that are filled in where nobody says them. osmnx
reads XML alone, so it is given the extract as XML, with no other way in it; neither imports nor that are counted. The
same work: the directed kilometres that both know.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import osmium

from twin import Network
from twin.importers import import_tables
from twin.importers.osm import tags as words

STEP = 0.0015  # degrees between the streets of the made map


def made_map(path: Path, size: int) -> None:
    """Write a grid of bent two-way streets."""
    with osmium.SimpleWriter(str(path)) as writer:
        number = {(i, j): 1 + i * size + j for i in range(size) for j in range(size)}
        for (i, j), ref in number.items():
            bend = STEP * 0.3 * ((i + j) % 2)
            writer.add_node(osmium.osm.mutable.Node(id=ref, location=(10 + i * STEP, 50 + j * STEP + bend), version=1))
        for line in range(size):
            for way, refs in (
                (2 * line + 1, [number[line, j] for j in range(size)]),
                (2 * line + 2, [number[i, line] for i in range(size)]),
            ):
                street = {"highway": "residential", "name": f"Street {way}"}
                writer.add_way(osmium.osm.mutable.Way(id=way, nodes=refs, tags=street, version=1))


def as_xml(source: Path, target: Path) -> None:
    """Write the roads of an extract as XML, one-way where we read them so: osmnx does not know that motorways are."""
    roads = osmium.FileProcessor(str(source)).with_filter(osmium.filter.KeyFilter("highway").enable_for(osmium.osm.WAY))
    with osmium.SimpleWriter(str(target)) as writer:
        for item in roads:
            if item.is_node():
                writer.add_node(item.replace(tags={}, version=1))
            elif item.is_way():
                tags = dict(item.tags)
                if words.is_road(tags, service=False) and words.who_may_drive(tags) == "all":
                    along, against, _ = words.directions(tags)
                    oneway = "no" if along and against else "yes" if along else "-1"
                    tags = {**tags, "oneway": oneway, "junction": "no"}
                    writer.add_way(item.replace(tags=tags, version=1))


def ours(source: Path, folder: Path) -> tuple[float, float, int]:
    """Return CPU seconds, directed km and links."""
    begin = time.process_time()
    network = Network.from_tables(import_tables(source, all_parts=True))
    network.write(folder)
    spent = time.process_time() - begin
    return spent, float(network.compile().length.sum()) / 1000, len(network.links)


def theirs(source: Path, folder: Path) -> tuple[float, float, int]:
    """Return the same of osmnx, which writes GraphML."""
    import osmnx  # a heavy one, and not everywhere

    osmnx.settings.all_oneway = False
    begin = time.process_time()
    graph = osmnx.graph_from_xml(source, simplify=True, retain_all=True)
    graph = osmnx.routing.add_edge_speeds(graph, fallback=50)
    osmnx.save_graphml(graph, folder / "graph.graphml")
    spent = time.process_time() - begin
    return spent, sum(length for *_, length in graph.edges(data="length")) / 1000, len(graph.edges)


def whole_command(source: Path, folder: Path) -> tuple[float, float]:
    """Return CPU seconds and the largest memory, MB, of ``citytwin network import`` as a process of its own."""
    words_ = [sys.executable, "-m", "hub.cli", "network", "import", str(source), str(folder)]
    null = os.open(os.devnull, os.O_WRONLY)
    child = os.posix_spawn(sys.executable, words_, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
    _, status, usage = os.wait4(child, 0)
    assert status == 0, "citytwin network import failed"
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes on Linux
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="an extract (default: a made grid)")
    parser.add_argument("--size", type=int, default=50, help="streets each way of the made grid")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scrap:
        folder = Path(scrap)
        source = args.source or folder / "grid.osm.pbf"
        if args.source is None:
            made_map(source, args.size)
        spent, km, links = ours(source, folder / "ours")
        text = f"{links:,} links in {spent:.1f} s of CPU"
        if os.name == "posix":
            whole, memory = whole_command(source, folder / "whole")
            text += f", {whole:.1f} s and {memory:.0f} MB as a command"
        try:
            import osmnx
        except ImportError:
            print(f"osm: {text}; NO SECOND SOLVER: osmnx is not installed")
            return
        as_xml(source, folder / "roads.osm")
        other, other_km, edges = theirs(folder / "roads.osm", folder)
        # On the sphere and on the ellipsoid a kilometre differs by up to 0.6 %.
        assert abs(other_km - km) <= 0.01 * km, f"ours {km:,.1f} km, osmnx {other_km:,.1f} km"
        print(
            f"osm: {other / spent:.1f} x as fast as osmnx {osmnx.__version__} ({other:.1f} s, {edges:,} edges, "
            f"{other_km:,.0f} km); {text}, {km:,.0f} km"
        )


if __name__ == "__main__":
    main()
