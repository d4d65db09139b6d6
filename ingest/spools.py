"""The spools of a state folder: one for each MQTT session, and those whose worker is gone, which anybody may empty."""

import contextlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from ingest.segment import Spoolable
from ingest.spool import SUFFIX, Spool
from sensors import WorkError

LOOK_EVERY_S = 60.0  # for spools that nobody has any more


class Spools:
    """The spool of one session; it also empties those that dead workers have left beside it.

    Parameters
    ----------
    folder
        Has a folder for each session.
    session
        Name of this one: its MQTT client id.
    limit_bytes
        Of this session's spool.

    Raises
    ------
    WorkError
        When the folder cannot be written or another process has this session's spool.
    """

    def __init__(self, folder: Path, session: str, *, limit_bytes: int = 1 << 30) -> None:
        self._folder = folder
        self._own = Spool(folder / session, limit_bytes=limit_bytes)
        self._adopted: Spool | None = None
        self._look_at = 0.0

    def __enter__(self) -> "Spools":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folders; what is in them stays."""
        self._own.close()
        if self._adopted is not None:
            self._adopted.close()

    def append(self, messages: Sequence[Spoolable]) -> None:
        """Put messages on the disk; all of them, or none (`SpoolFull`)."""
        self._own.append(messages)

    def waiting(self) -> Spool | None:
        """Return a spool that has something, this session's first; None without any."""
        if self._own:
            return self._own
        if self._adopted is not None and not self._adopted:
            folder = self._adopted.folder
            self._adopted.close()
            self._adopted = None
            self._look_at = 0.0
            if not any(folder.glob("*.bad")):  # what is damaged stays for a person to look at
                shutil.rmtree(folder, ignore_errors=True)
        if self._adopted is None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_EVERY_S
            self._adopted = self._orphan()
        return self._adopted

    def _orphan(self) -> Spool | None:
        for lock in sorted(self._folder.glob("*/lock")):
            if lock.parent != self._own.folder and any(lock.parent.glob(f"*{SUFFIX}")):
                with contextlib.suppress(WorkError):  # somebody has it
                    return Spool(lock.parent)
        return None
