"""The pictures of a result show its numbers."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from sensors import InputError
from simulation import Demand, Flow, Result, Scenario, plot, simulate
from twin import Network

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")

BLOCKED = '[[incident]]\nlink = "MC"\nposition_m = 499.9\nlanes_blocked = 0.8\nfrom_s = 600\nuntil_s = 1500'


@pytest.fixture(scope="module")
def result(tables: dict[str, object]) -> Result:
    network = Network.from_tables(tables)
    demand = Demand.of_flows(network, [Flow("west", "east", 700, 0, 2400)])
    return simulate(network, demand, scenario=Scenario.parse(BLOCKED), horizon_s=3600, sample_every_s=50)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    pyplot.close("all")


def test_the_map_colours_each_link_by_its_speed_over_its_free_speed(result: Result) -> None:
    axes = plot.network_map(result, 1200.0)
    lines = axes.collections[0]
    drawn = {
        tuple(map(tuple, line)): value for line, value in zip(lines.get_segments(), lines.get_array(), strict=True)
    }
    row = result.links.time.tolist().index(1200.0)
    city = result.city
    for link in range(city.n_links):
        value = drawn[tuple(map(tuple, result.network.geometry(link)))]
        speed = result.links.speed[row, link] / city.free_speed[link]
        assert (np.ma.is_masked(value) and np.isnan(speed)) or value == pytest.approx(speed)
    assert "1,200 s" in axes.get_title()


def test_the_map_shows_the_fullest_moment_unless_asked_for_another(result: Result) -> None:
    fullest = result.links.time[result.links.on_link.sum(axis=1).argmax()]
    assert f"{fullest:,.0f} s" in plot.network_map(result).get_title()
    with pytest.raises(InputError, match="time_s is 9999, the result covers 0 to 3600"):
        plot.network_map(result, 9999.0)


def test_time_and_space_show_the_speeds_of_the_corridor(result: Result) -> None:
    axes = plot.time_space(result, ["AM", "MC"])
    mesh = axes.collections[0]
    links = [result.links.position(name) for name in ("AM", "MC")]
    expected = np.ma.masked_invalid(result.links.speed[:, links].T * 3.6)
    assert np.ma.allclose(mesh.get_array().reshape(expected.shape), expected)
    corners = mesh.get_coordinates()
    assert corners[:, 0, 1].tolist() == [0.0, 1.0, 1.5]  # km
    assert corners[0, -1, 0] == 60.0  # min
    with pytest.raises(InputError, match="link AM does not begin where link MC ends"):
        plot.time_space(result, ["MC", "AM"])
    with pytest.raises(InputError, match="'XY' is not in the network"):
        plot.time_space(result, ["XY"])


def test_cumulative_curves_are_the_counts_and_the_shifted_one_lies_above_the_exit(result: Result) -> None:
    axes = plot.cumulative_curves(result, "AM")
    entered, shifted, left = (line.get_xydata() for line in axes.get_lines())
    _, n_in, n_out = result.links.curves("AM")
    assert entered[:, 1].tolist() == n_in.tolist()
    assert left[:, 1].tolist() == n_out.tolist()
    assert shifted[:, 0] - entered[:, 0] == pytest.approx(100 / 60)  # 1000 m at 10 m/s
    # Samples lie 50 s apart, so that the shifted curve has points at the same instants: only rounding is left.
    assert (np.interp(left[2:, 0], shifted[:, 0], shifted[:, 1]) >= left[2:, 1] - 1e-6).all()


def test_the_points_of_a_fundamental_diagram_lie_within_the_theory(result: Result) -> None:
    axes = plot.fundamental_diagram(result, "AM")
    corners = axes.get_lines()[0].get_xydata()
    points = np.asarray(axes.collections[0].get_offsets())
    assert points[:, 0] == pytest.approx(result.links.density[:, 0] * 1000)
    assert points[:, 1] == pytest.approx(result.links.flow[:, 0] * 3600)
    assert corners[:, 1].max() == pytest.approx(1800)  # 0.5 veh/s
    assert corners[-1].tolist() == [150, 0]
    within = np.interp(points[:, 0], corners[:, 0], corners[:, 1])
    # Flow is the mean of both ends: while the number on the link changes by n it is off by up to n / 2 vehicles, and
    # whole vehicles add one: 2 vehicles in 50 s are 144 veh/h.
    steady = np.abs(np.diff(result.links.on_link[:, 0], prepend=0)) <= 2
    assert steady.sum() > 20
    assert (points[steady, 1] <= within[steady] + 144).all()
    assert (points[:, 0] > 50).any(), "the incident's queue reaches this link"


def test_without_matplotlib_one_sentence_says_what_to_install(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        InputError, match=r"needs matplotlib, which is not installed: pip install 'citytwin\[notebook\]'"
    ):
        plot.cumulative_curves(result, "AM")
