"""A real Chromium on the built cockpit, by default against the stub hub beside this folder.

`hub_url` is the address under test: a module may override the fixture to test against a real hub.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, expect, sync_playwright

TESTS = Path(__file__).parents[2]
CHECKOUT = TESTS.parent
STATIC = CHECKOUT / "hub" / "static"
SCREENSHOTS = TESTS / "screenshots"
WEB = CHECKOUT / "hub" / "web"
# WebGL without a graphics card comes from SwiftShader, which newer Chromium wants to be asked for.
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PATIENCE_MS = 20_000  # a software renderer on a shared machine is slow; a pass takes a fraction of it


class Stub:
    """The stub hub as a child process."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, str(TESTS / "hub" / "web_stub.py"), "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://"), "the stub hub did not start"

    def steer(self, **wish: Any) -> None:
        httpx.post(f"{self.url}stub/steer", json=wish, timeout=10).raise_for_status()

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=10)


@pytest.fixture(scope="session")
def built_cockpit() -> Path:
    if not (STATIC / "index.html").is_file():
        pytest.skip(f"COCKPIT NOT BUILT: {STATIC}/index.html is missing; run `npm ci && npm run build` in hub/web")
    return STATIC


@pytest.fixture(scope="session")
def chromium_path() -> str:
    path = os.environ.get("CITYTWIN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        pytest.skip("NO CHROMIUM: install chromium or set CITYTWIN_CHROMIUM to its path")
    return path


@pytest.fixture(scope="module")
def playwright_driver() -> Iterator[Playwright]:
    # Per module, because its event loop would be in the way of asyncio tests that run between.
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def chromium(playwright_driver: Playwright, chromium_path: str) -> Iterator[Browser]:
    browser = playwright_driver.chromium.launch(executable_path=chromium_path, args=CHROMIUM_ARGS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def stub_process(built_cockpit: Path) -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.stop()


@pytest.fixture(scope="module")
def large_stub(built_cockpit: Path) -> Iterator[Stub]:
    stub = Stub("--links", "30000")
    yield stub
    stub.stop()


@pytest.fixture
def stub(stub_process: Stub) -> Stub:
    stub_process.steer(reset=True)
    return stub_process


@pytest.fixture
def hub_url(stub: Stub) -> str:
    return stub.url


Open = Callable[..., Page]


def wait_until(page: Page, expression: str, argument: Any = None) -> None:
    """Poll from outside: `Page.wait_for_function` needs the ``unsafe-eval`` that a careful hub forbids."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, f"never true: {expression} {argument or ''}"
        page.wait_for_timeout(50)


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait until a JavaScript expression (or a promise's value) is true in the page."""
    return wait_until


@pytest.fixture
def open_cockpit(chromium: Browser, hub_url: str) -> Iterator[Open]:
    """Open the cockpit: ``open_cockpit("?link=h3-3f", phone=True)``; fails at the end when the console had errors."""
    contexts = []
    errors: list[str] = []
    excuses: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    def opened(query: str = "?lang=en", *, phone: bool = False, excuse: str = "", **options: Any) -> Page:
        if excuse:
            excuses.append(excuse)
        if phone:
            options = {"is_mobile": True, "has_touch": True, "device_scale_factor": 2, **options}
        context = chromium.new_context(viewport=PHONE if phone else DESKTOP, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(hub_url + query)
        wait_until(page, "window.citytwin?.frames > 0")
        return page

    yield opened
    for context in contexts:
        context.close()
    unexplained = [text for text in errors if not any(re.search(excuse, text) for excuse in excuses)]
    assert not unexplained


@pytest.fixture
def wait_for_colour() -> Callable[[Page, str, str], None]:
    """Wait until a link is drawn in a colour like ``#2E0626``."""

    def wait(page: Page, link_id: str, colour: str) -> None:
        wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        # 14 of 255: the renderer may blend a pixel's rim, while steps of the palette are at least 40 apart.
        wait_until(
            page,
            """async ([id, wanted]) => {
                const drawn = await window.citytwin.linkColour(id);
                return drawn !== null && drawn.every((part, k) => Math.abs(part - wanted[k]) <= 14);
            }""",
            [link_id, wanted],
        )

    return wait


@pytest.fixture(scope="session")
def violations() -> Callable[[Page], list[str]]:
    """Return what axe finds against a page."""
    script = WEB / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        pytest.skip(f"AXE MISSING: {script} is missing; run `npm ci` in hub/web")
    axe = script.read_text(encoding="utf-8")

    def violations_of(page: Page) -> list[str]:
        page.evaluate(axe)
        found = page.evaluate("(tags) => axe.run({ runOnly: tags })", WCAG)["violations"]
        return [f"{v['id']}: {v['help']}: {[node['html'][:160] for node in v['nodes']]}" for v in found]

    return violations_of


@pytest.fixture
def keep_screenshot() -> Callable[[Page, str], None]:
    """Keep a picture in ``tests/screenshots`` for a person to look at."""
    SCREENSHOTS.mkdir(exist_ok=True)
    return lambda page, name: page.screenshot(path=SCREENSHOTS / f"{name}.png") and None
