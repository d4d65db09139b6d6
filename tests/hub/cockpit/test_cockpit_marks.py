"""Places, equipment and suspected sensors on the map: seen, hovered, chosen, listed, switched off and remembered."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

PLACES: list[dict[str, Any]] = [
    {"theme": "weather", "sensor_id": "RAIN-1", "east_m": -900, "north_m": 900, "on": "zone", "zone_id": "Z07",
     "kind": "rain_radar", "name": "Old town", "name_zh": "老城", "level": 2, "owner": "environment",
     "values": [{"quantity": "rain_mm_h", "unit": "mm/h", "value": 9.4, "level": 2, "time": "2026-01-01T08:00:00Z"}]},
    {"theme": "air", "sensor_id": "AIR-1", "east_m": 0, "north_m": 900, "name": "River", "name_zh": "江边", "level": 0,
     "values": [{"quantity": "pm25_ug_m3", "unit": "µg/m³", "value": 31, "level": 0, "time": "2026-01-01T08:00:00Z"}]},
    {"theme": "parking", "sensor_id": "PARK-1", "east_m": 900, "north_m": 900, "on": "point", "kind": "car_park",
     "level": 1, "full_share": 0.88,
     "values": [{"quantity": "parked_veh", "unit": "veh", "value": 88, "level": 0, "time": "2026-01-01T08:00:00Z"}]},
    {"theme": "transit", "sensor_id": "MET-1", "east_m": -900, "north_m": -900, "silent": True, "age_s": 5400.0,
     "level": 2, "kind": "metro_station",
     "values": [{"quantity": "headway_s", "unit": "s", "value": 1300, "level": 2, "time": "2026-01-01T06:30:00Z"}]},
    {"theme": "event", "sensor_id": "VEN-1", "east_m": 900, "north_m": -900, "on": "point", "kind": "venue", "level": 1,
     "values": [{"quantity": "events", "unit": "", "value": 1, "level": 1, "time": "2026-01-01T08:00:00Z"}]},
]  # fmt: skip
SIGNAL = {
    "asset_id": "SIG-004", "kind": "signal", "name": "Signal Jiefang", "name_zh": "解放路信号灯", "link_id": "",
    "lon_lat": [120.15, 30.27], "state": "dark", "because": "SIG-004 lost power from FDR-01",
    "because_zh": "SIG-004失去FDR-01的供电", "since": "2026-01-01T08:00:00Z", "failure": None,
}  # fmt: skip
SUSPECT = {
    "sensor_id": "D-0042", "kind": "detector", "owner": "traffic-police", "link_id": "h2-3f", "lon_lat": None,
    "code": "scaled", "quantity": "flow_veh_h", "parameters": {"ratio": 0.51}, "evidence": None,
    "reason": "flow_veh_h is 0.51 times what the neighbours imply", "since": "2026-01-01T07:00:00Z",
}  # fmt: skip
THEMES = ("weather:RAIN-1", "air:AIR-1", "parking:PARK-1", "transit:MET-1", "event:VEN-1")


@pytest.fixture
def marked(stub: Any, open_cockpit: Any, until: Any) -> Page:
    """The cockpit on a wide screen with one mark of each kind."""
    stub.steer(reset=True, clear=True, places=PLACES, out=[SIGNAL], suspects=[SUSPECT])
    page: Page = open_cockpit()
    until(page, "window.citytwin.markKeys.length === 7")
    until(page, "window.citytwin.markKeys.every(key => window.citytwin.markPlace(key) !== null)")
    return page


def spot(page: Page, key: str) -> tuple[float, float]:
    place = page.evaluate("key => window.citytwin.markPlace(key)", key)
    return place["x"], place["y"]


def dark_pixels(page: Page, at: tuple[float, float], *, right: int = 0) -> int:
    """How many pixels around a mark, or right of it, are those of a sign, a frame or letters, darker than land."""
    x, y = at
    shot = page.screenshot(clip={"x": x - 12 + right, "y": y - 12, "width": 24 + right, "height": 24})
    code = """async ([bytes]) => {
        const picture = await createImageBitmap(new Blob([Uint8Array.from(bytes)]));
        const pen = new OffscreenCanvas(picture.width, picture.height).getContext('2d');
        pen.drawImage(picture, 0, 0);
        const { data } = pen.getImageData(0, 0, picture.width, picture.height);
        let dark = 0;
        for (let k = 0; k < data.length; k += 4) if (data[k] + data[k + 1] + data[k + 2] < 330) dark++;
        return dark;
    }"""
    return int(page.evaluate(code, [list(shot)]))


def test_what_is_high_is_drawn_dark_and_what_is_ordinary_steps_back(marked: Page) -> None:
    high, ordinary, old = (
        dark_pixels(marked, spot(marked, key)) for key in ("weather:RAIN-1", "air:AIR-1", "transit:MET-1")
    )
    assert high > 120, "a filled picture"
    assert high > 3 * max(ordinary, 1)
    assert high > 3 * max(old, 1), "an old value is never shown as high"
    assert dark_pixels(marked, spot(marked, "asset:SIG-004")) > 25


def test_a_pointer_that_moves_before_the_map_is_there_does_no_harm(stub: Any, open_cockpit: Any) -> None:
    page = open_cockpit()  # fails at the end when the console had an error
    for step in range(40):
        page.mouse.move(500 + 5 * step, 400)
        page.mouse.click(500 + 5 * step, 400)


def test_a_mark_tells_its_value_and_age_on_hover_and_all_of_it_when_chosen(marked: Page, keep_screenshot: Any) -> None:
    marked.mouse.move(*spot(marked, "weather:RAIN-1"))
    tip = marked.locator(".marktip")
    expect(tip).to_contain_text("Old town")
    expect(tip).to_contain_text("9.4 mm/h · 40 s ago")
    marked.mouse.click(*spot(marked, "weather:RAIN-1"))
    card = marked.get_by_role("region", name="Old town")
    expect(card).to_contain_text("Zone Z07")
    expect(card).to_contain_text("9.4 mm/h")
    expect(card).to_contain_text("high")
    expect(card).to_contain_text("Source: RAIN-1 · environment")
    keep_screenshot(marked, "marks")
    card.get_by_role("button", name="Close details").click()
    expect(card).to_have_count(0)


def test_old_values_say_so_and_do_not_count_as_raised(marked: Page) -> None:
    marked.mouse.click(*spot(marked, "transit:MET-1"))
    expect(marked.locator(".markcard .fault")).to_contain_text("90 min ago · silent")
    expect(marked.locator(".places summary")).to_contain_text("5, raised: 3")


def test_a_dark_signal_and_a_suspected_sensor_say_why_and_lead_to_their_place(marked: Page) -> None:
    marked.mouse.click(*spot(marked, "asset:SIG-004"))
    expect(marked.locator(".markcard")).to_contain_text("SIG-004 lost power from FDR-01")
    suspects = marked.locator("details.suspects")
    expect(suspects.locator("summary")).to_contain_text("1 suspected")
    suspects.locator("summary").click()
    expect(suspects).to_contain_text("flow: Is a multiple or a part of what its neighbours imply")
    suspects.get_by_role("button", name="Show on the map: D-0042").click()
    expect(marked.locator(".markcard")).to_contain_text("0.51 times what the neighbours imply")
    expect(marked.locator("#link")).to_contain_text("h2-3f")


def test_the_list_is_by_theme_and_leads_to_the_place_by_keyboard(marked: Page) -> None:
    marked.locator(".places summary").press("Enter")
    row = marked.get_by_role("button", name="PARK-1")
    expect(row).to_contain_text("88 %")
    row.press("Enter")
    expect(marked.get_by_role("region", name="PARK-1")).to_contain_text("88 %")
    marked.wait_for_timeout(800)
    x, _ = spot(marked, "parking:PARK-1")
    frame = marked.locator(".map").bounding_box()
    assert frame is not None
    assert abs(x - frame["x"] - frame["width"] / 2) < 5, "in the middle of the map"


def test_layers_are_switched_off_kept_in_the_address_and_on_again_for_who_asks(marked: Page, until: Any) -> None:
    marked.locator(".layers summary").click()
    marked.get_by_role("checkbox", name="Weather").uncheck()
    until(marked, "window.citytwin.markKeys.length === 6")
    assert "hide=weather" in marked.url
    marked.reload()
    until(marked, "window.citytwin?.markKeys.length === 6")
    marked.locator(".places summary").click()
    marked.get_by_role("button", name="Old town").click()
    until(marked, "window.citytwin.markKeys.length === 7")
    assert "hide" not in marked.url


def test_interval_of_speed_and_flow_is_in_the_link_panel(marked: Page) -> None:
    marked.goto(f"{marked.url}&link=h2-3f")
    between = marked.locator(".values .between")
    expect(between).to_have_count(2)
    expect(between.last).to_have_text("90 %: 840–1,050")


@pytest.mark.parametrize("phone", [False, True])
def test_nothing_is_found_against_the_page_with_marks_a_card_and_layers_open(
    marked: Page, open_cockpit: Any, violations: Any, until: Any, keep_screenshot: Any, phone: bool
) -> None:
    page = open_cockpit("?lang=zh&view=map", phone=phone) if phone else marked
    until(page, "window.citytwin.markKeys.length === 7 && window.citytwin.markPlace('weather:RAIN-1') !== null")
    page.locator(".layers summary").click()
    expect(page.locator(".layers input")).to_have_count(7)
    keep_screenshot(page, f"layers-{'phone' if phone else 'desktop'}")
    assert violations(page) == []


def test_new_values_come_without_a_reload(marked: Page, stub: Any) -> None:
    expect(marked.locator(".places summary")).to_contain_text("raised: 3")
    calm = [place | {"level": 0} for place in PLACES]
    stub.steer(places=calm, suspects=[SUSPECT, SUSPECT | {"sensor_id": "D-0043"}])
    expect(marked.locator(".places summary")).to_contain_text("raised: 0")
    expect(marked.locator("details.suspects summary")).to_contain_text("2 suspected")


def test_lists_say_the_same_after_the_hub_was_away(stub: Any, open_cockpit: Any) -> None:
    stub.steer(reset=True, clear=True, places=PLACES)
    marked = open_cockpit(excuse="WebSocket|503")
    expect(marked.locator(".places summary")).to_contain_text("raised: 3")
    stub.steer(refuse_s=4)
    expect(marked.locator(".notice")).to_contain_text("Connection lost")
    expect(marked.locator(".places summary")).to_contain_text("raised: 3")
    expect(marked.locator(".notice p")).to_have_count(0)
    stub.steer(places=PLACES[:1])
    expect(marked.locator(".places summary")).to_contain_text("1, raised: 1")


def test_a_mark_on_a_link_is_chosen_and_not_the_link(marked: Page) -> None:
    marked.mouse.click(*spot(marked, "suspect:D-0042:scaled:flow_veh_h"))
    expect(marked.locator(".markcard")).to_contain_text("D-0042")
    assert "link=" not in marked.url
    marked.locator(".markcard .close").focus()
    marked.keyboard.press("Escape")
    expect(marked.locator(".markcard")).to_have_count(0)


def test_enter_chooses_the_mark_in_the_middle_of_the_map(marked: Page, until: Any) -> None:
    marked.locator(".places summary").click()
    marked.get_by_role("button", name="River").click()
    expect(marked.get_by_role("region", name="River")).to_be_visible()
    marked.locator(".markcard .close").click()
    marked.wait_for_timeout(800)  # the map moves there
    marked.locator(".maplibregl-canvas").press("Enter")
    expect(marked.get_by_role("region", name="River")).to_be_visible()


def test_only_what_is_high_is_written_out_from_afar(marked: Page, stub: Any, until: Any) -> None:
    stub.steer(frozen=True)  # the links below stay as they are
    keys = ("weather:RAIN-1", "air:AIR-1", "event:VEN-1")
    places = {key: spot(marked, key) for key in keys}
    before = {key: dark_pixels(marked, places[key], right=40) for key in keys}
    marked.locator(".layers summary").click()
    for name in ("Weather", "Air quality", "Events"):
        marked.get_by_role("checkbox", name=name).uncheck()
    until(marked, "window.citytwin.markKeys.length === 4")
    marked.locator(".layers summary").click()
    marked.wait_for_timeout(500)  # until the map has drawn that
    written = {key: before[key] - dark_pixels(marked, places[key], right=40) for key in keys}
    assert written["weather:RAIN-1"] > 25, "9.4 mm/h"
    assert abs(written["air:AIR-1"]) < 10
    assert abs(written["event:VEN-1"]) < 10


def test_marks_of_now_are_not_on_a_map_of_a_difference(marked: Page, until: Any) -> None:
    marked.goto(f"{marked.url}&link=h2-3f")
    until(marked, "window.citytwin?.markPlace('suspect:D-0042:scaled:flow_veh_h') != null")
    marked.get_by_role("button", name="Whole city").click()
    until(marked, "window.citytwin?.markPlace('weather:RAIN-1') != null")
    marked.get_by_role("button", name="Close this link for 30 min").click()
    expect(marked.locator(".difference-bar")).to_be_visible()
    until(marked, "window.citytwin.markPlace('weather:RAIN-1') === null")
    expect(marked.locator(".layers")).to_have_count(0)
    marked.locator(".difference-bar button").click()
    until(marked, "window.citytwin.markPlace('weather:RAIN-1') !== null")
