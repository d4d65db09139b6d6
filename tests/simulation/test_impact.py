"""What an asset is worth to the street, as a scenario that runs."""

import math

import pytest

from sensors import InputError
from simulation import Scenario
from simulation.impact import impact
from twin import Network
from twin.generate import generate


@pytest.fixture(scope="module")
def city() -> Network:
    return Network.from_tables(generate(seed=3, junctions=60))


def test_a_feeder_darkens_signals_and_sensors_and_every_one_has_its_reason(city: Network) -> None:
    feeder = next(name for name in city.assets.assets if name.startswith("FDR"))
    found = impact(city, feeder, duration_s=1800)
    roads = city.compile()
    assert found.signals
    nodes = {signal.node_id for signal in found.signals}
    assert {s.mode for s in found.signals} == {"dark"}, "without power a controller cannot flash"
    assert {roads.node_ids[roads.to_node[roads.link_ids.index(link)]] for link in found.links} == nodes
    assert {a for a, _ in found.movements} == set(found.links)
    living = {s.link_id for s in city.sensors if s.asset_id not in found.outage.unheard()}
    assert found.unmeasured
    assert not living & set(found.unmeasured)
    assert set(found.reason) == set(found.outage.unheard())
    assert all(sentence.endswith("failed") for sentence in found.reason.values())
    assert Scenario.parse(found.scenario.to_toml()) == found.scenario
    assert (found.scenario.asset_failure[0].asset, found.scenario.asset_failure[0].until_s) == (feeder, 1800.0)


def test_a_line_costs_measurements_and_no_signal(city: Network) -> None:
    switch = [name for name in city.assets.assets if name.startswith("SW")][-1]
    found = impact(city, [switch])
    assert found.signals == ()
    assert found.movements == ()
    assert found.unmeasured
    assert found.scenario.asset_failure[0].until_s == math.inf


def test_an_unknown_asset_is_told(city: Network) -> None:
    with pytest.raises(InputError, match=r"'nobody' is not in asset\.csv"):
        impact(city, "nobody")
