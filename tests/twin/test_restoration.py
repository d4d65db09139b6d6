"""Repairs in the order of the vehicle-hours that they save, against every order there is."""

import itertools

import numpy as np
import pytest

from sensors import InputError
from twin import Network
from twin.generate import generate
from twin.restoration import StreetLoss, restoration_order
from twin.stop_control import approaches


@pytest.fixture(scope="module")
def city() -> Network:
    return Network.from_tables(generate(seed=3, junctions=60))


def cost(city: Network, order: tuple[str, ...], work: dict[str, float]) -> float:
    """Return the vehicle-hours that are lost in all when repairs follow each other."""
    loss, broken, total = StreetLoss(city), set(order), 0.0
    for name in order:
        total += loss.of(city.assets.outage(broken)) * work[name] / 3600
        broken.remove(name)
    return total


def test_one_crew_repairs_in_the_best_of_all_orders(city: Network) -> None:
    # A feeder with one of its own cabinets, a controller under another one: repairs that wait for each other.
    assets = city.assets
    feeder = next(name for name in assets.assets if name.startswith("FDR"))
    under = set(assets.outage({feeder}).dark())
    cabinet = next(name for name in sorted(under) if name.startswith("CAB"))
    others = [name for name in assets.assets if name.startswith("CTL") and name not in under][:2]
    failed = (feeder, cabinet, *others)
    work = dict(zip(failed, (7200.0, 3600.0, 1800.0, 5400.0), strict=True))
    order = tuple(repair.asset_id for repair in restoration_order(city, failed, repair_s=work))
    best = min(cost(city, each, work) for each in itertools.permutations(failed))
    assert cost(city, order, work) == pytest.approx(best)


def test_many_failures_that_do_not_wait_for_each_other_follow_the_rule_of_smith(city: Network) -> None:
    failed = [name for name, asset in city.assets.assets.items() if asset.kind == "controller"][:12]
    loss = StreetLoss(city)
    saves = {name: loss.of(city.assets.outage({name})) for name in failed}
    repairs = restoration_order(city, failed, repair_s={name: 1800.0 * (1 + k % 3) for k, name in enumerate(failed)})
    ratio = [saves[r.asset_id] / (r.end_s - r.begin_s) for r in repairs]
    assert ratio == sorted(ratio, reverse=True)
    assert [r.saves_veh_h_per_h for r in repairs] == pytest.approx([saves[r.asset_id] for r in repairs])


def test_crews_work_side_by_side_and_none_rests_while_something_is_broken(city: Network) -> None:
    failed = [name for name, asset in city.assets.assets.items() if asset.kind == "controller"][:7]
    repairs = restoration_order(city, failed, crews=3)
    assert sorted(r.asset_id for r in repairs) == sorted(failed)
    for crew in (1, 2, 3):
        mine = sorted((r.begin_s, r.end_s) for r in repairs if r.crew == crew)
        assert mine[0][0] == 0
        assert all(a[1] == b[0] for a, b in itertools.pairwise(mine))
    assert max(r.end_s for r in repairs) == 3 * 7200
    for repair in repairs:
        assert repair.asset_id in repair.restores
        assert "relights the signals of" in repair.because


def test_flow_decides_which_signal_comes_first(city: Network) -> None:
    one, two = [a for a in city.assets.assets.values() if a.kind == "signal"][:2]
    roads = city.compile()
    for busy, other in ((one, two), (two, one)):
        flow = np.where(roads.to_node == roads.node_ids.index(busy.node_id), 0.25, 0.001)
        first = restoration_order(city, [one.asset_id, two.asset_id], flow=flow)[0]
        assert first.asset_id == busy.asset_id != other.asset_id


@pytest.mark.parametrize("crews", [1, 2])  # the best of all orders, and the rule of Smith
def test_a_short_repair_comes_before_a_long_one_that_saves_a_little_more(city: Network, crews: int) -> None:
    roads = city.compile()
    heads = [a for a in city.assets.assets.values() if a.kind == "signal" and a.node_id in roads.node_ids][:6]
    flow = np.full(roads.n_links, 0.001)
    for k, head in enumerate(heads):
        flow[roads.to_node == roads.node_ids.index(head.node_id)] = 0.3 + 0.01 * k
    loss = StreetLoss(city, flow)
    saves = {head.asset_id: loss.of(city.assets.outage({head.asset_id})) for head in heads}
    less, more = sorted(saves, key=saves.__getitem__)[-2:]
    assert 0 < saves[less] < saves[more] < 9 * saves[less]
    work = {less: 600.0, more: 6000.0}
    first = restoration_order(city, [more, less], crews, flow=flow, repair_s=work)[0]
    assert first.asset_id == less
    assert restoration_order(city, [less, more], crews, flow=flow)[0].asset_id == more, "if they take as long"


def test_all_faults_of_a_question_are_told_at_once(city: Network) -> None:
    with pytest.raises(InputError) as caught:
        restoration_order(city, ["nobody"], crews=0, repair_s={"FDR-01": -1.0})
    assert caught.value.faults == (
        "asset 'nobody' is not in asset.csv",
        "asset FDR-01: repair takes -1 s, must be > 0",
        "crews is 0, must be > 0",
    )
    assert restoration_order(city, []) == []


def test_an_all_way_stop_is_worse_the_more_flows_and_saturates_at_the_headway_of_the_manual(city: Network) -> None:
    roads = city.compile()
    node = int(np.argmax(np.diff(roads.in_start) == 4))
    delays = []
    for share in (0.0, 0.5, 0.9, 1.2):
        stop = approaches(roads, node, "dark", np.zeros(roads.n_links))
        flow = np.zeros(roads.n_links)
        flow[stop.links] = share * stop.capacity
        delays.append(approaches(roads, node, "dark", flow).delay)
        assert stop.capacity == pytest.approx(roads.lanes[stop.links] / 9.6)  # case 5: vehicles on all sides
    assert (np.diff(np.array(delays), axis=0) > 0).all()
    # Without anyone there: the headway less two seconds to move up, and five to slow down and set off.
    assert delays[0] == pytest.approx(9.6 - 2 + 5)
