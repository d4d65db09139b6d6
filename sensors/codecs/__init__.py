"""Payload codecs, one file each: a codec turns (topic, payload) into readings and rejected values."""

from collections.abc import Callable, Mapping

from sensors.codecs import citytwin, hfp, ngsi, sensorthings, ttn
from sensors.reading import Reading, Rejected

Decoder = Callable[[str, bytes], tuple[list[Reading], list[Rejected]]]

# The names that `config/city.toml` may use.
CODECS: dict[str, Decoder] = {
    "citytwin": citytwin.decode,
    "hfp": hfp.decode,
    "ngsi": ngsi.Ngsi(),
    "sensorthings": sensorthings.SensorThings(),
    "ttn": ttn.Ttn(),
}
# Keys of a topic rule that are a codec's own.
OPTIONS: dict[str, tuple[str, ...]] = {
    "ngsi": ngsi.OPTIONS,
    "sensorthings": sensorthings.OPTIONS,
    "ttn": ttn.OPTIONS,
}


def configured(codec: str, options: Mapping[str, object], *, where: str, faults: list[str]) -> Decoder:
    """Return the decoder of a codec with the options of a topic rule; what is wrong with them adds to the faults."""
    match codec:
        case "ngsi":
            return ngsi.configured(options, where=where, faults=faults)
        case "sensorthings":
            return sensorthings.configured(options, where=where, faults=faults)
        case "ttn":
            return ttn.configured(options, where=where, faults=faults)
        case _:
            return CODECS[codec]


__all__ = ["CODECS", "OPTIONS", "Decoder", "configured"]
