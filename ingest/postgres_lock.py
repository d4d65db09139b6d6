"""The two locks of a PostgreSQL folder: of its owner, and of every process of its server."""

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path
from typing import IO

from sensors import WorkError

DYING_S = 0.5  # a killed process holds its locks a moment longer
LEFTOVER_S = 5.0
RELEASE_S = 30.0


def take_owner_lock(path: Path) -> IO[str]:
    """Return the locked file; a dead owner's server gets time to end, a living owner is named at once."""
    lock = path.open("a+")
    started = time.monotonic()
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            waited = time.monotonic() - started
            if waited > RELEASE_S or (waited > DYING_S and holder.isdigit() and _runs(int(holder))):
                lock.close()
                raise WorkError(
                    f"{path.parent} is in use by process {holder or 'unknown'}: stop it first, or set CITYTWIN_STATE "
                    "to another folder"
                ) from None
            time.sleep(0.05)
        except OSError as error:
            lock.close()
            raise WorkError(
                f"{path.parent} is on a file system without locks ({error.strerror}): set CITYTWIN_STATE to a folder "
                "on a local disk"
            ) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def take_server_lock(path: Path, data: Path) -> int:
    """Return a locked descriptor, once no process of an earlier server is left; end those that do not go."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    started = time.monotonic()
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            waited = time.monotonic() - started
            if waited > RELEASE_S:
                os.close(lock)
                raise WorkError(f"an earlier PostgreSQL of {data} does not end: end its processes by hand") from None
            if waited > LEFTOVER_S:
                for pid in server_processes(data):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)


def server_processes(data: Path) -> list[int]:
    """Return the processes named postgres that work in a data folder (every one of them has it as its cwd; Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "comm").read_text().startswith("postgres") and (process / "cwd").samefile(data):
                found.append(int(process.name))
    return found


def forget_stale_pids(data: Path, *, socket: Path) -> None:
    """Remove the pid files of a dead server, whose number may be another program's by now, or a zombie's.

    PostgreSQL would take either for a living server and refuse to start; containers, where numbers start over and
    nobody buries the dead, need this. The server lock already says that no server of ours is left.
    """
    path = data / "postmaster.pid"
    try:
        number = path.read_text().partition("\n")[0].strip()
    except OSError:
        number = ""
    if not Path("/proc/self").exists():
        return  # who else works in the folder cannot be told here
    if number.isdigit() and int(number) in server_processes(data):
        raise WorkError(f"{data} is served by process {number}, a PostgreSQL started by hand: stop that one first")
    for stale in (path, socket.with_name(socket.name + ".lock"), socket):
        stale.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
