"""The state of a run as one file, exact to the last bit: numpy's archive without pickle, and a header in JSON.

What is made anew from the inputs (network, demand, scenario) is not in it; their hashes are, so that they must be the
same. SimPy's processes cannot be saved: what the scenario is about to do stands in `simulation.agenda`.
"""

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensors import InputError, WorkError
from simulation.lights import Showing
from simulation.measure import Cumulative

FORM = "citytwin state 3"
# What the readers of an archive and of its arrays raise when bits are not those that were written.
TORN = (ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, RuntimeError, zlib.error)
RECORDS = (Cumulative, Showing)  # frozen classes that a state may hold

Arrays = dict[str, npt.NDArray[Any]]


def pack(value: Any, name: str, arrays: Arrays) -> Any:
    """Return a value as JSON; its arrays go to ``arrays`` under names that begin with ``name``.

    Raises
    ------
    TypeError
        For what is no plain value, container, array or record: name it among what is made anew, or teach it here.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, np.generic):
        return pack(value.item(), name, arrays)
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [pack(item, f"{name}.{k}", arrays) for k, item in enumerate(value)]}
    if isinstance(value, dict):
        pairs = enumerate(value.items())
        return {"dict": [[pack(a, f"{name}.{k}k", arrays), pack(b, f"{name}.{k}v", arrays)] for k, (a, b) in pairs]}
    if type(value) in RECORDS:
        parts = {f.name: pack(getattr(value, f.name), f"{name}.{f.name}", arrays) for f in fields(value)}
        return {"record": type(value).__name__, "parts": parts}
    raise TypeError(f"{name} is a {type(value).__name__}, which a saved state cannot hold")


def unpack(value: Any, arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
    """Return what `pack` was given.

    Examples
    --------
    >>> arrays = {}
    >>> unpack(pack({(1, "a"): [0.1, None]}, "x", arrays), arrays)
    {(1, 'a'): [0.1, None]}
    """
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float.fromhex(value["float"])
    if "array" in value:
        return arrays[value["array"]].copy()
    if "record" in value:
        of_name = {record.__name__: record for record in RECORDS}
        return of_name[value["record"]](**{key: unpack(part, arrays) for key, part in value["parts"].items()})
    if "dict" in value:
        return {unpack(a, arrays): unpack(b, arrays) for a, b in value["dict"]}
    items = [unpack(item, arrays) for item in value["tuple" if "tuple" in value else "list"]]
    return tuple(items) if "tuple" in value else items


def restored(
    template: npt.NDArray[Any],
    saved: npt.NDArray[Any],
    name: str,
    *,
    keep: Sequence[str] = (),
    longer: bool = False,
    into: bool = False,
) -> npt.NDArray[Any]:
    """Return a saved array in the type of ``template``: files forget the alignment of records, kernels need it.

    Parameters
    ----------
    keep
        Columns of a record that stay as they are in ``template``.
    longer
        Keep the rows of ``template`` behind those saved.
    into
        Write into ``template`` itself, which is at least as long.
    """
    same = template.dtype.names == saved.dtype.names and template.ndim == saved.ndim
    if not same or (template.dtype.names is None and template.dtype != saved.dtype):
        raise InputError(f"the saved array {name} has other columns than this version's")
    made = template
    if not into:
        n = max(len(template), len(saved)) if longer else len(saved)
        made = np.zeros((n, *saved.shape[1:]), template.dtype)
        rows = min(n, len(template))
        made[:rows] = template[:rows]
    if template.dtype.names is None:
        made[: len(saved)] = saved
    else:
        for column in template.dtype.names:
            if column not in keep:
                made[column][: len(saved)] = saved[column]
    return made


@dataclass(frozen=True)
class SavedState:
    """A state as it was read.

    Parameters
    ----------
    header
        Plain values: form, time, seed, hashes, ...
    arrays
        Of the kernel and of what surrounds it.
    path
        Of the file, for messages.
    """

    header: dict[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]
    path: Path

    def value(self, key: str) -> Any:
        """Return a packed value of the header."""
        return unpack(self.header["values"][key], self.arrays)


def write_state(path: Path, header: Mapping[str, Any], arrays: Arrays) -> None:
    """Write a state, wholly or not at all.

    Raises
    ------
    WorkError
        When the disk refuses.
    """
    text = json.dumps({"form": FORM, **header}, allow_nan=False).encode()
    path = path.absolute()
    handle, scratch = -1, ""
    try:
        handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **{"header": np.frombuffer(text, np.uint8), **arrays})
        Path(scratch).replace(path)
    except OSError as error:
        raise WorkError(f"{path}: the state cannot be written: {error.strerror}, check rights and space") from None
    finally:
        if scratch:
            Path(scratch).unlink(missing_ok=True)


def read_state(path: Path | str) -> SavedState:
    """Return the state of a file.

    Raises
    ------
    InputError
        When the file is torn, or none of ours.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            with zipfile.ZipFile(file) as whole:
                if torn := whole.testzip():  # before numpy makes sense of what a flipped bit has made of its headers
                    raise zipfile.BadZipFile(torn)
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header.get("form") != FORM:
            raise InputError(f"{path}: is a state of another version ({header.get('form')!r}), must be {FORM!r}")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or 'is no saved state'}") from None
    except InputError:
        raise
    except TORN:
        raise InputError(f"{path}: is torn, or no state that citytwin saved") from None
    return SavedState(header, arrays, path)


def check(state: SavedState, wanted: Mapping[str, tuple[Any, str]]) -> None:
    """Refuse a state that does not belong to the inputs: ``wanted`` gives by key the value and what it is called.

    Raises
    ------
    InputError
        With a sentence for each difference.
    """
    faults = []
    for key, (value, words) in wanted.items():
        saved = state.header[key]
        if saved != value:
            shown = f": {saved} there, {value} here" if not key.endswith("sha256") else ""
            faults.append(f"{state.path}: was saved with another {words}{shown}")
    if faults:
        raise InputError(faults)
