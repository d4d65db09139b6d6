"""The child that runs a private PostgreSQL and ends it when its owner is gone, however the owner died.

Run as ``python -I -S postgres_supervisor.py JSON`` by `ingest.postgres`; standard library only, no import of this
project. It blocks on stdin: end of file means that the owner is dead or wants a stop. Stdout gets one line, ``pid N``
or ``error TEXT``. PostgreSQL refuses to run as root, so as root it first gives its rights away: into a user namespace
where host's root is called 65534 (no file changes owner), or, where namespaces are forbidden (a container), to uid
65534 that keeps only the right to pass closed folders.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

NOBODY = 65534
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522
STOP_S = 20.0


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def enter_namespace() -> None:
    """Become uid 65534 of a new user namespace; on the host all files stay root's."""
    if _libc().unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} 0 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} 0 1")


def become_nobody() -> None:
    """Become uid 65534, with the one capability that lets it through folders closed to others (``/root``)."""
    libc = _libc()
    os.setgroups([])
    os.setgid(NOBODY)
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setuid(NOBODY)
    bits = 1 << CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)  # effective, permitted, inheritable; low, then high word
    if libc.capset(header, sets) == 0:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def namespace_works(task: dict[str, Any]) -> bool:
    """Return whether a child of ours could enter a user namespace and reach its files there.

    Tried in a child, because there is no way back. In the namespace root has no power over the files of others, so a
    state folder below somebody's closed home is out of reach.
    """
    child = os.fork()
    if child == 0:
        try:
            enter_namespace()
        except (OSError, AttributeError):
            os._exit(1)
        reached = os.access(Path(task["data"]).parent, os.W_OK | os.X_OK) and os.access(task["bin"], os.X_OK)
        os._exit(0 if reached else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def own_tree(folder: Path, uid: int) -> None:
    """Give an existing folder tree to a user, when it belongs to another."""
    if not folder.exists() or folder.stat().st_uid == uid:
        return
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            os.chown(Path(place) / name, uid, uid, follow_symlinks=False)
    os.chown(folder, uid, uid)  # last: an interrupted walk is done again


def give_up_root(task: dict[str, Any]) -> None:
    """Stop being root, in the gentler of the two ways that works here."""
    if os.geteuid() != 0:
        return
    namespace = task["namespace"] and sys.platform == "linux" and namespace_works(task)
    uid = 0 if namespace else NOBODY
    own_tree(Path(task["data"]), uid)
    if task["remove"]:
        own_tree(Path(task["remove"]), uid)
    if namespace:
        enter_namespace()
    else:
        os.fchown(task["log"], uid, uid)
        become_nobody()


def create_cluster(task: dict[str, Any]) -> str:
    """Make the data folder under another name, then rename it; return an error text or ``""``."""
    data, fresh = Path(task["data"]), Path(task["data"] + ".new")
    if (data / "PG_VERSION").exists():
        return ""
    if data.exists() and any(data.iterdir()):
        return f"{data} holds files that are no PostgreSQL data"
    shutil.rmtree(fresh, ignore_errors=True)  # what an interrupted start left
    words = ["-U", task["user"], "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions"]
    made = subprocess.run(
        [f"{task['bin']}/initdb", "-D", str(fresh), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if made.returncode == 0:
        made = subprocess.run(  # single-user mode reads one command a line
            [f"{task['bin']}/postgres", "--single", "-D", str(fresh), "postgres"],
            capture_output=True, text=True, input=f"CREATE DATABASE {task['database']}\n",
        )  # fmt: skip
    said = made.stdout + made.stderr
    with contextlib.suppress(OSError):  # on a full disk it can only be said
        os.write(task["log"], said.encode("utf-8", "replace"))
    if made.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        return f"initdb ended with {made.returncode}: {said[:10_000]} {said[10_000:][-10_000:]}"
    if data.exists():
        data.rmdir()
    fresh.rename(data)
    return ""


def die_with_supervisor() -> None:
    """In the new server process: ask Linux for a fast shutdown should the supervisor itself be killed."""
    if sys.platform == "linux":
        _libc().prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)


def serve(task: dict[str, Any]) -> int:
    """Run the server until it ends or the owner is gone; return the exit code."""
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    settings = [word for key, value in task["settings"].items() for word in ("-c", f"{key}={value}")]
    server = subprocess.Popen(
        [f"{task['bin']}/postgres", "-D", task["data"], *settings],
        stdin=subprocess.DEVNULL, stdout=task["log"], stderr=task["log"], cwd="/",
        pass_fds=[task["lock"]],  # every server process holds the lock: it is free when, and only when, all are gone
        start_new_session=True, preexec_fn=die_with_supervisor,
    )  # fmt: skip
    say(f"pid {server.pid}")
    owner = os.getppid()
    while server.poll() is None and os.getppid() == owner:
        ready, _, _ = select.select([0, wake_read], [], [], 1.0)
        if 0 in ready and not os.read(0, 4096):
            break
        if wake_read in ready:
            os.read(wake_read, 4096)
    for number, patience_s in ((signal.SIGINT, STOP_S), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        if server.poll() is None:
            server.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(patience_s)
    return 0 if server.returncode == 0 else 1


def say(line: str) -> None:
    """Write one line to the owner, who may be gone."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, (line.replace("\n", " | ") + "\n").encode("utf-8", "replace"))


def main() -> int:
    """Give up root, make the data folder, serve."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the owner's end ends the server
    task = json.loads(sys.argv[1])
    try:
        give_up_root(task)
        error = create_cluster(task)
        if error:
            say(f"error {error}")
            return 1
        return serve(task)
    except OSError as error_found:
        say(f"error {error_found}")
        return 1
    finally:
        if task["remove"]:
            shutil.rmtree(task["remove"], ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
