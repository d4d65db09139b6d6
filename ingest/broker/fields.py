"""The fields that packets are made of: text, binary data, integers; read strictly."""

from ingest.broker.reasons import MalformedPacketError, Reason


def decode_text(data: bytes, what: str) -> str:
    """Return MQTT text: strict UTF-8 without U+0000 (MQTT-1.5.3-1, -2)."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise MalformedPacketError(f"{what} is not UTF-8: {data[:40]!r}") from None
    if "\0" in text:
        raise MalformedPacketError(f"{what} holds U+0000: {text[:40]!r}")
    return text


def read_binary(body: bytes, at: int, what: str) -> tuple[bytes, int]:
    """Return the binary data at a place, and where it ends."""
    if at + 2 > len(body):
        raise MalformedPacketError(f"{what} is cut off")
    start = at + 2
    stop = start + (body[at] << 8 | body[at + 1])
    if stop > len(body):
        raise MalformedPacketError(f"{what} is cut off")
    return body[start:stop], stop


def read_text(body: bytes, at: int, what: str) -> tuple[str, int]:
    """Return the text at a place, and where it ends."""
    data, stop = read_binary(body, at, what)
    return decode_text(data, what), stop


def read_integer(body: bytes, at: int, size: int, what: str) -> tuple[int, int]:
    """Return the integer of ``size`` bytes at a place, and where it ends."""
    stop = at + size
    if stop > len(body):
        raise MalformedPacketError(f"{what} is cut off")
    return int.from_bytes(body[at:stop], "big"), stop


def read_variable(body: bytes, at: int, what: str) -> tuple[int, int]:
    """Return the variable byte integer at a place, and where it ends.

    Examples
    --------
    >>> read_variable(bytes([0xC1, 0x02]), 0, "length")
    (321, 2)
    """
    value = 0
    for k in range(4):
        if at + k >= len(body):
            raise MalformedPacketError(f"{what} is cut off")
        value |= (body[at + k] & 0x7F) << 7 * k
        if not body[at + k] & 0x80:
            if k and not body[at + k]:  # MQTT-1.5.5-1
                raise MalformedPacketError(f"{what} is not in its shortest form")
            return value, at + k + 1
    raise MalformedPacketError(f"{what} has more than 4 bytes")


def read_packet_id(body: bytes, name: str) -> int:
    """Return the packet identifier that a body begins with; 0 is none (MQTT-2.3.1-1, in 5: 2.2.1-3)."""
    if len(body) < 2:
        raise MalformedPacketError(f"{name} without packet identifier")
    packet_id = body[0] << 8 | body[1]
    if packet_id == 0:
        raise MalformedPacketError(f"{name} with packet identifier 0", Reason.PROTOCOL_ERROR)
    return packet_id


def with_length(data: bytes) -> bytes:
    """Return data with its length of two bytes before it."""
    if len(data) > 0xFFFF:
        raise ValueError(f"text of {len(data)} bytes, MQTT allows 65535")
    return len(data).to_bytes(2, "big") + data
