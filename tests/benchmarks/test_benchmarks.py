"""Benchmarks run, do the same work on both sides, and are documented."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem.removeprefix("bench_") for path in (ROOT / "benchmarks").glob("bench_*.py"))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


# A comparison asserts by itself that both sides did the same: a small input shows that it still holds.
@pytest.mark.parametrize(
    "words",
    [
        ("payload", "--messages", "200"),
        ("estimate", "--repeats", "1"),
        ("ingest", "--messages", "200"),
        ("results", "--rows", "2000"),
        ("osm", "--size", "8"),
    ],
)
def test_a_comparison_prints_its_ratio(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{words[0]}: [\d.]+ x [^\n]+\n", done.stdout)


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (("backfill", "--rows", "5000"), 1),
        (("queries", "--rows", "20000", "--series", "100", "--tries", "1"), 12),
        (("storage", "--rows", "4000", "--series", "10"), 2),
        (("assets", "--assets", "600", "--asked", "5"), 6),
    ],
)
def test_a_benchmark_of_several_questions_compares_the_same_answers(words: tuple[str, ...], lines: int) -> None:
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= lines
    assert all(line.startswith(f"{words[0]}: ") for line in done.stdout.splitlines())


def test_the_engine_does_the_same_work_as_its_peers() -> None:
    done = run("engine_grid", "--size", "4", "--vehicles", "600", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("engine_grid: 600 vehicles")
    assert all(" x as fast as " in line or "NO SECOND SOLVER" in line for line in lines[1:])
    assert len(lines) > 2


def test_every_benchmark_is_listed_and_in_the_readme() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text("utf-8")
    listed = run("--list").stdout
    assert NAMES
    assert [name for name in NAMES if f"| `{name}` |" not in text or f"\n  {name} " not in listed] == []


def test_an_unknown_benchmark_is_refused_with_the_nearest_name() -> None:
    done = run("ingst")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "there is no benchmark 'ingst', did you mean 'ingest'?\n"
