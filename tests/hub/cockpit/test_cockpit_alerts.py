"""Alerts: worst first, handled by button and by keyboard, and still handled after a reload."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_worst_alert_comes_first_and_resolved_ones_are_folded(open_cockpit):
    page = open_cockpit()
    marks = page.locator(".alerts > ul > li .mark")
    expect(marks.first).to_have_attribute("aria-label", "Priority 1, new")
    labels = marks.evaluate_all("marks => marks.map((mark) => mark.getAttribute('aria-label'))")
    assert labels == [
        "Priority 1, new",
        "Priority 2, new",
        "Priority 2, acknowledged",
        "Priority 3, new",
        "Priority 4, new",
        "Priority 4, new",
    ]
    expect(page.locator(".resolved li")).to_be_hidden()
    page.locator(".resolved summary").click()
    expect(page.locator(".resolved li")).to_contain_text("Congestion on the ring road")


def test_alert_is_acknowledged_by_keyboard_and_stays_so_after_reload(open_cockpit):
    page = open_cockpit()
    expect(page.locator('[data-alert="a1"]')).to_be_visible()
    page.keyboard.press("ArrowDown")  # from the bare page into the list: the worst one
    expect(page.locator('[data-alert="a1"] .locate')).to_be_focused()
    page.keyboard.press("a")
    expect(page.locator('[data-alert="a1"]')).to_contain_text("Acknowledged by operator")
    expect(page.locator('[data-alert="a1"] .locate')).to_be_focused()
    expect(page.get_by_role("status").filter(has_text="Acknowledged: Flow stopped")).to_have_count(1)
    page.reload()
    expect(page.locator('[data-alert="a1"]')).to_contain_text("Acknowledged by operator")


def test_arrows_choose_and_enter_shows_the_alert_on_the_map(open_cockpit):
    page = open_cockpit()
    expect(page.locator('[data-alert="a1"]')).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator('[data-alert="a0"] .locate')).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".panel")).to_contain_text("Speed far below free flow for 10 min")
    expect(page.locator('[data-alert="a0"]')).to_have_class("chosen")


def test_letter_a_outside_the_list_acknowledges_nothing(open_cockpit):
    page = open_cockpit()
    page.locator("#finder").fill("")
    page.locator("#finder").press("a")
    expect(page.locator(".finder li")).not_to_have_count(0)
    expect(page.locator(".acknowledge")).to_have_count(5)


def test_alert_is_acknowledged_by_button(open_cockpit):
    page = open_cockpit()
    page.get_by_role("button", name="Acknowledge: Queue", exact=False).or_(
        page.get_by_role("button", name="Acknowledge: Detector silent for 10 min")
    ).click()
    expect(page.locator('[data-alert="a4"]')).to_contain_text("Acknowledged by operator")


def test_new_alert_appears_by_itself_and_is_announced(open_cockpit, stub):
    page = open_cockpit()
    stub.steer(alert={"id": "n1", "severity": 1, "en": "Bridge closed", "zh": "桥梁封闭", "link_id": "h3-3f"})
    expect(page.locator('[data-alert="n1"]')).to_contain_text("Bridge closed")
    expect(page.get_by_role("status").filter(has_text="New alert, priority 1: Bridge closed")).to_have_count(1)


def test_empty_list_says_so(open_cockpit, stub):
    stub.steer(clear=True)
    page = open_cockpit()
    expect(page.locator(".alerts .empty")).to_have_text("No alerts. Nothing needs attention now.")


def test_text_from_data_is_never_markup(open_cockpit):
    page = open_cockpit()
    expect(page.locator('[data-alert="a6"]')).to_contain_text("<img src=x onerror=")
    page.locator(".notes summary").click()
    expect(page.locator(".notes")).to_contain_text("<b>here</b>")
    assert page.locator("img").count() == 0
    assert page.title() == "Qianjiang: live traffic"
