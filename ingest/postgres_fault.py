"""What a PostgreSQL that does not start says, as one sentence on what to do."""

import errno
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from sensors import WorkError

FAULTS: Sequence[tuple[str, str]] = (
    (
        r"No space left on device|Disk quota exceeded|Check free disk space",
        "the disk of {folder} is full: free at least 200 MB",
    ),
    (r"Read-only file system", "{folder} is on a read-only file system: set CITYTWIN_STATE to a folder you may write"),
    (
        r"wrong ownership|invalid permissions|could not change permissions|Operation not supported|Permission denied",
        "PostgreSQL refuses {folder} (owner or file system; a Windows drive?): set CITYTWIN_STATE to a folder of your "
        "own on a disk of Linux or macOS",
    ),
    (r"Cannot allocate memory|could not map anonymous", "too little memory for PostgreSQL: free about 400 MB"),
    (
        r"could not locate a (?:valid|required) checkpoint|invalid (?:primary )?checkpoint|control file"
        r"|files are incompatible|PANIC",
        "the database in {folder} is damaged ({cause}): restore it from a backup, or move {folder} away to begin anew",
    ),
    (r"cannot be run as root|\"root\" execution", "PostgreSQL does not run as root here: start as an ordinary user"),
)


def server_fault(folder: Path, said: str) -> WorkError:
    """Return one sentence on what to do about what a dying server said.

    Examples
    --------
    >>> print(server_fault(Path("/state"), "PANIC:  could not write: No space left on device"))
    the disk of /state is full: free at least 200 MB
    """
    severe = re.findall(r"(?:FATAL|PANIC|ERROR|initdb: error):\s+([^\n|]+)", said)
    cause = severe[0].strip() if severe else said.strip(" |")[-200:] or "it said nothing"
    try:
        full = shutil.disk_usage(folder).free < 1_000_000  # a full disk may have swallowed the message as well
    except OSError:
        full = False
    for pattern, sentence in FAULTS:
        if (full and pattern.startswith("No space")) or re.search(pattern, said):
            return WorkError(sentence.format(folder=folder, cause=cause))
    return WorkError(f"PostgreSQL did not start ({cause}): see {folder / 'postgres.log'}")


def folder_fault(folder: Path, error: OSError) -> WorkError:
    """Return one sentence on what to do about a folder that the system refuses."""
    reasons = {
        errno.EROFS: "is on a read-only file system",
        errno.ENOSPC: "is on a full disk: free at least 200 MB",
        errno.EDQUOT: "is on a full disk: free at least 200 MB",
        errno.EACCES: "may not be written by you",
        errno.EPERM: "may not be written by you, or belongs to another user",
        errno.ENOTDIR: "is not a folder, or lies under a file",
        errno.EEXIST: "is not a folder",
    }
    reason = reasons.get(error.errno or 0, f"cannot be used ({error.strerror})")
    return WorkError(f"{folder} {reason}; CITYTWIN_STATE can name another folder")
