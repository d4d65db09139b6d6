"""``python -m benchmarks [name [options]]``: run every benchmark, or one of them; ``--list`` names them."""

import difflib
import importlib
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def purpose(name: str) -> str:
    """Return the first line of what a benchmark says of itself."""
    text = (FOLDER / f"bench_{name}.py").read_text("utf-8")
    return text.split('"""')[1].splitlines()[0]


def main(words: list[str]) -> int:
    """Run what was asked for and return the exit code: 1 when a benchmark failed, 2 when there is none of that name."""
    if words and words[0] in ("--list", "-h", "--help"):
        print(__doc__)
        print("\n".join(f"  {name:<10} {purpose(name)}" for name in NAMES))
        return 0
    if words:
        name, *options = words
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, 1, 0.0)
            print(f"there is no benchmark {name!r}, did you mean {near[0]!r}?", file=sys.stderr)
            return 2
        sys.argv = [f"python -m benchmarks {name}", *options]
        importlib.import_module(f"benchmarks.bench_{name}").main()
        return 0
    # Each in a process of its own, so that none profits from what another has warmed up.
    failed = [name for name in NAMES if subprocess.run([sys.executable, "-m", "benchmarks", name]).returncode]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
