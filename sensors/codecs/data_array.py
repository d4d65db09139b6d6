"""The data array extension of SensorThings: many observations in one payload, as rows under named components.

Notes
-----
Source: OGC 18-088, SensorThings API Part 1: Sensing, Version 1.1 (2021), section 12 (data array extension).
"""

from collections.abc import Iterator, Mapping

from sensors.codecs.json_values import short
from sensors.errors import PayloadError
from sensors.reading import Reason

_OWN = ("components", "dataArray", "dataArray@iot.count")


def is_data_array(document: object) -> bool:
    """Return whether a payload is a data array, a list of them, or an answer that holds such a list."""
    if isinstance(document, dict):
        return "dataArray" in document or ("result" not in document and isinstance(document.get("value"), list))
    return isinstance(document, list)


def observations(document: object) -> Iterator[dict[str, object] | PayloadError]:
    """Yield the observations of all data arrays, each as it would come alone; in place of one that is none, why.

    Examples
    --------
    >>> array = {"Datastream": {"@iot.id": 7}, "components": ["phenomenonTime", "result"],
    ...          "dataArray": [["2014-08-01T00:00:00Z", 31.5], [1]]}
    >>> first, second = observations(array)
    >>> first["result"], first["Datastream"], second.detail
    (31.5, {'@iot.id': 7}, 'row 2 of dataArray has 1 of 2 components')
    """
    if isinstance(document, dict) and "dataArray" not in document:
        document = document["value"]
    for array in document if isinstance(document, list) else [document]:
        if isinstance(array, dict) and "dataArray" not in array and "result" in array:
            yield array  # a batch of plain observations
        elif isinstance(array, dict):
            yield from _rows(array)
        else:
            yield PayloadError(Reason.WRONG_SHAPE, f"a data array is {short(array)}, must be an object")


def _rows(array: Mapping[str, object]) -> Iterator[dict[str, object] | PayloadError]:
    components, rows = array.get("components"), array.get("dataArray")
    if not isinstance(components, list) or not all(isinstance(name, str) for name in components):
        yield PayloadError(Reason.WRONG_SHAPE, f"components is {short(components)}, must be a list of names")
        return
    if not isinstance(rows, list):
        yield PayloadError(Reason.WRONG_SHAPE, f"dataArray is {short(rows)}, must be a list of rows")
        return
    shared = {name: value for name, value in array.items() if name not in _OWN}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list):
            yield PayloadError(Reason.WRONG_SHAPE, f"row {number} of dataArray is {short(row)}, must be a list")
        elif len(row) != len(components):
            told = f"row {number} of dataArray has {len(row)} of {len(components)} components"
            yield PayloadError(Reason.WRONG_SHAPE, told)
        else:
            yield shared | dict(zip(components, row, strict=True))
