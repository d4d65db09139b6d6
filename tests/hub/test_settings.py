"""Settings: every fault at once, in one sentence each, and no password in any of them."""

from pathlib import Path

import pytest

from hub.settings import City, Settings
from sensors import InputError


def faults(environment: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        Settings.read(environment)
    return caught.value.faults


def test_nothing_set_gives_embedded_parts_on_loopback() -> None:
    settings = Settings.read({})
    assert (settings.database_url, settings.mqtt_url, settings.host, settings.port) == (None, None, "127.0.0.1", 8000)
    assert settings.clock == "live"


def test_all_faults_of_the_environment_are_told_at_once_without_passwords() -> None:
    told = faults(
        {
            "CITYTWIN_PORT": "99999",
            "CITYTWIN_MQTT_URL": "http://user:secret@host",
            "CITYTWIN_DATABASE_URL": "mysql://user:secret@host/db",
            "CITYTWIN_LOG": "loud",
            "CITYTWIN_CONFIG": "/nowhere/at/all",
        }
    )
    assert len(told) == 5
    assert not any("secret" in fault for fault in told)
    assert any("CITYTWIN_PORT" in fault and "65535" in fault for fault in told)


@pytest.mark.parametrize(
    "url", ["mqtt://", "mqtt://host:notaport", "mqtt://host:0x7", "host:1883", "mqtt://host:99999"]
)
def test_a_broker_url_that_leads_nowhere_is_refused(url: str) -> None:
    assert "CITYTWIN_MQTT_URL" in faults({"CITYTWIN_MQTT_URL": url})[0]


@pytest.mark.parametrize("address", ["1883", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x", ":1883"])
def test_an_address_of_the_embedded_broker_that_is_none_is_refused(address: str) -> None:
    assert "CITYTWIN_MQTT_LISTEN" in faults({"CITYTWIN_MQTT_LISTEN": address})[0]


def test_a_clock_that_is_none_is_refused_before_anything_starts() -> None:
    assert "CITYTWIN_CLOCK" in faults({"CITYTWIN_CLOCK": "yesterday"})[0]


def write(folder: Path, text: str, encoding: str = "utf-8") -> dict[str, str]:
    (folder / "city.toml").write_text(text, encoding)
    return {"CITYTWIN_CONFIG": str(folder)}


def test_an_unknown_key_names_file_table_key_and_the_nearest(tmp_path: Path) -> None:
    (told,) = faults(write(tmp_path, "[ingest]\nretention_day = 3\n"))
    assert "city.toml" in told
    assert "[ingest]" in told
    assert "did you mean 'retention_days'?" in told


def test_broken_toml_names_file_and_line(tmp_path: Path) -> None:
    (told,) = faults(write(tmp_path, "[city]\nname = \n"))
    assert "city.toml" in told
    assert "line 2" in told


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[city]\nname = 3\n", "name"),
        ("[city]\ntimezone = 'Asia/Nowhere'\n", "timezone"),
        ("[city]\nholidays = ['1 May']\n", "must be a list such as [2026-10-01]"),
        ("[city]\nholidays = 2026-05-01\n", "must be a list such as [2026-10-01]"),
        ("[city]\nholidays = [2026-05-01T08:00:00]\n", "must be a list such as [2026-10-01]"),
        ("[ingest]\nretention_days = -1\n", "retention_days"),
        ("[ingest]\nretention_days = true\n", "retention_days"),
        ("[ingest]\nretention_days = nan\n", "retention_days"),
        ("[notify]\nwebhook_url = 'ftp://x'\n", "webhook_url"),
        ("[[topic]]\nfilter = 'a/#'\n", "codec"),
        ("[[topic]]\nfilter = 'a/#'\ncodec = 'citytwon'\n", "citytwin"),
        ("[[topic]]\nfilter = 'a/#/b'\ncodec = 'citytwin'\n", "a/#/b"),
        ("topic = 3\n", "topic"),
        ("city = 3\n", "city"),
    ],
)
def test_wrong_values_are_refused_by_name(tmp_path: Path, text: str, word: str) -> None:
    assert any(word in fault for fault in faults(write(tmp_path, text)))


def test_a_file_with_bom_and_crlf_is_read(tmp_path: Path) -> None:
    environment = write(tmp_path, '[city]\r\nname = "Stadt"\r\n', "utf-8-sig")
    assert Settings.read(environment).city.name == "Stadt"


def test_the_shipped_file_says_what_the_defaults_are() -> None:
    assert City.read(Path(__file__).parents[2] / "config" / "city.toml") == City()


def test_the_linger_of_a_message_is_given_in_ms(tmp_path: Path) -> None:
    assert Settings.read(write(tmp_path, "[ingest]\nlinger_ms = 500\n")).city.linger_s == 0.5
    assert "linger_ms is 0, must be a number > 0" in faults(write(tmp_path, "[ingest]\nlinger_ms = 0\n"))[0]
