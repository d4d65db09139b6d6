"""What is found of a series that is not believed: a code, its parameters, the evidence, and the same in words."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from sensors import QUANTITIES

# A ratio so near to lanes counted over lanes there is told as lanes.
LANES_TOLERANCE = 0.07


class Suspicion(enum.IntEnum):
    """Why a series is not believed; 0 is no reason."""

    NONE = 0
    EMPTY = 1  # nothing where the neighbours see traffic
    NOISY = 2
    BIASED = 3
    SCALED = 4  # lanes not counted, or counted twice; a wrong unit
    DRIFTING = 5
    SWAPPED = 6  # mapped to the wrong link, or cables exchanged


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a finding rests on.

    Parameters
    ----------
    answer
        The strongest answer of the tests; suspicion begins at 1.
    read, expected : unit of the quantity
        Medians of what was read, and of what the neighbours implied, over the last readings.
    readings
        How many these are.
    """

    answer: float
    read: float
    expected: float
    readings: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a series is suspected.

    Parameters
    ----------
    suspicion
        The kind.
    quantity
        Key of what the series measures; figures are in its unit.
    parameters
        Figures of the kind. Empty: ``expected``. Noisy: ``times`` as much as it used to jump. Biased, drifting:
        ``difference``, negative below what the neighbours imply. Scaled: ``ratio``, and if that means lanes
        ``lanes_counted`` of ``lanes``. Swapped: ``sensor_id`` and ``link_id`` whose place it resembles.
    evidence
        What it rests on.

    Examples
    --------
    >>> evidence = Evidence(answer=1.4, read=310.0, expected=615.0, readings=108)
    >>> print(Finding(Suspicion.SCALED, "flow_veh_h", scaled(0.504, lanes=2), evidence))
    flow_veh_h is 0.50 times what the neighbours imply, as if it counted 1 of 2 lanes
    """

    suspicion: Suspicion
    quantity: str
    parameters: Mapping[str, float | str]
    evidence: Evidence

    def __str__(self) -> str:
        key, said = self.quantity, self.parameters
        match self.suspicion:
            case Suspicion.EMPTY:
                return f"{key} is 0 while the neighbours imply {self._size('expected')}"
            case Suspicion.NOISY:
                return f"{key} jumps {said['times']:.1f} times as much as it used to"
            case Suspicion.BIASED:
                return f"{key} is {self._size('difference')} {self._side} what the neighbours imply"
            case Suspicion.DRIFTING:
                by_now = f"by now {self._size('difference')} {self._side}"
                return f"{key} drifts away from what the neighbours imply, {by_now}"
            case Suspicion.SCALED:
                return f"{key} is {said['ratio']:.2f} times what the neighbours imply{self._lanes}"
            case _:
                return f"{key} reads like the place of {said['sensor_id']} rather than its own"

    def _size(self, name: str) -> str:
        return f"{abs(float(self.parameters[name])):.3g} {QUANTITIES[self.quantity].unit}".rstrip()

    @property
    def _side(self) -> str:
        return "above" if float(self.parameters["difference"]) > 0 else "below"

    @property
    def _lanes(self) -> str:
        counted, lanes = self.parameters.get("lanes_counted", 0), self.parameters.get("lanes", 0)
        if not counted:
            return ""
        few = float(counted) < float(lanes)
        return f", as if it counted {counted} of {lanes} lanes" if few else ", as if it counted twice"


def scaled(ratio: float, *, lanes: int) -> dict[str, float | str]:
    """Return the parameters of a scale: the ratio, and what it would mean in lanes, if it means anything.

    Parameters
    ----------
    ratio
        What was read over what was expected.
    lanes
        Of the sensor; 0 where the quantity does not grow with lanes.
    """
    for counted in range(1, 2 * lanes + 1):
        if counted != lanes and abs(ratio * lanes / counted - 1) < LANES_TOLERANCE:
            return {"ratio": ratio, "lanes_counted": counted, "lanes": lanes}
    return {"ratio": ratio}
