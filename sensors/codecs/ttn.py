"""Codec ``ttn``: uplinks of LoRaWAN devices from The Things Stack v3, on ``v3/<application>@<tenant>/devices/<id>/up``.

A device is a sensor, by its ``device_id``. What its numbers mean is said by a device profile of the topic rule, chosen
by device id or by brand and model; ``decoded_payload`` is read where the network decoded it, else the bytes of
``frm_payload``. A device without a profile gives those values whose names are quantities of ours.

Notes
-----
Source: The Things Industries, The Things Stack: Data Formats, https://www.thethingsindustries.com/docs/integrations/
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from sensors.codecs.frames import FRAMES, MAX_FRAME_BYTES, TYPES, Frame, unpacked
from sensors.codecs.json_values import Collected, checked_sensor_id, ended_ms, load_object, short
from sensors.codecs.mapping import Mapped, mapped
from sensors.codecs.units import converted
from sensors.errors import PayloadError
from sensors.quantity import QUANTITIES
from sensors.reading import Reading, Reason, Rejected
from sensors.toml import nearest, unknown_keys

OPTIONS = ("profile",)
_KEYS = ("devices", "port", "frame", "decoded", "bytes")


@dataclass(frozen=True, slots=True)
class Profile:
    """How the uplinks of one kind of device are read.

    Parameters
    ----------
    devices
        Pattern of the device id, or of ``brand/model``: ``lht52-*``, ``dragino/lht52``.
    port
        LoRaWAN port that the profile is for; 0: any.
    decoded
        Meaning of the fields of ``decoded_payload``, and of those that ``frame`` names.
    places
        Fields of the raw frame: struct code, first byte and meaning.
    frame
        Decoder of the raw frame.
    """

    devices: str
    port: int = 0
    decoded: Mapping[str, Mapped] = field(default_factory=dict)
    places: tuple[tuple[str, int, Mapped], ...] = ()
    frame: Frame | None = None

    def fits(self, device_id: str, model: str, port: object) -> bool:
        """Return whether the profile is for an uplink."""
        named = fnmatchcase(device_id, self.devices) or (model != "" and fnmatchcase(model, self.devices))
        return named and self.port in (0, port)


_NO_PROFILE = Profile("*", decoded={key: Mapped(key) for key in QUANTITIES})


class Ttn:
    """The decoder of one topic rule; the first profile that fits an uplink reads it.

    Examples
    --------
    >>> decode = Ttn([Profile("lht52-*", decoded={"Bat_mV": Mapped("voltage_v", 0.001)})])
    >>> decode("v3/a@t/devices/lht52-1/up", b'{"end_device_ids": {"device_id": "lht52-1"}, "uplink_message": '
    ...     b'{"decoded_payload": {"Bat_mV": 3000}, "received_at": "2022-08-29T08:54:11.965576697Z"}}')[0][0].value
    3.0
    """

    def __init__(self, profiles: "list[Profile] | None" = None) -> None:
        self._profiles = tuple(profiles or ())

    def __call__(self, topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
        """Return the readings and the rejected values of one uplink.

        Raises
        ------
        PayloadError
            When nothing of the payload can be used, with the reason.
        """
        root = load_object(payload)
        uplink = root.get("uplink_message")
        if not isinstance(uplink, dict):
            raise PayloadError(Reason.WRONG_SHAPE, f"uplink_message is {short(uplink)}, must be an object")
        ids = root.get("end_device_ids")
        device = ids.get("device_id") if isinstance(ids, dict) else None
        sensor_id = checked_sensor_id(device if isinstance(device, str) else "")
        version = uplink.get("version_ids")
        version = version if isinstance(version, dict) else {}
        brand, name = version.get("brand_id"), version.get("model_id")
        model = f"{brand}/{name}"[:256] if isinstance(brand, str) and isinstance(name, str) else ""
        port = uplink.get("f_port")
        profile = next((p for p in self._profiles if p.fits(sensor_id, model, port)), _NO_PROFILE)
        values, refused = _values(uplink, profile)
        if all(value is None for value in values.values()) and not refused:
            raise PayloadError(
                Reason.NO_VALUE, f"no value of device {short(sensor_id)} is mapped: add a [[topic.profile]]"
            )
        time = uplink.get("received_at")
        instant = ended_ms(time if time is not None else root.get("received_at"))
        collected = Collected(topic, payload)
        collected.values(sensor_id, instant, values)
        for error in refused:
            collected.reject(error, root)
        return collected.readings, collected.rejected


def _values(uplink: Mapping[str, object], profile: Profile) -> tuple[dict[str, object], list[PayloadError]]:
    """Return the values by quantity, and what is wrong with single fields of the frame."""
    decoded = uplink.get("decoded_payload")
    if isinstance(decoded, dict) and decoded and profile.decoded:
        return _named(decoded, profile), []
    if profile.frame is None and not profile.places:
        return {}, []
    frame = _frame(uplink.get("frm_payload"))
    values = _named(profile.frame(frame), profile) if profile.frame is not None else {}
    refused: list[PayloadError] = []
    for code, at, meaning in profile.places:
        try:
            values[meaning.quantity] = converted(unpacked(frame, code, at), meaning.factor, meaning.offset)
        except PayloadError as error:
            refused.append(error)
    return values, refused


def _named(values: Mapping[str, object], profile: Profile) -> dict[str, object]:
    return {
        meaning.quantity: converted(values[name], meaning.factor, meaning.offset)
        for name, meaning in profile.decoded.items()
        if name in values
    }


def _frame(text: object) -> bytes:
    if text is None:
        raise PayloadError(Reason.NO_VALUE, "neither decoded_payload nor frm_payload is there")
    if not isinstance(text, str) or len(text) > 2 * MAX_FRAME_BYTES:
        raise PayloadError(Reason.WRONG_SHAPE, f"frm_payload is {short(text)}, must be base64 of at most 255 bytes")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise PayloadError(Reason.WRONG_SHAPE, f"frm_payload is {short(text)}, must be base64") from None


def configured(options: Mapping[str, object], *, where: str, faults: list[str]) -> Ttn:
    """Return the decoder that the options of a topic rule describe; what is wrong adds to the faults."""
    rows = options.get("profile", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        faults.append(f"{where}: profile must be a list of [[topic.profile]] tables")
        return Ttn()
    profiles = [_profile(row, f"{where}: profile number {number}", faults) for number, row in enumerate(rows, 1)]
    return Ttn(profiles)


def _profile(row: Mapping[str, object], where: str, faults: list[str]) -> Profile:
    faults += unknown_keys(row, _KEYS, where=where)
    devices, port, frame = row.get("devices"), row.get("port", 0), row.get("frame")
    if not isinstance(devices, str) or not devices:
        faults.append(f"{where}: devices is {devices!r}, must be a pattern such as 'lht52-*' or 'dragino/lht52'")
    if type(port) is not int or not 0 <= port <= 255:
        faults.append(f"{where}: port is {port!r}, must be 1 to 255, or 0 for any")
    if frame is not None and (not isinstance(frame, str) or frame not in FRAMES):
        faults.append(f"{where}: unknown frame {frame!r}, {nearest(str(frame), FRAMES)}")
    decoded: dict[str, Mapped] = {}
    for name, value in _table(row, "decoded", where, faults).items():
        if (meaning := mapped(value, where=f"{where}: decoded.{name}", faults=faults)) is not None:
            decoded[name] = meaning
    places: list[tuple[str, int, Mapped]] = []
    for name, value in _table(row, "bytes", where, faults).items():
        at_key = f"{where}: bytes.{name}"
        table: Mapping[str, object] = value if isinstance(value, dict) else {}
        at, kind = table.get("at"), table.get("type")
        if type(at) is not int or not 0 <= at < MAX_FRAME_BYTES:
            faults.append(f"{at_key}: at is {at!r}, must be the first byte, from 0 to {MAX_FRAME_BYTES - 1}")
        if not isinstance(kind, str) or kind not in TYPES:
            faults.append(f"{at_key}: unknown type {kind!r}, {nearest(str(kind), TYPES)}")
        meaning = mapped(table, where=at_key, faults=faults, also=("at", "type"))
        if meaning is not None and type(at) is int and isinstance(kind, str) and kind in TYPES:
            places.append((TYPES[kind], at, meaning))
    return Profile(
        str(devices),
        port if type(port) is int else 0,
        decoded,
        tuple(places),
        FRAMES.get(frame) if isinstance(frame, str) else None,
    )


def _table(row: Mapping[str, object], key: str, where: str, faults: list[str]) -> Mapping[str, object]:
    table = row.get(key, {})
    if isinstance(table, dict):
        return table
    faults.append(f"{where}: {key} is {table!r}, must be a table")
    return {}
