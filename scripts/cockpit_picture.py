"""Make the pictures of the cockpit in the documentation, from a demo of its own: ``python scripts/cockpit_picture.py``.

Needs the extra ``test`` (Playwright) and a Chromium on the path, or ``CITYTWIN_CHROMIUM``.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
FAILED = "FDR-02"  # a feeder with some junctions and no second supply
PATIENCE_S = 240.0


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    """Return the JSON of an address, None while nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return None


def wait_for(url: str, ready: Any) -> Any:
    """Return the JSON of an address once it is as wished."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        answer = ask(url)
        if answer is not None and ready(answer):
            return answer
        time.sleep(0.5)
    raise SystemExit(f"{url} did not become ready within {PATIENCE_S:.0f} s")


def picture(url: str, out: Path, *, size: tuple[int, int], query: str) -> None:
    """Take one picture of the page once its map and its marks are drawn."""
    chromium = os.environ.get("CITYTWIN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, is_mobile=size[0] < 600)
        page = context.new_page()
        page.goto(url + query)
        page.wait_for_timeout(5_000)
        page.locator(".controls button").last.click()  # the whole city, beside the panel of one link
        page.wait_for_timeout(4_000)
        page.screenshot(path=out)
        browser.close()


def main() -> int:
    """Start a demo, let a feeder fail, take the pictures, stop the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=ROOT / "docs" / "cockpit.png")
    parser.add_argument("--size", action="append", metavar="WIDTHxHEIGHT", help="of a picture; several: one file each")
    parser.add_argument("--lang", choices=("en", "zh"), default="en")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        environment = dict(os.environ, CITYTWIN_STATE=str(state), CITYTWIN_MQTT_LISTEN="127.0.0.1:0")
        command = [sys.executable, "-m", "hub.cli", "demo", "--port", "0", "--speed", "10", "--seed", "1"]
        demo = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        try:
            ports = state / "ports.json"
            while not ports.exists() and demo.poll() is None:
                time.sleep(0.2)
            url = json.loads(ports.read_text("utf-8"))["http"].rstrip("/")
            wait_for(f"{url}/api/v1/state", lambda answer: answer["source"].count("measured") > 50)
            time.sleep(45.0)  # of the wall: the street fills and an incident is noticed
            ask(f"{url}/api/v1/assets/{FAILED}/fail", {"author": "power-grid", "reason": "cable damage"})
            measured = ask(f"{url}/api/v1/state")
            ratio = dict(zip(measured["link_ids"], measured["source"], strict=True))
            link = next(name for name, source in ratio.items() if source == "measured")
            for size in args.size or ["1440x900"]:
                width, height = (int(part) for part in size.split("x"))
                out = (
                    args.out if not args.size or len(args.size) == 1 else args.out.with_stem(f"{args.out.stem}-{size}")
                )
                picture(f"{url}/", out, size=(width, height), query=f"?lang={args.lang}&link={link}&view=map")
                print(out)
        finally:
            demo.terminate()
            demo.wait(timeout=60)
    return 0


if __name__ == "__main__":
    sys.exit(main())
