"""Every notebook runs from top to bottom, the first against a demo of its own, and shows what its text promises."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import RunningHub, wait_until

nbclient = pytest.importorskip("nbclient", reason="NOTEBOOKS NOT RUN: the extra citytwin[notebook] is not installed")
pytest.importorskip("pyvista", reason="NOTEBOOKS NOT RUN: pyvista of the extra citytwin[notebook] is not installed")
nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A living city whose sensors have been heard."""
    hub = RunningHub(["demo", "--port", "0", "--speed", "10"], tmp_path_factory.mktemp("hub"), {})
    try:
        wait_until(
            lambda: "measured" in (hub.get("/api/v1/state") or {"source": ()})["source"],
            "a measured link",
            within_s=240.0,
        )
        yield hub
    finally:
        hub.stop()


def run(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return what the cells of a notebook show, run as a user of the same machine would."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(folder / name.lower()))  # nothing of the user's own Jupyter decides this test
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def text_of(outputs: list[dict[str, Any]]) -> str:
    return "\n".join(
        output.get("text", "")
        + output.get("data", {}).get("text/plain", "")
        + output.get("data", {}).get("text/html", "")
        for output in outputs
    )


def pictures(outputs: list[dict[str, Any]]) -> list[str]:
    return [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]


def warnings(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [output for output in outputs if output.get("name") == "stderr" and "Warning" in output["text"]]


@pytest.mark.slow
def test_a_city_in_a_minute_shows_state_map_what_if_and_scene(
    demo: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYTWIN_STATE", str(demo.state))
    outputs = run(ROOT / "notebooks" / "01_city_in_a_minute.ipynb", tmp_path, monkeypatch)
    text = text_of(outputs)
    assert "speed_sd_kmh" in text
    assert "measured" in text
    assert "typical day, one run, no interval" in text
    assert "total_delay_veh_h" in text
    assert '<iframe srcdoc="' in text, "a scene to turn"
    assert len(pictures(outputs)) == 2, "a map and a scene"
    assert all(len(picture) > 20_000 for picture in pictures(outputs)), "a picture with next to nothing on it"
    assert warnings(outputs) == []


@pytest.mark.slow
def test_the_engine_from_first_principles_agrees_with_theory_in_every_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = run(ROOT / "notebooks" / "02_the_engine_from_first_principles.ipynb", tmp_path, monkeypatch)
    text = text_of(outputs)  # the cells assert what they compare
    assert "GRIDLOCK" in text
    assert "the same bytes on one thread and on two: True" in text
    assert len(pictures(outputs)) == 3, "diagram, curves, shock wave"
    assert all(len(picture) > 10_000 for picture in pictures(outputs)), "a picture with next to nothing on it"
    assert warnings(outputs) == []


@pytest.mark.slow
def test_how_sure_are_we_tells_errors_intervals_and_sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = run(ROOT / "notebooks" / "03_how_sure_are_we.ipynb", tmp_path, monkeypatch)
    text = text_of(outputs)  # the cells assert what they compare
    for promised in ("field with history", "was within its interval", "build next", "'guessed'"):
        assert promised in text
    assert len(pictures(outputs)) == 2, "intervals beside the truth, and a scene"
    assert all(len(picture) > 20_000 for picture in pictures(outputs)), "a picture with next to nothing on it"
    assert warnings(outputs) == []


def test_there_are_notebooks_and_they_fit_on_a_few_screens() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        lines = sum(len(cell.source.splitlines()) for cell in cells)
        assert lines < 150, f"{path.name} has {lines} lines"
