"""Who may connect and what each may publish and subscribe, as the access file says."""

import pytest

from ingest.broker.access import Access, hash_password
from ingest.broker.packets import LEVEL_5, AckPacket, ConnectPacket, PacketType, PublishPacket, Will
from ingest.broker.reasons import Reason
from sensors import InputError

FILE = """
[[user]]
name = "ingest"
password = "{ingest}"
subscribe = ["city/#"]
[[user]]
name = "d7"
password = "{device}"
publish = ["city/+/%u"]
subscribe = ["command/%c/#"]
"""


def puback(packet_id: int, reason: int = 0) -> AckPacket:
    return AckPacket(PacketType.PUBACK, packet_id, reason)


@pytest.fixture(scope="module")
def text():
    return FILE.format(ingest=hash_password(b"i"), device=hash_password(b"d"))


@pytest.fixture
def access(tmp_path, text):
    path = tmp_path / "access.toml"
    path.write_text(text)
    return Access.read(path)


@pytest.fixture
def inner(start_inner, access):
    return start_inner(access=access)


@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize(
    ("user", "password", "old", "new"),
    [
        ("d7", b"d", 0, 0),
        ("d7", b"wrong", 4, Reason.BAD_USER_OR_PASSWORD),
        ("d7", None, 4, Reason.BAD_USER_OR_PASSWORD),
        ("nobody", b"d", 4, Reason.BAD_USER_OR_PASSWORD),
        (None, None, 5, Reason.NOT_AUTHORIZED),
    ],
)
def test_only_users_of_the_file_with_their_password_connect(inner, wire, level, user, password, old, new):
    for _ in range(2):  # the second time without computing the hash
        client = wire(inner)
        assert client.connect("c", user=user, password=password, level=level).code == (new if level == 5 else old)
        assert client.is_closed() if new else client.before_pong() == []


def test_a_device_publishes_its_own_topics_only(inner, wire):
    ingest, device = wire(inner), wire(inner)
    ingest.connect("ingest", user="ingest", password=b"i", clean=False)
    ingest.subscribe("city/#")
    device.connect("x", user="d7", password=b"d", level=LEVEL_5)
    device.publish("city/old/d8", b"forged", packet_id=1)
    assert device.receive() == puback(1, Reason.NOT_AUTHORIZED)
    device.publish("city/old/d8", b"forged", packet_id=2, qos=2)
    assert device.receive() == AckPacket(PacketType.PUBREC, 2, Reason.NOT_AUTHORIZED)
    device.publish("city/old/d8", b"forged")
    device.publish("city/old/d7", b"true", packet_id=3)
    got = ingest.expect(PublishPacket)
    assert got.payload == b"true"
    ingest.acknowledge(got)
    assert device.receive() == puback(3)


def test_an_older_device_loses_its_connection_over_the_topic_of_another(inner, wire):
    device = wire(inner)
    device.connect("x", user="d7", password=b"d")
    device.publish("city/old/d8", b"forged", packet_id=1)
    assert device.receive() is None  # no PUBACK: that would say that it is committed


def test_a_client_subscribes_to_no_more_than_it_may_read(inner, wire):
    device, old = wire(inner), wire(inner)
    device.connect("x", user="d7", password=b"d", level=LEVEL_5)
    codes = device.subscribe("command/x/#", "command/x", "command/y", "#", "city/#", "$share/g/command/x/+").codes
    assert codes == (1, 1, 0x87, 0x87, 0x87, 1)
    old.connect("y", user="d7", password=b"d")
    assert old.subscribe("command/y/a", "#").codes == (1, 0x80)


def test_a_will_on_the_topic_of_another_is_refused(inner, wire):
    device = wire(inner)
    assert device.connect("x", user="d7", password=b"d", will=Will("city/old/d8", b"")).code == 5


@pytest.mark.parametrize("client_id", ["+", "#", "a/b"])
def test_a_client_identifier_with_wildcards_is_no_way_to_the_topics_of_others(inner, wire, client_id):
    device = wire(inner)
    device.connect(client_id, user="d7", password=b"d", level=LEVEL_5)
    assert device.subscribe("command/x/1").codes == (0x87,)
    device.publish("city/old/d7", b"", packet_id=1)
    assert device.receive() == puback(1, Reason.NOT_AUTHORIZED)


def test_a_client_that_is_being_checked_may_send_on_and_nothing_is_lost(inner, wire):
    device = wire(inner)
    device.level = LEVEL_5
    device.send(ConnectPacket("x", user="d7", password=b"d", level=LEVEL_5), PublishPacket("no", b"", 1, packet_id=9))
    assert device.receive().code == 0
    assert device.receive() == puback(9, Reason.NOT_AUTHORIZED)


def test_a_session_belongs_to_the_user_who_made_it(inner, wire):
    owner, thief = wire(inner), wire(inner)
    owner.connect("x", user="d7", password=b"d", clean=False)
    assert thief.connect("x", user="ingest", password=b"i", clean=False).code == 5
    assert owner.before_pong() == []


def test_anonymous_clients_may_do_what_the_file_says(tmp_path, start_inner, wire):
    path = tmp_path / "access.toml"
    path.write_text('[anonymous]\nsubscribe = ["alert/#"]\n')
    client = wire(start_inner(access=Access.read(path)))
    assert client.connect("c").code == 0
    assert client.subscribe("alert/+", "city/#").codes == (1, 0x80)


FAULTS = {
    "users = 1": "unknown key 'users'",
    '[[user]]\nname = "a"': "password must be what",
    '[[user]]\npassword = "x"': "name must be a text",
    '[anonymous]\npublish = ["a/#/b"]': "'#' must be the last level",
    "[anonymous]\npublish = 3": "must be a list of topic filters",
    '[anonymous]\nname = "x"': "unknown key 'name'",
    "user = 3": "must be a list of tables",
    "anonymous = true": "must be a table",
    "[": "access.toml: ",
}


@pytest.mark.parametrize("wrong", FAULTS)
def test_a_fault_of_the_file_is_named(tmp_path, wrong):
    path = tmp_path / "access.toml"
    path.write_text(wrong)
    with pytest.raises(InputError) as caught:
        Access.read(path)
    assert FAULTS[wrong] in str(caught.value)


def test_the_file_does_not_hold_the_password_and_no_two_entries_look_alike():
    first, second = hash_password(b"secret"), hash_password(b"secret")
    assert "secret" not in first
    assert first != second


@pytest.fixture
def counted(tmp_path, start_inner):
    path = tmp_path / "counted.toml"
    entry = f'[[user]]\nname = "d7"\npassword = "{hash_password(b"d")}"\npublish = ["open/%u/#"]\nmax_topics = 2\n'
    path.write_text(f'{entry}[anonymous]\npublish = ["open/#"]\n')
    return start_inner(access=Access.read(path))


def test_a_device_has_no_more_topics_than_its_entry_says(counted, wire):
    device = wire(counted)
    device.connect("x", user="d7", password=b"d", level=LEVEL_5)
    for number, (topic, reason) in enumerate(
        [("a", 0), ("b", 0), ("c", Reason.QUOTA_EXCEEDED), ("a", 0), ("c", Reason.QUOTA_EXCEEDED), ("b", 0)], 1
    ):
        device.publish(f"open/d7/{topic}", b"1", packet_id=number)
        answer = device.receive()
        assert (answer.packet_id, answer.reason >= 0x80, answer.reason if answer.reason >= 0x80 else 0) == (
            number, bool(reason), reason
        )  # fmt: skip
    device.vanish()
    again = wire(counted)  # a new connection does not begin to count anew
    again.connect("y", user="d7", password=b"d")
    again.publish("open/d7/a", b"1", packet_id=1)
    assert again.receive().packet_id == 1
    again.publish("open/d7/c", b"1", packet_id=2)
    assert again.is_closed()  # 3.1.1 has no word for it
    free = wire(counted)  # the anonymous have no such number
    free.connect("z", level=LEVEL_5)
    for number in range(1, 20):
        free.publish(f"open/{number}", b"1", packet_id=number)
        assert free.receive().packet_id == number


def test_a_number_of_topics_that_is_none_is_refused(tmp_path):
    path = tmp_path / "access.toml"
    path.write_text('[anonymous]\npublish = ["#"]\nmax_topics = -1\n')
    with pytest.raises(InputError, match=r"\[anonymous\]: max_topics is -1, must be a whole number"):
        Access.read(path)
