"""The city in three dimensions, judged by the pixels of its pictures."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from sensors import InputError
from twin import Network
from twin.generate import generate
from twin.state import Source

pytest.importorskip("pyvista", reason="SCENE NOT TESTED: pyvista of the extra citytwin[notebook] is not installed")

from twin.ribbon import ribbons
from twin.scene import ALERT, DARK, GROUND, HALO, PALETTE, SIGNAL, scene, step_of

Picture = npt.NDArray[np.uint8]
Tables = dict[str, list[dict[str, object]]]


def picture(network: Network, **state: object) -> Picture:
    plotter = scene(network, off_screen=True, **state)
    image = plotter.screenshot(return_img=True)
    plotter.close()
    return np.asarray(image)[:, :, :3]


def pixels_of(image: Picture, colour: str, *, within: int = 3) -> int:
    """Return how many pixels have a colour; roads are drawn without light, so that their colours arrive as given."""
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    return int((np.abs(image.astype(int) - wanted).max(axis=2) <= within).sum())


@pytest.fixture(scope="module")
def city() -> Network:
    return Network.from_tables(generate(seed=3, junctions=60))


@pytest.fixture(scope="module")
def bare(city: Network) -> Picture:
    return picture(city)


# Each speed in the middle of its step; the legend shows all colours, so most of the pixels must be roads.
@pytest.mark.parametrize(("ratio", "colour"), [(0.9, 0), (0.7, 1), (0.5, 2), (0.3, 3), (0.1, 4)])
def test_roads_have_the_colour_of_their_speed(city: Network, bare: Picture, ratio: float, colour: int) -> None:
    image = picture(city, speed_ratio=np.full(city.compile().n_links, ratio))
    counts = [pixels_of(image, each) for each in PALETTE[:5]]
    assert int(np.argmax(counts)) == colour
    assert counts[colour] > 0.02 * image.shape[0] * image.shape[1]
    assert counts[colour] > 20 * sorted(counts)[-2]
    assert pixels_of(bare, PALETTE[colour]) < 0.1 * counts[colour], "a city without state shows none"


def test_a_link_whose_speed_is_not_known_is_drawn_as_such(city: Network, bare: Picture) -> None:
    unknown = picture(city, speed_ratio=np.full(city.compile().n_links, np.nan))
    assert pixels_of(unknown, PALETTE[5]) > 10_000
    assert pixels_of(bare, PALETTE[5]) > 10_000


def test_what_is_measured_is_drawn_wider_than_what_is_guessed(city: Network) -> None:
    jam = np.full(city.compile().n_links, 0.1)
    counts = [
        pixels_of(picture(city, speed_ratio=jam, source=np.full(len(jam), source)), PALETTE[4])
        for source in (Source.GUESSED, Source.ESTIMATED, Source.MEASURED)
    ]
    assert counts[0] < counts[1] < counts[2]


def test_one_jam_changes_the_picture_where_its_link_is(city: Network) -> None:
    free = np.ones(city.compile().n_links)
    jam = free.copy()
    jam[0] = 0.0
    before, after = picture(city, speed_ratio=free), picture(city, speed_ratio=jam)
    changed = np.argwhere((before != after).any(axis=2))
    assert len(changed) > 20
    assert np.ptp(changed, axis=0).max() < 0.5 * max(before.shape)


def test_every_known_alert_gets_a_pin(city: Network, bare: Picture) -> None:
    ids = city.compile().link_ids
    one = pixels_of(picture(city, alerts=[ids[0]]), ALERT)
    two = pixels_of(picture(city, alerts=[ids[0], ids[-1], "of another city"]), ALERT)
    assert pixels_of(bare, ALERT) == 0
    assert 0 < one < two


def test_water_and_parks_lie_under_the_roads(city: Network, bare: Picture) -> None:
    for colour, _ in GROUND.values():
        assert pixels_of(bare, colour) > 300


def test_buildings_stand_in_the_picture(city: Network, bare: Picture) -> None:
    tables = generate(seed=3, junctions=60)
    del tables["building"]
    assert int((picture(Network.from_tables(tables)) != bare).any(axis=2).sum()) > 1000


def test_the_whole_city_is_in_the_picture_and_fills_it(city: Network) -> None:
    image = picture(city, source=np.full(city.compile().n_links, Source.MEASURED))
    roads = np.argwhere(np.abs(image.astype(int) - [0xB9, 0xC1, 0xC6]).max(axis=2) <= 3)
    height, width = image.shape[:2]
    (top, left), (bottom, right) = roads.min(axis=0), roads.max(axis=0)
    assert top > 0
    assert left > 0
    assert bottom < height - 1
    assert right < width - 1
    assert max((bottom - top) / height, (right - left) / width) > 0.85


def test_a_small_and_a_large_city_are_both_readable(crossing: Tables) -> None:
    for scale in (1, 100):
        nodes = [
            {**node, "x_coord": 120 + (node["x_coord"] - 120) * scale, "y_coord": 30 + (node["y_coord"] - 30) * scale}
            for node in crossing["node"]
        ]
        links = [{**link, "length": 200 * scale} for link in crossing["link"]]
        network = Network.from_tables({"node": nodes, "link": links})
        image = picture(network, speed_ratio=np.full(8, 0.1), alerts=["WC"])
        assert pixels_of(image, PALETTE[4]) > 3000
        assert pixels_of(image, ALERT) > 30


def test_a_network_without_buildings_or_ground_gives_a_picture(crossing: Tables) -> None:
    image = picture(Network.from_tables(crossing), speed_ratio=np.full(8, 0.5))
    assert pixels_of(image, PALETTE[2]) > 3000
    assert [pixels_of(image, colour) for colour, _ in GROUND.values()] == [0, 0]


@pytest.mark.parametrize("name", ["speed_ratio", "source"])
def test_a_state_of_another_network_is_refused(crossing: Tables, name: str) -> None:
    with pytest.raises(InputError, match=rf"{name} has shape \(3,\), must have one value for each of the 8 links"):
        scene(Network.from_tables(crossing), off_screen=True, **{name: [1, 1, 1]})


def test_a_source_that_is_none_is_refused(crossing: Tables) -> None:
    with pytest.raises(InputError, match=r"no twin\.state\.Source"):
        scene(Network.from_tables(crossing), off_screen=True, source=[0, 1, 2, 3, 0, 0, 0, 0])


def test_ribbons_lie_to_the_right_of_their_line_so_that_both_directions_are_seen() -> None:
    there = np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 100.0]])
    points, faces, link = ribbons([there, there[::-1].copy()], np.array([4.0, 4.0]))
    assert points.shape == (12, 3)
    assert link.tolist() == [0, 0, 1, 1]
    first = points[faces[0, 1:], 1]
    assert first.max() < 0, "eastbound, right is south"
    back = points[faces[3, 1:], 1]
    assert back.min() > 0, "westbound, right is north"
    assert np.ptp(first) == pytest.approx(4.0, abs=1.5)


def test_steps_match_their_limits() -> None:
    assert step_of([1.0, 0.8, 0.79, 0.6, 0.4, 0.2, 0.19, np.nan]).tolist() == [0, 0, 1, 1, 2, 3, 4, 5]


def test_a_scene_needs_no_window(city: Network, tmp_path: Path) -> None:
    plotter = scene(city, off_screen=True)
    plotter.screenshot(tmp_path / "city.png")
    plotter.close()
    assert (tmp_path / "city.png").stat().st_size > 20_000


def test_signals_are_marked_and_lost_ones_are_black_with_the_equipment_that_is_dark(
    city: Network, bare: Picture
) -> None:
    feeder = next(name for name, asset in city.assets.assets.items() if asset.kind == "feeder")
    outage = city.assets.outage({feeder: 0.0})
    assert outage.signals()
    dark = picture(city, outage=outage)
    assert pixels_of(bare, SIGNAL) > 100
    assert pixels_of(bare, DARK) < 20, "nothing is dark"
    assert pixels_of(dark, DARK) > 200
    assert pixels_of(dark, HALO) > pixels_of(bare, HALO) + 50, "a rim, so that black shows on a jam"
    assert pixels_of(dark, SIGNAL) < pixels_of(bare, SIGNAL)
    before = picture(city, outage=outage, at=-1.0)
    assert (before == bare).all(), "nothing was dark before the failure"


def test_a_jam_lies_on_top_of_what_flows(crossing: Tables) -> None:
    # Two streets that cross without a node: whichever is drawn last, the slower one is seen.
    nodes = [{"node_id": n, "x_coord": 120 + x / 1000, "y_coord": 30 + y / 1000}
             for n, x, y in (("W", -2, 0), ("E", 2, 0), ("N", 0, 2), ("S", 0, -2))]  # fmt: skip
    links = [{"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": 3, "free_speed": 50}
             for a, b in (("W", "E"), ("N", "S"))]  # fmt: skip
    network = Network.from_tables({"node": nodes, "link": links})
    alone = [pixels_of(picture(network, speed_ratio=np.array(ratio)), PALETTE[4])
             for ratio in ((0.1, np.nan), (np.nan, 0.1))]  # fmt: skip
    over = [pixels_of(picture(network, speed_ratio=np.array(ratio)), PALETTE[4]) for ratio in ((0.1, 0.9), (0.9, 0.1))]
    # The legend's patch is the same in all; a street that lay below the other would lack a square of it.
    for one, other in zip(alone, over, strict=True):
        assert one == pytest.approx(other, rel=0.01)


def test_thirty_thousand_links_keep_their_blocks_apart() -> None:
    # A grid of 87 x 87 junctions: at a city's share a ribbon would be as wide as the block beside it.
    n = 87
    nodes = [{"node_id": f"{i}.{j}", "x_coord": 120 + i / 1000, "y_coord": 30 + j / 1000}
             for i in range(n) for j in range(n)]  # fmt: skip
    ends = [(f"{i}.{j}", f"{i + a}.{j + b}") for i in range(n) for j in range(n) for a, b in ((0, 1), (1, 0))
            if i + a < n and j + b < n]  # fmt: skip
    links = [{"link_id": f"{a}>{b}", "from_node_id": a, "to_node_id": b, "lanes": 1, "free_speed": 50}
             for one, two in ends for a, b in ((one, two), (two, one))]  # fmt: skip
    network = Network.from_tables({"node": nodes, "link": links})
    assert network.compile().n_links > 29_000
    image = picture(network, speed_ratio=np.full(len(links), 0.1))
    jam = np.abs(image.astype(int) - [0x2E, 0x06, 0x26]).max(axis=2) <= 40
    middle = image.shape[0] // 2
    crossings = (np.diff(jam[middle - 10 : middle + 10].astype(int), axis=1) == 1).sum(axis=1)
    assert crossings.max() > 0.9 * n, "between two streets across the picture all others are told apart"
    assert 0.05 < jam[200:600, 400:900].mean() < 0.7
