"""A small MQTT broker that acknowledges through: a PUBACK means that the reading is committed."""

from ingest.broker.server import Broker
from ingest.broker.settings import Counters, Limits, Settings

__all__ = ["Broker", "Counters", "Limits", "Settings"]
