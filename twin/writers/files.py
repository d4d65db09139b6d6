"""Files of an export: written beside their place and moved there when all are complete."""

import os
import shutil
from collections.abc import Iterable, Mapping
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
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, this format is a folder")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise InputError(f"{out}: is not empty; name another folder, or use --force to replace its files")
    part = out.parent / f".{out.name}.{os.getpid()}.part"
    try:
        part.mkdir(parents=True)
        for name, lines in files.items():
            _write(part / name, lines)
        if out.is_dir():
            for made in sorted(part.iterdir()):
                made.replace(out / made.name)
        else:
            part.rename(out)
    except OSError as error:
        raise WorkError(f"cannot write {out}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(path: Path, lines: Lines) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
