"""Frames of small devices: bytes to named numbers. What a device profile may call its frame is in `FRAMES`.

Notes
-----
Source: Cayenne Low Power Payload (myDevices, 2016), "LPP data types": channel, type, value in big-endian order.
"""

import struct
from collections.abc import Callable

from sensors.errors import PayloadError
from sensors.reading import Reason

Frame = Callable[[bytes], dict[str, float]]
MAX_FRAME_BYTES = 255  # LoRaWAN 1.0.4: a PHY payload is at most 255 bytes

# Type of Cayenne LPP: name, size of the value, struct code, resolution.
_LPP: dict[int, tuple[str, str, float]] = {
    0: ("digital_in", "B", 1.0),
    1: ("digital_out", "B", 1.0),
    2: ("analog_in", ">h", 0.01),
    3: ("analog_out", ">h", 0.01),
    101: ("luminosity", ">H", 1.0),
    102: ("presence", "B", 1.0),
    103: ("temperature", ">h", 0.1),
    104: ("relative_humidity", "B", 0.5),
    115: ("barometric_pressure", ">H", 0.1),
    116: ("voltage", ">H", 0.01),
    117: ("current", ">H", 0.001),
    128: ("power", ">H", 1.0),
}


def cayenne_lpp(frame: bytes) -> dict[str, float]:
    """Return the values of a Cayenne LPP frame as ``<name>_<channel>``.

    Raises
    ------
    PayloadError
        WRONG_SHAPE for a type that is not known, or a frame that ends within a value.

    Examples
    --------
    >>> cayenne_lpp(bytes.fromhex("03670110"))
    {'temperature_3': 27.2}
    """
    values: dict[str, float] = {}
    at = 0
    while at < len(frame):
        if at + 2 > len(frame) or frame[at + 1] not in _LPP:
            raise PayloadError(Reason.WRONG_SHAPE, f"frm_payload: no Cayenne LPP value at byte {at}")
        name, code, resolution = _LPP[frame[at + 1]]
        value = unpacked(frame, code, at + 2)
        values[f"{name}_{frame[at]}"] = round(value * resolution, 6)
        at += 2 + struct.calcsize(code)
    return values


FRAMES: dict[str, Frame] = {"cayenne_lpp": cayenne_lpp}

# Types of a field that a profile may give with its place: struct codes.
TYPES = {
    "uint8": "B", "int8": "b", "uint16": ">H", "int16": ">h", "uint32": ">I", "int32": ">i", "float32": ">f",
    "uint16le": "<H", "int16le": "<h", "uint32le": "<I", "int32le": "<i", "float32le": "<f",
}  # fmt: skip


def unpacked(frame: bytes, code: str, at: int) -> float:
    """Return the number at a byte of a frame.

    Raises
    ------
    PayloadError
        WRONG_SHAPE when the frame is too short.

    Examples
    --------
    >>> unpacked(bytes.fromhex("09010001000bee"), ">H", 5)
    3054
    """
    try:
        value: float = struct.unpack_from(code, frame, at)[0]
    except struct.error:
        size = at + struct.calcsize(code)
        raise PayloadError(Reason.WRONG_SHAPE, f"frm_payload has {len(frame)} bytes, must have {size}") from None
    return value
