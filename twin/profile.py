"""What each link does at this time of the week: medians of its detectors, of its class, and else free flow.

A *slot* is a quarter of an hour of a week of eight days: Monday 0 to Sunday 6, and holidays 7, which are no day of the
week. A holiday without a past of its own counts as a Sunday.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from sensors import InputError, Sensor
from twin.compiled import CompiledNetwork
from twin.prior import Prior

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

SLOT_S = 900
SLOTS_A_DAY = 86_400 // SLOT_S
SUNDAY, HOLIDAY = 6, 7
N_SLOTS = 8 * SLOTS_A_DAY
QUANTITIES = ("speed_kmh", "flow_veh_h")
# A slot of fewer days is no habit; with more, its median is uncertain by about 1.25 / sqrt(n) deviations (Gauss).
LEAST_DAYS, MEDIAN_ERROR = 2, 1.25
# A link is never expected more surely than this share of its free speed or capacity: days differ.
LEAST_SPEED_SHARE, LEAST_FLOW_SHARE = 0.05, 0.02
# A class is known by so many links, and a link of it differs by so much on top of what its class does.
LEAST_LINKS = 3


def slot_of(time_s: float, *, time_zone: str, holidays: frozenset[date] = frozenset()) -> int:
    """Return the slot of a time in a zone.

    Examples
    --------
    >>> slot_of(1_767_225_600.0, time_zone="UTC"), slot_of(1_767_225_600.0, time_zone="Asia/Shanghai")  # a Thursday
    (288, 320)
    """
    local = datetime.fromtimestamp(time_s, ZoneInfo(time_zone))
    day = HOLIDAY if local.date() in holidays else local.weekday()
    return day * SLOTS_A_DAY + (local.hour * 3600 + local.minute * 60 + local.second) // SLOT_S


class Profiles:
    """Usual speed and flow of the links with detectors and of the classes; made once in a while from the rollups.

    Only links with detectors have a row, so that a big city with few of them stays small.

    Parameters
    ----------
    compiled
        The network.
    sensors
        Which sensor is on which link, and how many lanes it covers.
    sensor_id, quantity
        (n,) of the rows; sensors that the network does not name are left out.
    slot : (n,)
    n_days : (n,)
        Days that a row rests on.
    quantile : (n, 3) unit of the quantity
        A deviation below the median, the median, and a deviation above.

    Raises
    ------
    InputError
        When the columns differ in length, or a slot is none.
    """

    def __init__(
        self,
        compiled: CompiledNetwork,
        sensors: Iterable[Sensor],
        *,
        sensor_id: Sequence[str],
        quantity: Sequence[str],
        slot: Int,
        n_days: Int,
        quantile: Float,
    ) -> None:
        n = len(sensor_id)
        if not len(quantity) == len(slot) == len(n_days) == len(quantile) == n:
            raise InputError(
                f"the columns of a profile must be of one length: {n} sensors, {len(quantity)} quantities, "
                f"{len(slot)} slots, {len(n_days)} days, {len(quantile)} quantiles"
            )
        if n and not 0 <= slot.min() <= slot.max() < N_SLOTS:
            raise InputError(f"a slot of a profile is {slot.min()} or {slot.max()}, must be 0 to {N_SLOTS - 1}")
        self._compiled = compiled
        position = {link_id: link for link, link_id in enumerate(compiled.link_ids)}
        place = {sensor.sensor_id: (position.get(sensor.link_id, -1), sensor.lanes) for sensor in sensors}
        link = np.array([place.get(name, (-1, 1))[0] for name in sensor_id], np.int64)
        lanes = np.array([place.get(name, (-1, 1))[1] for name in sensor_id], np.float64)
        key = np.array([QUANTITIES.index(name) if name in QUANTITIES else -1 for name in quantity], np.int64)
        good = (link >= 0) & (key >= 0) & (n_days >= LEAST_DAYS) & np.isfinite(quantile).all(axis=1)
        link, lanes, key, slot = link[good], lanes[good], key[good], slot[good]
        factor = np.where(key == 0, 1 / 3.6, compiled.lanes[link] / np.clip(lanes, 1, compiled.lanes[link]) / 3600)
        below, median, above = (quantile[good] * factor[:, None]).T
        deviation = np.hypot((above - below) / 2, MEDIAN_ERROR * (above - below) / 2 / np.sqrt(n_days[good]))
        self.links = np.unique(link)
        row = np.searchsorted(self.links, link)
        shape = (2, N_SLOTS, len(self.links))
        count = np.zeros(shape, np.float32)
        self._median, self._deviation = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        np.add.at(count, (key, slot, row), 1)
        np.add.at(self._median, (key, slot, row), median)
        np.add.at(self._deviation, (key, slot, row), deviation)
        with np.errstate(invalid="ignore"):
            self._median /= count  # several detectors of a link: their mean; NaN where there is none
            self._deviation /= count
        holiday, sunday = (slice(day * SLOTS_A_DAY, (day + 1) * SLOTS_A_DAY) for day in (HOLIDAY, SUNDAY))
        for column in (self._median, self._deviation):
            column[:, holiday] = np.where(np.isnan(column[:, holiday]), column[:, sunday], column[:, holiday])
        self._free = np.stack((compiled.free_speed, compiled.capacity))

    def prior(self, slot: int, base: Prior) -> Prior:
        """Return what to expect of each link in a slot.

        A link with a profile has its own; another has the ratio of its class to free speed or capacity, when at least
        `LEAST_LINKS` of the class have profiles; another has ``base``.
        """
        columns: dict[str, Float] = {}
        names = (("speed", LEAST_SPEED_SHARE), ("flow", LEAST_FLOW_SHARE))
        for key, (name, least) in enumerate(names):
            mean, deviation = getattr(base, name).copy(), getattr(base, f"{name}_deviation").copy()
            own, spread = self._median[key, slot], self._deviation[key, slot]
            known = np.isfinite(own)
            free = self._free[key]
            ratio = own[known] / free[self.links[known]]
            of_class = self._compiled.link_class[self.links[known]]
            for kind in np.unique(of_class):
                mine = of_class == kind
                if np.count_nonzero(mine) < LEAST_LINKS:
                    continue
                rows = self._compiled.link_class == kind
                low, middle, high = np.quantile(ratio[mine], (0.1587, 0.5, 0.8413))
                mean[rows] = middle * free[rows]
                # Between its links a class differs, and each of them from day to day.
                within = np.median(spread[known][mine] / free[self.links[known]][mine])
                deviation[rows] = np.maximum(np.hypot((high - low) / 2, within), least) * free[rows]
            links = self.links[known]
            mean[links] = own[known]
            deviation[links] = np.maximum(spread[known], least * free[links])
            columns |= {name: mean, f"{name}_deviation": deviation}
        return replace(base, **columns)
