"""Frames say exactly what a browser needs to draw."""

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hub.frames import LinkBytes, Stamps, delta_frame, full_frame

said = Stamps(7, 1000.5, 2000.25)


def decode(frame: bytes, before: LinkBytes | None) -> LinkBytes:
    """Read a frame as its documentation says, independently of the code that writes it."""
    magic, kind, sequence, n_links, city_time, wall_time = struct.unpack_from("<4sB3xIIdd", frame)
    assert (magic, sequence, city_time, wall_time) == (b"CTF1", 7, 1000.5, 2000.25)
    body = frame[32:]
    if kind == 0:
        assert len(body) == 2 * n_links
        data = np.frombuffer(body, np.uint8)
        return LinkBytes(data[:n_links], data[n_links:])
    (count,) = struct.unpack_from("<I", body)
    index = np.frombuffer(body, "<u4", count, 4)
    ratio, source = before.ratio.copy(), before.source.copy()
    ratio[index] = np.frombuffer(body, np.uint8, count, 4 + 4 * count)
    source[index] = np.frombuffer(body, np.uint8, count, 4 + 5 * count)
    assert len(body) == 4 + 6 * count
    return LinkBytes(ratio, source)


states = st.integers(0, 50).flatmap(lambda n: st.lists(st.binary(min_size=n, max_size=n), min_size=4, max_size=4))


@given(states)
def test_a_delta_on_the_state_before_gives_the_state_after(columns: list[bytes]) -> None:
    ratio, source, ratio_after, source_after = (np.frombuffer(column, np.uint8) for column in columns)
    before, after = LinkBytes(ratio, source), LinkBytes(ratio_after, source_after)
    for frame in (full_frame(after, said), delta_frame(before, after, said)):
        got = decode(frame, before)
        assert np.array_equal(got.ratio, after.ratio)
        assert np.array_equal(got.source, after.source)


def test_nothing_changed_is_a_heartbeat_without_links() -> None:
    state = LinkBytes(np.array([1, 2], np.uint8), np.array([0, 1], np.uint8))
    assert len(delta_frame(state, state, said)) == 36
