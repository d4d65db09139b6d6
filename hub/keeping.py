"""What the twin learned of its sensors, kept in the store so that a restart does not forget it."""

import io
import logging
import zipfile
from datetime import timedelta

import numpy as np

from ingest.chore import Chore
from ingest.database import Database
from sensors import InputError
from twin.suspect import Kept

log = logging.getLogger(__name__)
# A hub that is killed forgets no more than this; what is older than two weeks has faded from the comparison anyway.
EVERY_S, FADED = 900.0, timedelta(days=14)
_PART = "suspects"
_READ = "SELECT content FROM kept WHERE part = %s AND recorded_at > now() - %s"
_WRITE = (
    "INSERT INTO kept (part, content) VALUES (%s, %s)"
    " ON CONFLICT (part) DO UPDATE SET content = EXCLUDED.content, recorded_at = now()"
)


class Keeping(Chore):
    """Writes what the twin hands over now and then, beside the twin, and gives it back at the next start."""

    def __init__(self, database: Database) -> None:
        super().__init__("keeping", every_s=EVERY_S / 10, undone="what was learned of the sensors is not kept yet")
        self._database = database
        self._waiting: Kept | None = None

    def put(self, kept: Kept) -> None:
        """Hand over what was learned; what has learned nothing yet does not replace what an earlier run kept."""
        if len(kept["sensor_id"]):
            self._waiting = kept

    def do(self) -> bool:
        """Write what waits, and return whether anything did.

        Raises
        ------
        WorkError
            When the database is away or refuses; it goes on waiting.
        """
        kept = self._waiting
        if kept is None:
            return False
        content = io.BytesIO()
        np.savez_compressed(content, **kept)  # type: ignore[arg-type]
        with self._database.connection() as connection:
            connection.execute(_WRITE.encode(), (_PART, content.getvalue()))
        if self._waiting is kept:
            self._waiting = None
        return True

    def read(self) -> Kept | None:
        """Return what an earlier run kept, None without one that can be read.

        Raises
        ------
        WorkError
            When the database cannot be read.
        """
        rows = self._database.fetch(_READ, (_PART, FADED))
        if not rows:
            return None
        try:
            with np.load(io.BytesIO(rows[0][0]), allow_pickle=False) as archive:
                return dict(archive)
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise InputError(f"what was kept of the sensors cannot be read: {error}") from None
