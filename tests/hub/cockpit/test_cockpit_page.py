"""The page as a whole: both languages, a phone, and people who do not use a mouse or see well."""

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

LINK = "h6-6f"
CJK = "/[\\u4e00-\\u9fff]/"


@pytest.mark.parametrize(
    ("state", "language"), [("live", "en"), ("link", "zh"), ("difference", "en"), ("difference", "zh"), ("lost", "en")]
)
def test_desktop_has_no_axe_violation(open_cockpit, stub, violations, state, language):
    query = f"?lang={language}" + (f"&link={LINK}" if state in ("link", "difference") else "")
    page = open_cockpit(query, excuse="WebSocket|503")
    expect(page.locator('[data-alert="a1"]')).to_be_visible()
    if "link" in query:
        expect(page.locator(".panel .values")).to_be_visible()
    if state == "difference":
        page.locator(".primary").click()
        expect(page.locator(".difference-bar")).to_be_visible()
    if state == "lost":
        stub.steer(refuse_s=8)
        expect(page.locator(".notice p")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("view", ["alerts", "map", "link"])
def test_phone_has_no_axe_violation_no_small_target_and_no_sideways_scroll(
    until, open_cockpit, violations, keep_screenshot, view
):
    page = open_cockpit(f"?lang=en&link={LINK}&view={view}", phone=True)
    expect(page.locator(".tabs [aria-current] >> nth=0")).to_be_visible()
    expect(page.locator(".panel .values")).to_have_count(1)
    if view == "map":
        until(page, "window.citytwin.linkColour('h6-6f').then((colour) => colour !== null)")
    keep_screenshot(page, f"phone_{view}_en")
    assert violations(page) == []
    assert small_targets(page, 44) == []
    assert small_letters(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_desktop_has_no_small_target_and_no_small_letter(open_cockpit):
    page = open_cockpit(f"?lang=zh&link={LINK}")
    expect(page.locator(".panel .values")).to_be_visible()
    assert small_targets(page, 32) == []
    assert small_letters(page) == []


def small_targets(page: Page, least: int) -> list[str]:
    return page.evaluate(
        """(least) => [...document.querySelectorAll('button, summary, input:not([type=checkbox]), label.check')]
            .filter((element) => element.checkVisibility({ visibilityProperty: true }))
            .filter((element) => element.getBoundingClientRect().height < least - 0.5)
            .map((element) => element.outerHTML.slice(0, 120))""",
        least,
    )


def small_letters(page: Page) -> list[str]:
    return page.evaluate(
        """() => {
            const found = [];
            const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (walker.nextNode()) {
                const text = walker.currentNode;
                const parent = text.parentElement;
                if (!text.data.trim() || parent.closest('svg, script, noscript')) continue;
                if (parseFloat(getComputedStyle(parent).fontSize) < 13) found.push(text.data);
            }
            return found;
        }"""
    )


def test_phone_shows_the_list_first_and_the_map_behind_a_tab(until, open_cockpit):
    page = open_cockpit("?lang=en", phone=True)
    expect(page.locator('[data-alert="a1"]')).to_be_visible()
    expect(page.locator(".map")).to_be_hidden()
    assert page.locator(".maplibregl-canvas").count() == 0  # not even fetched before it is wanted
    page.locator(".tabs").get_by_role("button", name="Map").click()
    until(page, "window.citytwin.linkColour('h6-6f').then((colour) => colour !== null)")
    expect(page.locator('[data-alert="a1"]')).to_be_hidden()
    page.locator(".tabs").get_by_role("button", name="Alerts").click()
    page.locator('[data-alert="a1"] .locate').click()
    expect(page.locator(".chosen-link")).to_be_visible()
    page.locator(".chosen-link").click()
    expect(page.locator(".panel .values")).to_be_visible()


def test_language_changes_at_once_and_is_remembered(until, open_cockpit, keep_screenshot):
    page = open_cockpit(f"?lang=en&link={LINK}")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.get_by_role("button", name="切换到中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator("#alerts-title")).to_contain_text("告警")
    expect(page.locator(".header h1")).to_have_text("钱江新城")
    expect(page.locator('[data-alert="a1"]')).to_contain_text("车流停滞，排队外溢")
    expect(page).to_have_title("钱江新城：实时交通")
    assert "lang=zh" in page.url
    until(page, "window.citytwin.linkColour('h6-6f').then((colour) => colour !== null)")
    keep_screenshot(page, "desktop_zh")
    page.goto(page.url.split("?")[0])
    expect(page.locator("#alerts-title")).to_contain_text("告警")


def test_indicators_carry_their_units(open_cockpit):
    page = open_cockpit()
    indicators = page.locator(".indicators")
    for words in ("% of free flow", "km", "veh·h/h", "1,204", "of 1,231", "3.4 km/h", "demo only"):
        expect(indicators).to_contain_text(words)


def test_nothing_is_asked_of_any_other_host(until, open_cockpit, chromium, hub_url):
    context = chromium.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(hub_url + "?lang=en")
    until(page, "window.citytwin && window.citytwin.linkColour && window.citytwin.frames > 2")
    context.close()
    assert asked
    assert [url for url in asked if not url.startswith((hub_url, "blob:", "data:"))] == []
