"""Networks for other programs: one writer a format, chosen by the name of what is written.

A writer is a module with ``write(network, out, overwrite=False)``, which returns what people should know of the file:
what the format cannot say as the network does.
"""

from collections.abc import Callable
from pathlib import Path

from sensors import InputError
from twin.network import Network
from twin.writers import cityjson, geojson, gmns, sumo

_WRITERS: dict[str, Callable[..., list[str]]] = {
    "gmns": gmns.write,
    "sumo": sumo.write,
    "geojson": geojson.write,
    "cityjson": cityjson.write,
}
FORMATS = tuple(_WRITERS)

_SUFFIXES = ((".city.json", "cityjson"), (".cityjson", "cityjson"), (".geojson", "geojson"), (".sumo", "sumo"))


def form_of(out: Path) -> str:
    """Return the format that a name asks for; a name without a suffix is a GMNS folder.

    Raises
    ------
    InputError
        When the suffix is none that is known.

    Examples
    --------
    >>> [form_of(Path(name)) for name in ("city", "city.sumo", "a.geojson", "b.city.json", "city.gmns")]
    ['gmns', 'sumo', 'geojson', 'cityjson', 'gmns']
    """
    name = out.name.lower()
    for suffix, form in _SUFFIXES:
        if name.endswith(suffix):
            return form
    if out.suffix in ("", ".gmns"):
        return "gmns"
    known = ", ".join(suffix for suffix, _ in _SUFFIXES)
    raise InputError(f"{out}: what format is {out.suffix}? known are {known} and a folder (GMNS); or say --format")


def export(network: Network, out: Path | str, *, form: str | None = None, overwrite: bool = False) -> list[str]:
    """Write a network for other programs, and return what people should know of it.

    Parameters
    ----------
    form
        One of `FORMATS`; by the name of ``out`` when not given.

    Raises
    ------
    InputError
        When the format is unknown, or something stands there and is not to be replaced.
    WorkError
        When the disk refuses.
    """
    out = Path(out)
    form = form or form_of(out)
    if form not in _WRITERS:
        raise InputError(f"format is {form!r}, must be one of {', '.join(FORMATS)}")
    return _WRITERS[form](network, out, overwrite=overwrite)
