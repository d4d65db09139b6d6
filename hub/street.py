"""The living street of the demo: a simulated city that the twin does not see, only its sensors' readings.

Run as ``python -m hub.street``. It plays the typical day under a SimPy real-time clock, lets incidents and sensor faults
happen without announcement, and publishes what its virtual sensors measure. What really happened goes to its standard
output, one JSON object a line; it stops when its standard input ends.
"""

import argparse
import json
import math
import sys
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import simpy
import simpy.rt

from ingest.publisher import Publisher
from sensors import InputError, Sensor, WorkError
from sensors.fault import Fault, FaultKind
from sensors.fleet import Fleet
from simulation import Demand, Simulation
from twin import Network
from twin.placement import place_detectors

Process = Generator[simpy.Event, Any, None]

STEPS_PER_WALL_S = 5.0  # how smoothly the street moves
TRUTH_EVERY_S = 10.0
FIRST_INCIDENT_S, INCIDENT_EVERY_S, INCIDENT_LASTS_S = 90.0, 900.0, (600.0, 1500.0)
FIRST_FAULT_S, FAULT_EVERY_S, FAULT_LASTS_S = 240.0, 1200.0, (900.0, 2400.0)
DRAIN_S = 15.0


def tell(**line: Any) -> None:
    """Say one thing to the hub."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
