"""The link panel and the what-if in it."""

import re

import httpx
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

MEASURED = "h6-6f"


def test_panel_says_state_source_deviation_sensors_and_error(open_cockpit, stub, keep_screenshot):
    stub.steer(fixed={MEASURED: 200})  # 80 % of 60 km/h; what is fixed is measured
    page = open_cockpit(f"?lang=en&link={MEASURED}")
    panel = page.locator(".panel")
    expect(panel.locator(".values")).to_contain_text("± 2 km/h")
    expect(panel.locator(".values")).to_contain_text("942")
    expect(panel.locator(".values")).to_contain_text("veh/km")
    expect(panel.locator(".source")).to_contain_text("Measured · last measured")
    expect(panel.locator(".sensors tbody tr")).to_have_count(2)
    expect(panel.locator(".sensors")).to_contain_text("occupancy 12.3 %")
    expect(panel.locator(".sensors .fault")).to_have_text("⚠ silent")
    expect(panel.locator(".truth")).to_contain_text("+1")
    expect(panel.locator(".facts")).to_contain_text("(assumed)")
    expect(panel.locator(".plot")).to_have_attribute("aria-label", re.compile("Speed over the last 90 minutes: lowest"))
    assert panel.locator(".plot canvas").evaluate(
        "canvas => new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)"
        ".some((pixel) => pixel === 0xff26221c || pixel === 0xff22221c || (pixel & 0xff) === 0x1c)"
    )
    keep_screenshot(page, "desktop_link")


def test_measured_estimated_and_guessed_links_say_so(open_cockpit, hub_url):
    words = {
        "measured": "Measured",
        "estimated": "Estimated from its neighbours",
        "guessed": "Guessed: no usable sensor near",
    }
    page = open_cockpit()
    for link in page.evaluate("window.citytwin.linkIds"):
        source = httpx.get(f"{hub_url}api/v1/links/{link}").json()["state"]["source"]
        if source in words:
            page.locator("#finder").fill(link)
            page.locator(".finder .linkbutton").first.click()
            expect(page.locator(".panel-head")).to_contain_text(link)
            expect(page.locator(".source b")).to_have_text(words.pop(source))
        if not words:
            break
    assert words == {}


def test_unknown_link_in_the_address_is_said(open_cockpit):
    page = open_cockpit("?lang=en&link=no-such-link", excuse="404")
    expect(page.locator(".panel")).to_contain_text("This network has no link no-such-link.")


def test_slowest_links_are_a_table_of_buttons(open_cockpit):
    page = open_cockpit()
    rows = page.locator(".panel .rows tbody tr")
    expect(rows).to_have_count(8)
    shares = rows.evaluate_all("rows => rows.map((row) => parseInt(row.lastElementChild.innerText))")
    assert shares == sorted(shares)
    rows.first.get_by_role("button").press("Enter")
    expect(page.locator(".panel .values")).to_be_visible()


def test_closing_a_link_shows_progress_table_and_difference_map(open_cockpit, stub, wait_for_colour, keep_screenshot):
    stub.steer(fixed={MEASURED: 250})
    page = open_cockpit(f"?lang=en&link={MEASURED}")
    wait_for_colour(page, MEASURED, "#808C95")
    page.get_by_role("button", name="Close this link for 30 min: show the difference").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.locator(".difference")).to_contain_text("+91.5")
    expect(page.locator(".whatif")).to_contain_text("typical day, one run, no interval")
    expect(page.locator(".difference-bar")).to_contain_text("not live speed")
    wait_for_colour(page, MEASURED, "#5E0F22")
    keep_screenshot(page, "desktop_difference")
    page.reload()  # the address can be shared
    expect(page.locator(".difference")).to_contain_text("+91.5")
    page.locator(".difference-bar").get_by_role("button", name="Back to live").click()
    expect(page.locator(".difference-bar")).to_have_count(0)
    wait_for_colour(page, MEASURED, "#808C95")
    assert "run=" not in page.url


def test_run_that_failed_says_why(open_cockpit):
    page = open_cockpit(f"?lang=en&link={MEASURED}", excuse="422")
    answer = {"title": "bad scenario", "detail": "link h6-6f cannot be closed"}
    page.route("**/api/v1/scenarios", lambda route: route.fulfill(status=422, json=answer))
    page.get_by_role("button", name="Close this link for 30 min: show the difference").click()
    expect(page.locator(".whatif .failed")).to_have_text("The run failed: link h6-6f cannot be closed")
