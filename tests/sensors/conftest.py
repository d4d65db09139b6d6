"""Real recordings that several tests read."""

from pathlib import Path

import pytest

from sensors.column_map import AARHUS
from sensors.recorded_table import Table


@pytest.fixture(scope="session")
def aarhus(shared_data: Path) -> Table:
    """Return the month of 449 links, read once: 3.6 million rows take some 10 s."""
    return Table(shared_data / "aarhus" / "traffic_2014-08.csv.gz", AARHUS)
