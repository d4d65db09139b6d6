"""A batch in fixed point: the rows of ``reading_raw`` that it becomes, and the readings that cannot become one."""

import numpy as np

from ingest.catalogue import Resolved
from ingest.rows import Rows
from ingest.series import EARLIEST_MS, LATEST_MS
from sensors import Batch, Reason
from sensors.reading import Quality


def fixed_point(batch: Batch, series: Resolved) -> tuple[Rows, list[tuple[int, Reason]]]:
    """Return the rows of a batch that can be stored, sorted, and the positions of the others with the reason."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(batch.value * series.scale)
        fits = np.abs(scaled) < 2.0**63
    good = fits & (batch.time_ms >= EARLIEST_MS) & (batch.time_ms < LATEST_MS)
    good[list(series.refused)] = False
    refused: list[tuple[int, Reason]] = []
    for i in np.flatnonzero(~good).tolist():
        if (why := series.refused.get(i)) is not None:
            reason = why
        elif not np.isfinite(batch.value[i]):
            reason = Reason.NOT_A_NUMBER
        elif not fits[i]:
            reason = Reason.OUT_OF_STORAGE_RANGE
        else:
            reason = Reason.TIME_TOO_OLD if batch.time_ms[i] < EARLIEST_MS else Reason.TIME_IN_FUTURE
        refused.append((i, reason))
    quality = batch.quality.astype(np.int64) | np.where(series.verified, 0, int(Quality.UNVERIFIED_SENSOR))
    rows = Rows(
        position=np.arange(len(batch)),
        series=series.series_id,
        time_ms=batch.time_ms,
        raw=np.where(good, scaled, 0.0).astype(np.int64),
        quality=quality & 0x7FFF,  # the column is a signed 16-bit integer
        scale=series.scale,
    )
    return (rows if good.all() else rows.take(good)).sorted(), refused
