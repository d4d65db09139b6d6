"""Reason codes of MQTT 5, the return codes of 3.1.1, and the error that carries one of them."""

import enum


class Reason(enum.IntEnum):
    """Reason codes of OASIS MQTT 5 (2019), table 2-6, as far as a broker gives or understands them."""

    SUCCESS = 0x00
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    UNSPECIFIED = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC = 0x83
    UNSUPPORTED_LEVEL = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    QUOTA_EXCEEDED = 0x97
    PAYLOAD_FORMAT_INVALID = 0x99


class Connack(enum.IntEnum):
    """Return codes of CONNACK in MQTT 3.1.1, table 3.1."""

    ACCEPTED = 0
    UNACCEPTABLE_LEVEL = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_USER_OR_PASSWORD = 4
    NOT_AUTHORIZED = 5


_CONNACK = {
    Reason.SUCCESS: Connack.ACCEPTED,
    Reason.UNSUPPORTED_LEVEL: Connack.UNACCEPTABLE_LEVEL,
    Reason.CLIENT_IDENTIFIER_NOT_VALID: Connack.IDENTIFIER_REJECTED,
    Reason.SERVER_UNAVAILABLE: Connack.SERVER_UNAVAILABLE,
    Reason.BAD_USER_OR_PASSWORD: Connack.BAD_USER_OR_PASSWORD,
    Reason.NOT_AUTHORIZED: Connack.NOT_AUTHORIZED,
}


def return_code(reason: Reason) -> Connack:
    """Return what CONNACK of MQTT 3.1.1 says for a reason of MQTT 5.

    Examples
    --------
    >>> return_code(Reason.NOT_AUTHORIZED)
    <Connack.NOT_AUTHORIZED: 5>
    """
    return _CONNACK.get(reason, Connack.SERVER_UNAVAILABLE)


class MalformedPacketError(ValueError):
    """Bytes that break the protocol; the message says what is wrong and closes that connection only.

    Parameters
    ----------
    message
        What is wrong.
    reason
        What DISCONNECT or CONNACK of MQTT 5 gives as the reason.
    """

    def __init__(self, message: str, reason: Reason = Reason.MALFORMED_PACKET) -> None:
        super().__init__(message)
        self.reason = reason
