"""The documentation says what is so: commands, settings, rules and packages."""

import doctest
import importlib
import importlib.metadata
import json
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hub.cli import COMMANDS
from hub.settings import VARIABLES

ROOT = Path(__file__).parents[2]
PACKAGES = ("sensors", "twin", "simulation", "ingest", "hub")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "DESIGN.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shell_lines(page: Path) -> list[str]:
    """Return the lines of all ``sh`` blocks of a page, continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.S)
    text = "\n".join(blocks).replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def options_of(command: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "hub.cli", *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_every_citytwin_command_in_the_pages_exists_with_its_options() -> None:
    faults, seen = [], {}
    for page in PAGES:
        for line in shell_lines(page):
            match = re.search(r"(?:^|\s)citytwin (.*)$", line)
            if match is None or "make" in line.split()[0]:
                continue
            words = shlex.split(match.group(1), comments=True)
            if not words or words[0].startswith("-"):
                continue
            command = words[:2] if words[0] in ("network", "rules", "assets") else words[:1]
            if words[0] not in COMMANDS:
                faults.append(f"{page.name}: {line}: no such command")
                continue
            key = tuple(command)
            seen.setdefault(key, options_of(command))
            faults += [
                f"{page.name}: {line}: {word} is no option of it"
                for word in words
                if word.startswith("--") and not re.search(rf"{re.escape(word.split('=')[0])}\b", seen[key])
            ]
    assert not faults
    assert seen, "the pages show no command"


def test_every_make_target_in_the_pages_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    # Only what is set as code is a command; "make" is also a word of plain prose.
    named = {word for page in PAGES for word in re.findall(r"`make ([a-z]+)[^`\n]*`", page.read_text("utf-8"))}
    for page in PAGES:
        named |= {line.split()[1] for line in shell_lines(page) if re.match(r"make [a-z]+\b", line)}
    assert {"demo", "test", "setup"} <= named
    assert named <= targets


def test_every_variable_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in VARIABLES if name not in text] == []


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in COMMANDS if f"citytwin {name}" not in text] == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text("utf-8")):
            if not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []


def test_no_file_names_a_package_registry() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    registry = re.compile(
        "|".join(("pypi" + r"\.org", "python" + r"hosted\.org", "registry\\.npm" + r"js", "npm" + r"js\.org"))
    )
    named = []
    for name in filter(None, files):
        path = ROOT / name
        if not path.is_file() or path.suffix in {".png", ".ico", ".woff2"}:
            continue
        if registry.search(path.read_text("utf-8", errors="replace")):
            named.append(name)
    assert named == []


def test_each_package_name_has_exactly_one_owner() -> None:
    owners = importlib.metadata.packages_distributions()
    if "citytwin" not in {name for names in owners.values() for name in names}:
        pytest.skip("citytwin is not installed in this environment, so nobody owns its packages")
    # An editable install and its checkout may both show the same metadata: owners are counted once.
    assert {name: sorted(set(owners.get(name, ()))) for name in PACKAGES} == {name: ["citytwin"] for name in PACKAGES}


def modules() -> list[str]:
    names = []
    for package in PACKAGES:
        found = pkgutil.walk_packages(importlib.import_module(package).__path__, package + ".")
        names += [package, *(module.name for module in found if not module.name.endswith("__main__"))]
    return names


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_are_true(name: str) -> None:
    if name == "twin.scene":
        pytest.importorskip("pyvista", reason="pyvista is not installed: examples of twin.scene not run")
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


@pytest.mark.parametrize("page", ["network.md"])
def test_examples_of_a_page_are_true(page: str) -> None:
    blocks = re.findall(r"```pycon\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)
    assert blocks
    example = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page, page, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(example)
    assert runner.failures == 0


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is_for_and_exports_what_exists(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    assert [word for word in getattr(module, "__all__", ()) if not hasattr(module, word)] == []


def test_notebooks_are_stored_without_outputs() -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), path.name


def test_every_table_and_key_of_a_scenario_is_documented() -> None:
    from simulation.scenario_signal import STAGE_KEYS
    from simulation.scenario_toml import KEYS

    text = (ROOT / "docs" / "scenario.md").read_text("utf-8")
    assert [table for table in KEYS if f"`[[{table}]]`" not in text] == []
    keys = {key for table in KEYS.values() for key in table} | STAGE_KEYS | {"update", "interval_s", "share", "name"}
    missing = [key for key in sorted(keys - {"stage"}) if f"`{key}`" not in text]
    assert missing == []
