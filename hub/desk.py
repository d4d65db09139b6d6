"""The alert desk: the alert book with a memory in the database and a voice to operators."""

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hub.alerts import AlertBook, AlertEvent
from ingest.database import Database
from sensors import WorkError

log = logging.getLogger(__name__)
# Alerts that ended longer ago than this are history: they stay in the table and leave the book.
REMEMBER_S = 7 * 86_400.0
