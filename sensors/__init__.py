"""The shared language of the city: quantities, sensors, readings, payloads and their quality."""

from sensors.errors import InputError, PayloadError, WorkError
from sensors.quantity import QUANTITIES, Quantity, quantity
from sensors.reading import Batch, Reading, Reason, Rejected
from sensors.sensor import Sensor

__all__ = [
    "QUANTITIES",
    "Batch",
    "InputError",
    "PayloadError",
    "Quantity",
    "Reading",
    "Reason",
    "Rejected",
    "Sensor",
    "WorkError",
    "quantity",
]
