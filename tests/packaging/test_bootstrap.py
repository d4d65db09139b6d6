"""The bootstrap says in one line what is wrong, whatever Python reads it."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "bootstrap.py"


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module that believes it stands in an empty checkout."""
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "LOG", tmp_path / ".venv" / "bootstrap.log")
    return module


def test_the_script_is_readable_for_python_3_6_and_needs_only_the_standard_library() -> None:
    tree = ast.parse(SCRIPT.read_text("utf-8"), feature_version=(3, 6))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= set(sys.stdlib_module_names)


def test_an_old_python_without_another_one_is_told_what_to_install(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 8, 10))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(bootstrap.Trouble, match=r"3\.11 to 3\.14 is needed, this is 3\.8.*install one"):
        bootstrap.find_python()


def test_a_newer_python_on_the_path_is_found_from_an_old_one(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version = f"3.{sys.version_info[1]}"
    (tmp_path / f"python{version}").symlink_to(sys.executable)
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 8, 10))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bootstrap.find_python() == str(tmp_path / f"python{version}")


def test_a_python_that_cannot_make_environments_is_named_with_the_package_that_mends_it(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "run_quiet", lambda words: 1)
    with pytest.raises(bootstrap.Trouble, match=r"no venv module.*apt install python3\.\d+-venv"):
        bootstrap.make_venv()


def test_a_failed_download_is_one_line_that_names_the_settings(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", checkout / "scripts")
    shutil.copytree(ROOT / "requirements", checkout / "requirements")
    shutil.copytree(ROOT / "hub" / "web", checkout / "hub" / "web", ignore=shutil.ignore_patterns("node_modules"))
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout / name)
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    done = subprocess.run(
        [sys.executable, checkout / "scripts" / "bootstrap.py", "setup"],
        env={**kept, **nowhere},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("citytwin: packages could not be installed")
    assert "HTTPS_PROXY and PIP_INDEX_URL" in done.stderr


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (
            "npm error code ECONNREFUSED\n"
            "npm error FetchError: request to http://127.0.0.1:9/preact failed, reason: refused\n"
            "npm error A complete log of this run can be found in: /home/li/.npm/_logs/1.log\n",
            "npm error FetchError: request to http://127.0.0.1:9/preact failed, reason: refused",
        ),
        (
            "WARNING: Retrying\nERROR: Could not find a version of numpy\nERROR: No matching distribution\n",
            "ERROR: Could not find a version of numpy",
        ),
        ("", "no output"),
    ],
)
def test_of_a_tools_output_the_line_that_tells_most_is_shown(bootstrap: ModuleType, output: str, line: str) -> None:
    assert bootstrap.last_error(output) == line


def test_an_interrupted_environment_is_made_anew(bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    python = bootstrap.venv_python()
    python.parent.mkdir(parents=True)
    python.symlink_to("/nowhere/python3.11")
    bootstrap.make_venv()
    assert bootstrap.version_of(python) is not None
    assert bootstrap.read_stamp() == {}
    bootstrap.make_venv()
    assert capsys.readouterr().err.count("making .venv") == 1


@pytest.mark.parametrize(
    ("shown", "own"),
    [
        ("global.index-url='https://example.org/simple'\n", True),
        (":env:.find-links='/opt/wheels'\n", True),
        ("global.timeout='60'\n:env:.cert='/etc/ssl/index-url.pem'\n", False),
    ],
)
def test_pip_with_an_index_of_its_own_is_respected(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, shown: str, own: bool
) -> None:
    monkeypatch.setattr(bootstrap, "run", lambda words, **options: (0, shown))
    assert bootstrap.pip_has_own_index() is own


def test_an_unknown_command_is_refused_with_the_known_ones() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "dmeo"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "demo" in done.stderr


def test_make_alone_lists_every_target() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in shown.splitlines()} >= {
        "setup", "demo", "test", "check", "bench", "notebooks",
    }  # fmt: skip


def test_requirement_files_are_hashed_pinned_and_without_an_address() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text("utf-8")
        assert "://" not in text, path.name
        blocks = [block for block in text.replace("\\\n", " ").splitlines() if block.strip()]
        assert all("==" in block and "--hash=sha256:" in block for block in blocks), path.name
