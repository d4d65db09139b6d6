"""Readings, batches, errors: what every part relies on."""

import numpy as np
import pytest

from sensors import Batch, InputError, PayloadError, Reading, Reason, Rejected, quantity
from sensors.reading import Quality

THREE = [Reading("A", "speed_kmh", 1, 50.0), Reading("B", "flow_veh_h", 2, 60.0), Reading("C", "occupancy", 3, 0.1)]


def test_batch_holds_readings_as_frozen_columns():
    batch = Batch.of(THREE, received_at=7.0, rejected=(Rejected("t", b"x", Reason.NOT_JSON),))
    assert (len(batch), batch.received_at, len(batch.rejected)) == (3, 7.0, 1)
    assert batch.sensor_id == ("A", "B", "C")
    assert [column.dtype for column in (batch.time_ms, batch.value, batch.quality)] == [np.int64, np.float64, np.uint16]
    for column in (batch.time_ms, batch.value, batch.quality):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_batch_owns_its_columns():
    values = np.array([1.0])
    batch = Batch(("A",), ("speed_kmh",), np.array([0]), values, np.array([0]))
    values[0] = 2.0
    assert batch.value[0] == 1.0


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"equally long, not \[1, 2\]"):
        Batch(("A",), ("speed_kmh",), np.array([0, 1]), np.array([1.0]), np.array([0]))


@pytest.mark.parametrize("chosen", [[2, 0], np.array([2, 0]), np.array([], np.int64), []])
def test_take_chooses_by_position_in_the_order_given(chosen):
    batch = Batch.of(THREE, received_at=7.0)
    assert batch.take(chosen).sensor_id == tuple("ABC"[position] for position in chosen)
    assert batch.take(chosen).received_at == 7.0


def test_take_chooses_by_mask_and_keeps_flags():
    batch = Batch(("A", "B"), ("x", "y"), np.array([0, 1]), np.array([1.0, 2.0]), np.array([0, Quality.STUCK]))
    part = batch.take(np.array([False, True]))
    assert (part.sensor_id, part.quantity, part.time_ms.tolist(), part.quality.tolist()) == (("B",), ("y",), [1], [4])


def test_input_error_tells_every_fault_on_a_line_of_its_own():
    assert str(InputError(["one", "two"])) == "one\ntwo"
    assert isinstance(InputError("one"), ValueError)


def test_payload_error_tells_reason_and_detail():
    assert str(PayloadError(Reason.NOT_JSON, "at character 3")) == "not_json: at character 3"
    assert str(PayloadError(Reason.EMPTY)) == "empty"


def test_unknown_quantity_is_a_key_error():
    with pytest.raises(KeyError):
        quantity("speed")


def test_flags_fit_the_columns_that_hold_them():
    assert sum(Quality) < 2**15  # int2 in the database, uint16 in a batch
