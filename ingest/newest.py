"""The newest reading of every series, as one value of bytes: ten thousand in milliseconds."""

import numpy as np

from ingest.database import Connection, Database
from ingest.rows import EPOCH_2000_US
from sensors import Batch

# One record of the answer: what PostgreSQL sends of a value in binary, times in µs since 2000. No column is null.
_RECORD = np.dtype([("series", ">i4"), ("time", ">i8"), ("value", ">f8"), ("quality", ">i2")])
# One value of bytes instead of ten thousand rows, each of which would be looked at in Python.
_QUERY = (
    b"SELECT string_agg(int4send(series_id) || timestamptz_send(time) || float8send(value) || int2send(quality),"
    b" ''::bytea) FROM (SELECT * FROM latest WHERE received_at > to_timestamp(%s) ORDER BY series_id) AS l"
)


class Newest:
    """Answers for the table ``latest`` of one database, and remembers the names of its series."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._generation = database.generation
        self._names: dict[int, tuple[str, str]] = {}

    def batch(self, *, received_after: float) -> Batch:
        """Return the newest reading of each series whose newest was received after a time (s since 1970), by series."""
        after = min(max(received_after, -1e11), 9e12)  # what a timestamp can be
        with self._database.connection() as connection:
            row = connection.cursor(binary=True).execute(_QUERY, (after,)).fetchone()
            records = np.frombuffer((row and row[0]) or b"", _RECORD)
            names = self._names_of(connection, records["series"].tolist())
        sensor_ids, quantities = zip(*names, strict=True) if names else ((), ())
        return Batch(
            sensor_id=sensor_ids,
            quantity=quantities,
            time_ms=(records["time"].astype(np.int64) + EPOCH_2000_US) // 1000,
            value=records["value"].astype(np.float64),
            quality=records["quality"].astype(np.uint16),
        )

    def _names_of(self, connection: Connection, series: list[int]) -> list[tuple[str, str]]:
        if self._generation != self._database.generation:  # it may be another database by now
            self._generation = self._database.generation
            self._names = {}
        known = self._names
        try:
            return [known[number] for number in series]
        except KeyError:
            rows = connection.execute("SELECT series_id, sensor_id, quantity FROM series").fetchall()
            self._names = known = {int(row[0]): (str(row[1]), str(row[2])) for row in rows}
            return [known[number] for number in series]
