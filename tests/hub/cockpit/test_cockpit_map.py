"""The map: it draws, it lives, it can be pointed at, and nothing breaks without it."""

import io
import re
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import Page, Playwright, expect

pytestmark = pytest.mark.browser

FREE, STOPPED = (0x80, 0x8C, 0x95), (0x2E, 0x06, 0x26)
LINK = "h6-6f"  # near the middle of the stub's city, an arterial


def map_colours(page: Page) -> dict[tuple[int, int, int], int]:
    picture = Image.open(io.BytesIO(page.locator(".map .canvas").screenshot())).convert("RGB")
    return {colour: count for count, colour in picture.getcolors(maxcolors=1 << 24)}


def test_map_is_drawn_with_links_water_and_names(until, open_cockpit, keep_screenshot):
    page = open_cockpit()
    expect(page.locator(".map-note")).to_have_count(0)
    until(page, "window.citytwin.linkColour('h6-6f').then((colour) => colour !== null)")
    until(page, "window.citytwin.frames > 2")
    colours = map_colours(page)
    keep_screenshot(page, "desktop_en")
    assert colours.get(FREE, 0) > 2_000
    assert colours.get(STOPPED, 0) > 100
    assert colours.get((0xDC, 0xE6, 0xEA), 0) > 2_000  # water
    # Letters of street names, from the fonts of this computer: dark blue-grey, as no link is.
    assert sum(count for (r, g, b), count in colours.items() if r < 90 and r < g <= b < 110) > 100


def test_frame_changes_the_colour_of_its_link(open_cockpit, stub, wait_for_colour):
    page = open_cockpit()
    for byte, colour in ((5, "#2E0626"), (60, "#78122F"), (110, "#A3420E"), (160, "#9C7413"), (250, "#808C95")):
        stub.steer(fixed={LINK: byte})
        wait_for_colour(page, LINK, colour)


def test_link_without_data_is_drawn_thin_and_pale_not_free(open_cockpit, stub):
    page = open_cockpit(f"?lang=en&link={LINK}")
    stub.steer(fixed={LINK: 255})
    expect(page.locator(".panel .values")).to_contain_text("–")


def test_click_on_a_link_opens_it_and_the_address_remembers(until, open_cockpit, stub):
    stub.steer(clear=True)  # an alert stands on h6-6b: once its pin is drawn, a click there means the alert
    page = open_cockpit()
    until(page, "window.citytwin.linkColour('h6-6f').then((colour) => colour !== null)")
    place = page.evaluate("window.citytwin.linkPlace('h6-6f')")
    page.mouse.click(place["x"], place["y"])
    expect(page.locator(".panel")).to_contain_text("Link h6-6f")
    expect(page).to_have_url(re.compile("link=h6-6f"))
    opposite = page.evaluate("window.citytwin.linkPlace('h6-6b')")
    page.mouse.click(opposite["x"], opposite["y"])
    expect(page.locator(".panel")).to_contain_text("Link h6-6b")
    expect(page).to_have_url(re.compile("link=h6-6b"))  # the browser has noted the step, not only the page
    page.go_back()
    expect(page.locator(".panel")).to_contain_text("Link h6-6f")


def test_map_is_moved_and_a_link_chosen_by_keyboard(until, open_cockpit):
    page = open_cockpit()
    until(page, "window.citytwin.linkColour('h6-6f').then((colour) => colour !== null)")
    page.locator(".maplibregl-canvas").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".panel .panel-head h2")).to_be_visible()
    assert "link=" in page.url


def test_without_webgl_the_page_says_so_and_keeps_its_lists(
    playwright_driver: Playwright, chromium_path: str, stub, keep_screenshot: Callable[[Page, str], None]
):
    browser = playwright_driver.chromium.launch(
        executable_path=chromium_path, args=["--no-sandbox", "--disable-3d-apis"]
    )
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(stub.url + "?lang=en")
    expect(page.locator(".map-note")).to_contain_text("WebGL is missing")
    expect(page.locator(".alerts li")).not_to_have_count(0)
    page.locator(".panel .linkbutton").first.click()
    expect(page.locator(".panel .values")).to_be_visible()
    keep_screenshot(page, "desktop_without_webgl")
    browser.close()


def test_map_comes_back_after_the_graphics_device_was_lost(until, open_cockpit, stub, wait_for_colour):
    stub.steer(fixed={LINK: 5})
    page = open_cockpit(f"?lang=en&link={LINK}")
    wait_for_colour(page, LINK, "#2E0626")
    page.evaluate(
        "window.device = document.querySelector('.maplibregl-canvas').getContext('webgl2')"
        ".getExtension('WEBGL_lose_context'); window.device.loseContext()"
    )
    expect(page.locator(".map-note")).to_contain_text("lost its graphics device")
    page.evaluate("window.device.restoreContext()")
    expect(page.locator(".map-note")).to_have_count(0)
    wait_for_colour(page, LINK, "#2E0626")
    stub.steer(fixed={LINK: 250})
    wait_for_colour(page, LINK, "#808C95")
