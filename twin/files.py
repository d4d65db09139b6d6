"""Files and folders that are written whole: beside their place, and moved there when all is complete."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sensors import InputError, WorkError

Lines = Iterable[str]


def write_file(out: Path, lines: Lines, *, overwrite: bool = False) -> None:
    """Write one text file, all or nothing.

    Raises
    ------
    InputError
        When something stands there and is not to be replaced.
    WorkError
        When the disk refuses.
    """
    if out.is_dir():
        raise InputError(f"{out}: is a folder, this format is one file")
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists; name another file, or use --force to replace it")
    part = out.parent / f".{out.name}.{os.getpid()}.part"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(part, lines)
        part.replace(out)
    except OSError as error:
        raise WorkError(f"cannot write {out}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def write_folder(out: Path, files: Mapping[str, Lines], *, overwrite: bool = False) -> None:
    """Write text files by name into a folder, all or nothing; other files of the folder stay.

    Raises
    ------
    InputError
        When the folder holds something and is not to be replaced.
    WorkError
        When the disk refuses.
    """
    with filled_folder(out, what="this format", overwrite=overwrite) as part:
        for name, lines in files.items():
            _write(part / name, lines)


@contextmanager
def filled_folder(
    out: Path,
    *,
    what: str,
    overwrite: bool,
    make_room: Callable[[Path, Path], None] | None = None,
    last: str = "",
) -> Iterator[Path]:
    """Give a folder to fill, whose files take their place in another one when all are complete.

    Parameters
    ----------
    what
        What is written, for messages.
    make_room
        Called with the filled folder and the one that is there already, before files of that are replaced.
    last
        Name of the file that takes its place after all others.

    Raises
    ------
    InputError
        When the folder holds something and is not to be replaced, or is a file.
    WorkError
        When the disk refuses.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, {what} is written to a folder")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise InputError(f"{out}: is not empty; name another folder, or use --force to replace {what} in it")
    part = out.parent / f".{out.name}.{os.getpid()}.part"
    try:
        part.mkdir(parents=True)
        yield part
        if out.is_dir():
            if make_room is not None:
                make_room(part, out)
            for made in sorted(part.iterdir(), key=lambda path: (path.name == last, path.name)):
                made.replace(out / made.name)
        else:
            part.rename(out)
    except OSError as error:
        raise WorkError(f"cannot write {what} to {out}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(path: Path, lines: Lines) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
