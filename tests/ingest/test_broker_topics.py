"""Topic filters: the standard's own examples, and the trees against the plain comparison."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.broker.topics import TopicTree, filter_fault, matches, topic_fault

levels = st.sampled_from(["a", "b", "", "上城区", "a b", "$SYS"])
topics = st.lists(levels, min_size=1, max_size=4).map("/".join).filter(bool)
filters = st.builds(
    lambda parts, end: "/".join(parts + end), st.lists(levels | st.just("+"), max_size=4), st.sampled_from([[], ["#"]])
).filter(bool)

# Examples of MQTT 3.1.1, chapter 4.7.
EXAMPLES = [
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("#", "sport/tennis", True),
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("#", "$SYS/monitor/Clients", False),
    ("+/monitor/Clients", "$SYS/monitor/Clients", False),
    ("$SYS/#", "$SYS/monitor/Clients", True),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
    ("ACCOUNTS", "Accounts", False),
    ("city/+/雷达 7", "city/上城区/雷达 7", True),
]


@pytest.mark.parametrize(("text", "topic", "expected"), EXAMPLES)
def test_filters_match_as_the_standard_says(text, topic, expected):
    assert matches(text, topic) is expected


@given(st.lists(filters, max_size=12), topics)
def test_the_tree_finds_the_filters_that_match_a_topic(stored, topic):
    tree = TopicTree()
    for k, text in enumerate(stored):
        tree.put(text, k, text)
    found = sorted(k for k, _ in tree.filters_matching(topic))
    assert found == [k for k, text in enumerate(stored) if matches(text, topic)]


@given(st.sets(topics, max_size=12), filters)
def test_the_tree_finds_the_topics_that_a_filter_matches(stored, text):
    tree = TopicTree()
    for topic in stored:
        tree.put(topic, "", topic)
    assert sorted(topic for _, topic in tree.topics_matching(text)) == sorted(t for t in stored if matches(text, t))


@given(st.lists(st.tuples(filters, st.integers(0, 3)), max_size=12))
def test_a_tree_that_was_emptied_holds_no_branch(stored):
    tree = TopicTree()
    for text, key in stored:
        tree.put(text, key, None)
    assert len(tree) == len(set(stored))
    for text, key in stored:
        tree.drop(text, key)
        tree.drop(text, key)
    assert len(tree) == 0
    assert not tree._root.children


@pytest.mark.parametrize("text", ["", "a/#/b", "a#", "a/b+", "+a/b", "##", "a/" * 40])
def test_a_filter_that_is_not_legal_has_a_fault(text):
    assert filter_fault(text, max_levels=32)


@pytest.mark.parametrize("text", ["#", "+", "/", "a/+/+/#", "+/+", "//", " ", "上城区/#"])
def test_a_legal_filter_has_none(text):
    assert filter_fault(text, max_levels=32) is None


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a/" * 32])
def test_a_topic_that_cannot_be_published_to_has_a_fault(topic):
    assert topic_fault(topic, max_levels=32)
