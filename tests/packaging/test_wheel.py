"""The wheel carries everything: installed into an empty environment, away from the checkout, the demo runs."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    # Built from a copy: a build leaves folders behind, which other tests of this checkout would see.
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, source], check=True)
    static = ROOT / "hub" / "static"
    if static.exists():
        subprocess.run(["cp", "-r", static, source / "hub" / "static"], check=True)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source],
        check=True,
        capture_output=True,
    )
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_packages_schema_config_and_types_but_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"citytwin.py", "hub/config/city.toml", "hub/config/rules.toml", "twin/py.typed"} <= names
    assert any(name.startswith("ingest/schema/") and name.endswith(".sql") for name in names)
    assert not any(name.startswith(("tests/", "hub/web/", "notebooks/", "benchmarks/")) for name in names)
    if (ROOT / "hub" / "static").exists():
        assert "hub/static/index.html" in names


@pytest.mark.slow
def test_an_installed_wheel_runs_the_demo_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / "bin" / "python"
    # Bytecode is left to the imports: most of what the libraries hold is never loaded.
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
    subprocess.run(
        [*install, "--require-hashes", "-r", ROOT / "requirements" / "run.txt"], check=True, capture_output=True
    )
    subprocess.run([*install, "--no-deps", wheel], check=True, capture_output=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CITYTWIN_", "PYTHON"))}
    environment |= {"CITYTWIN_STATE": str(tmp_path / "state"), "CITYTWIN_MQTT_LISTEN": "127.0.0.1:0"}
    done = subprocess.run(
        [venv / "bin" / "citytwin", "demo", "--for", "20", "--speed", "10", "--port", "0"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "readings: received" in done.stdout
    assert " received 0 " not in done.stdout
    doctor = subprocess.run(
        [venv / "bin" / "citytwin", "doctor", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert json.loads(doctor.stdout)["config"].startswith(str(venv))
