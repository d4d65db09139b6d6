"""A city of 30,000 links works like one of 900."""

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def hub_url(large_stub):
    return large_stub.url


def test_thirty_thousand_links_are_drawn_and_live(open_cockpit, large_stub, wait_for_colour, keep_screenshot):
    link = "h43-43f"
    page = open_cockpit(f"?lang=en&link={link}")  # near enough to be wider than a pixel
    assert page.evaluate("window.citytwin.linkIds.length") > 29_000
    for byte, colour in ((5, "#2E0626"), (250, "#808C95")):
        large_stub.steer(fixed={link: byte})
        wait_for_colour(page, link, colour)
    page.get_by_role("button", name="Whole city").click()
    keep_screenshot(page, "desktop_30000_links")
