"""The city as a page to turn and zoom: complete, drawn by a real browser, and nothing asked of any network."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sensors import InputError
from twin import Network
from twin.generate import generate

pytest.importorskip("trame_pyvista", reason="PAGE NOT TESTED: trame-pyvista of citytwin[notebook] is not installed")
pytest.importorskip("pyvista", reason="PAGE NOT TESTED: pyvista of citytwin[notebook] is not installed")

from twin.scene import PALETTE
from twin.scene_page import ScenePage, scene_page

GPU = ["--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def city() -> Network:
    return Network.from_tables(generate(seed=3, junctions=60))


@pytest.fixture(scope="module")
def page(city: Network) -> ScenePage:
    return scene_page(city, speed_ratio=np.full(city.compile().n_links, 0.3))


def test_the_page_shows_the_roads_in_a_browser_without_a_network_and_asks_for_nothing(
    page: ScenePage, tmp_path: Path
) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="NO BROWSER: playwright is not installed")
    pillow = pytest.importorskip("PIL.Image")
    chromium = os.environ.get("CITYTWIN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("NO CHROMIUM: install chromium or set CITYTWIN_CHROMIUM to its path")
    path, shot = page.save(tmp_path / "scene.html"), tmp_path / "scene.png"
    wanted = np.array([int(PALETTE[3][k : k + 2], 16) for k in (1, 3, 5)])
    asked: list[str] = []
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=GPU)
        view = browser.new_context(viewport={"width": 900, "height": 600}, offline=True).new_page()
        view.on("requestfinished", lambda request: asked.append(request.url))
        view.goto(path.as_uri())
        for _ in range(60):
            view.screenshot(path=shot)
            pixels = np.asarray(pillow.open(shot).convert("RGB")).astype(int)
            drawn = int((np.abs(pixels - wanted).max(axis=2) <= 3).sum())
            if drawn > 2_000:
                break
            view.wait_for_timeout(250)
        browser.close()
    assert drawn > 2_000, "the roads, and not only the swatch of the key"
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_page_says_what_its_colours_mean_and_shows_itself_in_a_notebook(page: ScenePage) -> None:
    assert all(colour in page.html for colour in PALETTE)
    assert "wide: measured, narrow: guessed" in page.html
    shown = page._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert "<script" not in shown, "escaped: the notebook itself runs none of it"


def test_a_city_without_state_has_no_key(city: Network) -> None:
    assert "wide: measured" not in scene_page(city).html


def test_a_state_of_another_network_is_refused(city: Network) -> None:
    with pytest.raises(InputError, match="speed_ratio has shape"):
        scene_page(city, speed_ratio=np.zeros(3))
