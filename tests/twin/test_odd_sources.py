"""Networks as strangers send them: each becomes a network, or sentences that say what would be right."""

from pathlib import Path

import pytest

from sensors import InputError
from twin import Network
from twin.importers import import_tables

NODES = "node_id,x_coord,y_coord\nA,24,60\nB,24.01,60\n"
LINKS = "link_id,from_node_id,to_node_id,directed,length,lanes,free_speed\n1,A,B,false,,2,50\n"


def folder_of(tmp_path: Path, nodes: str, links: str, encoding: str = "utf-8") -> Path:
    (tmp_path / "city").mkdir()
    (tmp_path / "city" / "node.csv").write_bytes(nodes.encode(encoding))
    (tmp_path / "city" / "link.csv").write_bytes(links.encode(encoding))
    return tmp_path / "city"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_line_ends_blank_lines_and_byte_order_marks_change_nothing(end: str, encoding: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, NODES.replace("\n", end), LINKS.replace("\n", end), encoding)
    for network in (Network.read(folder), Network.from_tables(import_tables(folder))):
        assert network.links.ids == ("1", "1-r")
        assert network.links.lanes.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("nodes", "links", "encoding", "sentences"),
    [
        (NODES.replace(",", ";"), LINKS, "utf-8", ["node.csv: its columns are separated by ';', must be by commas"]),
        (NODES.replace(",", "\t"), LINKS, "utf-8", ["node.csv: its columns are separated by '\\t', must be by commas"]),
        (NODES, LINKS, "utf-16", ["node.csv: byte 0 is not UTF-8", "link.csv: byte 0 is not UTF-8"]),
        (NODES.replace("24.01", '"24,01"'), LINKS, "utf-8", ["x_coord is '24,01', must be a number, with a decimal"]),
        (NODES.replace("24.01", "inf"), LINKS, "utf-8", ["x_coord is 'inf', must be a number"]),
        (NODES, LINKS.replace(",,2", ',"1,200",2'), "utf-8", ["length is '1,200', must be a number"]),
        (NODES.replace("y_coord", "x_coord"), LINKS, "utf-8", ["node.csv: column 'x_coord' stands twice"]),
        (NODES + '"C,24,60\n', LINKS, "utf-8", ["node.csv: line 4: is not CSV"]),
        ("node_id,x_coord,y_coord\n", LINKS, "utf-8", ["node.csv: has "]),
        ("", "", "utf-8", ["node.csv: has no header line", "link.csv: has no header line"]),
    ],
)
def test_tables_of_other_programs_are_refused_in_words(
    nodes: str, links: str, encoding: str, sentences: list[str], tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, nodes, links, encoding)
    for read in (Network.read, lambda path: Network.from_tables(import_tables(path))):
        with pytest.raises(InputError) as caught:
            read(folder)
        faults = caught.value.faults
        assert all(any(sentence in fault for fault in faults) for sentence in sentences), faults
        assert not any("geometry has none" in fault for fault in faults)


@pytest.mark.parametrize(
    "name",
    [
        "city.osm",
        "city.osm.pbf",
        "city.net.xml",
        "city.csv",
        "city.json",
        "city.graphml",
        "city.geojson",
        "city_net.tntp",
    ],
)
@pytest.mark.parametrize("content", [b"", b" \n", b"\xef\xbb\xbf", b"\0" * 64, b"hello", b"<a/>", b"{}", b"PAR1PAR1"])
def test_a_file_that_holds_nothing_is_one_sentence_whatever_it_is_called(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        import_tables(tmp_path / name)
    assert len(caught.value.faults) == 1
    assert name.split(".")[0] in caught.value.faults[0]


MAP = (
    '<osm version="0.6">'
    + "".join(f'<node id="{k}" lon="{24 + k % 3 / 500}" lat="{60 + k // 3 / 1000}"/>' for k in range(6))
    + "".join(
        f'<way id="{10 + k}">{"".join(f"<nd ref={ref!r}/>" for ref in refs)}<tag k="highway" v="residential"/></way>'
        for k, refs in enumerate(["012", "345", "03", "14", "25"])
    ).replace("'", '"')
    + "%s</osm>"
)


def member(kind: str, ref: int, role: str) -> str:
    return f'<member type="{kind}" ref="{ref}" role="{role}"/>'


@pytest.mark.parametrize("word", ["no_left_turn", "only_straight_on", "no_entry", "banana"])
@pytest.mark.parametrize(
    "members",
    [
        "",
        member("way", 10, "from") + member("way", 11, "to"),
        member("way", 99, "from") + member("node", 1, "via") + member("way", 98, "to"),
        member("way", 10, "from") + member("relation", 2, "via") + member("way", 13, "to"),
        member("way", 10, "from") + member("node", 77, "via") + member("way", 13, "to"),
    ],
)
def test_a_restriction_that_lacks_members_forbids_nothing_and_is_named(word: str, members: str, tmp_path: Path) -> None:
    relation = f'<relation id="5">{members}<tag k="type" v="restriction"/><tag k="restriction" v="{word}"/></relation>'
    (tmp_path / "plain.osm").write_text(MAP % "")
    (tmp_path / "map.osm").write_text(MAP % relation)
    plain, network = (Network.from_tables(import_tables(tmp_path / name)) for name in ("plain.osm", "map.osm"))
    assert network.compile().movement_out.tolist() == plain.compile().movement_out.tolist()
    assert any("1 turn restrictions" in note and note.endswith(": 5") for note in network.notes), network.notes


def test_ways_that_are_deleted_cross_themselves_or_have_no_nodes_break_nothing(tmp_path: Path) -> None:
    tag = '<tag k="highway" v="residential"/></way>'
    more = (
        f'<way id="90" visible="false"><nd ref="0"/><nd ref="4"/>{tag}<way id="91">{tag}'
        f'<way id="92"><nd ref="0"/><nd ref="4"/><nd ref="5"/><nd ref="1"/><nd ref="4"/><nd ref="3"/>{tag}'
        f'<way id="10"><nd ref="0"/><nd ref="5"/>{tag}'
    )
    (tmp_path / "map.osm").write_text(MAP % more)
    network = Network.from_tables(import_tables(tmp_path / "map.osm"))
    of = {name.split(".")[0] for name in network.links.ids}
    assert of == {"10", "11", "12", "13", "14", "92"}
    assert network.nodes.ids[network.links.to_node[network.links.position["10.0"]]] == "1"  # the first of two ways 10
    assert any("1 objects stand twice" in note for note in network.notes)
