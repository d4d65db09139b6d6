"""What the twin does not believe and what is out of reach: suspected and dark sensors, failed equipment."""

import httpx
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

LINK = "h6-6f"
DARK = {
    "dark": True,
    "silent": False,
    "because": "D-1 has no power from CAB-02, which has no power from FDR-01, which failed",
    "because_zh": "FDR-01失效，CAB-02失去FDR-01的供电，D-1失去CAB-02的供电",
}
SUSPECTED = {
    "suspected": "scaled",
    "reason": "flow_veh_h is 0.51 times what the neighbours imply, as if it counted 1 of 2 lanes",
    "suspected_since": "2026-01-31T00:10:00.000Z",  # 08:10 in the stub's city
}


def asset(asset_id: str, kind: str, state: str, **known: object) -> dict[str, object]:
    return {
        "asset_id": asset_id, "kind": kind, "name": "", "name_zh": "", "lon_lat": None, "link_id": "", "state": state,
        "because": "", "because_zh": "", "since": "2026-01-31T00:10:00.000Z", "failure": None, **known,
    }  # fmt: skip


OUT = [
    asset(
        "FDR-01", "feeder", "failed", name="Jiefang feeder", name_zh="解放馈线",
        failure={"since": "2026-01-31T00:10:00.000Z", "author": "Li", "reason": "digger <b>here</b>"},
    ),
    asset(
        "SIG-003", "signal", "dark", lon_lat=[120.21, 30.25],
        because="SIG-003 has no power from FDR-01, which failed", because_zh="FDR-01失效，SIG-003失去FDR-01的供电",
    ),
    asset(
        "CAM-7", "camera", "on_battery", since=None, dark_at="2026-01-31T00:40:00.000Z", link_id=LINK,
        because="CAM-7 has no power from FDR-01", because_zh="CAM-7失去FDR-01的供电",
    ),
]  # fmt: skip


@pytest.fixture
def sensors(stub) -> list[str]:
    """Return the ids of the two sensors of the link; what is fixed is measured."""
    stub.steer(fixed={LINK: 200})
    for _ in range(100):
        rows = httpx.get(f"{stub.url}api/v1/links/{LINK}").json()["sensors"]
        if rows:
            return [row["sensor_id"] for row in rows]
    raise AssertionError("the link has no sensors")


def test_a_suspected_sensor_says_how_since_when_and_why(open_cockpit, stub, sensors):
    stub.steer(faults={sensors[0]: SUSPECTED})
    table = open_cockpit(f"?lang=en&link={LINK}").locator(".sensors")
    expect(table.locator("tr", has_text=sensors[0]).locator(".fault")).to_have_text("⚠ suspected")
    expect(table.locator(".why")).to_have_count(1)
    expect(table.locator(".why")).to_contain_text(
        "multiple or a part of what its neighbours imply, since Sat 31 Jan 08:10"
    )
    expect(table.locator(".why .reason")).to_have_text(SUSPECTED["reason"])


def test_a_dark_sensor_says_because_of_what_and_is_not_called_silent(open_cockpit, stub, sensors):
    stub.steer(faults={sensors[1]: DARK})
    table = open_cockpit(f"?lang=en&link={LINK}").locator(".sensors")
    expect(table.locator("tr", has_text=sensors[1]).locator(".fault")).to_have_text("⚠ dark")
    expect(table.locator(".why .reason")).to_have_text(DARK["because"])


def test_a_sensor_that_is_suspected_and_has_fallen_silent_says_both(open_cockpit, stub, sensors):
    stub.steer(faults={sensors[0]: {**SUSPECTED, "silent": True}})
    table = open_cockpit(f"?lang=en&link={LINK}").locator(".sensors")
    expect(table.locator("tr", has_text=sensors[0]).locator(".fault")).to_have_text(["⚠ suspected", "⚠ silent"])


def test_reasons_are_chinese_and_what_is_only_known_in_english_is_marked_so(open_cockpit, stub, sensors):
    stub.steer(
        faults={sensors[0]: SUSPECTED, sensors[1]: DARK},
        equipment=[{"en": "its junction is an all-way stop", "zh": "路口信号熄灭，按全向停车让行"}],
    )
    panel = open_cockpit(f"?lang=zh&link={LINK}").locator(".panel")
    expect(panel.locator(".sensors")).to_contain_text("可疑")
    expect(panel.locator(".why").nth(0)).to_contain_text("成倍数关系，始于 1月31日周六 08:10")
    expect(panel.locator(".why").nth(0).locator("[lang=en]")).to_have_text(SUSPECTED["reason"])
    expect(panel.locator(".why").nth(1).locator(".reason:not([lang])")).to_have_text(DARK["because_zh"])
    expect(panel.locator(".here")).to_contain_text("路口信号熄灭")


def test_a_link_tells_of_its_equipment_and_its_probes(open_cockpit, stub, sensors):
    stub.steer(equipment=[{"en": "it is shut: BR-1 failed", "zh": "路段关闭：BR-1失效"}])
    panel = open_cockpit(f"?lang=en&link={LINK}").locator(".panel")
    expect(panel.locator(".here")).to_contain_text("it is shut: BR-1 failed")
    expect(panel).to_contain_text("Vehicles that tell where they are: 3 in the last minutes")
    stub.steer(equipment=[])
    expect(panel.locator(".here")).to_have_count(0)


def test_failed_equipment_is_listed_at_once_and_goes_when_it_is_restored(open_cockpit, stub):
    page = open_cockpit("?lang=en")
    outage = page.locator(".outage")
    expect(outage).to_have_count(0)
    stub.steer(out=OUT)
    expect(outage.locator("summary")).to_contain_text("1 failed · 1 dark · 1 on battery · sensors dark: 3")
    outage.locator("summary").click()
    rows = outage.locator("li")
    expect(rows.nth(0)).to_contain_text("Li: digger <b>here</b>")
    expect(rows.nth(1)).to_contain_text("⚠ dark · since Sat 31 Jan 08:10")
    expect(rows.nth(1)).to_contain_text(OUT[1]["because"])
    expect(rows.nth(2)).to_contain_text("on battery · empty at Sat 31 Jan 08:40")
    rows.nth(2).get_by_role("button", name="Show on the map: CAM-7").click()
    expect(page.locator(".panel-head")).to_contain_text(LINK)
    stub.steer(out=[])
    expect(outage).to_have_count(0)


def test_the_network_version_is_on_the_page(open_cockpit, stub):
    version = httpx.get(f"{stub.url}api/v1/network").json()["network_sha256"]
    said = open_cockpit("?lang=en").locator(".version")
    expect(said).to_contain_text(version[:12])
    expect(said).to_contain_text("links")


@pytest.mark.parametrize(("phone", "language"), [(True, "en"), (True, "zh"), (False, "zh")])
def test_faults_have_no_axe_violation_and_no_sideways_scroll(
    open_cockpit, stub, sensors, violations, keep_screenshot, phone, language
):
    stub.steer(
        faults={sensors[0]: SUSPECTED, sensors[1]: DARK}, out=OUT, equipment=[{"en": "it is shut", "zh": "关闭"}]
    )
    page = open_cockpit(f"?lang={language}&link={LINK}", phone=phone)
    page.locator(".outage summary").click()
    expect(page.locator(".outage li")).to_have_count(3)
    where = "phone" if phone else "desktop"
    keep_screenshot(page, f"{where}_outage_{language}")
    assert violations(page) == []
    if phone:
        assert page.locator(".outage").evaluate("list => list.scrollWidth <= 390")
        page.locator(".tabs button").nth(2).click()
    page.locator(".why").last.scroll_into_view_if_needed()
    keep_screenshot(page, f"{where}_faults_{language}")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert page.locator(".panel").evaluate("panel => panel.scrollWidth <= panel.clientWidth")
