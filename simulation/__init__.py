"""What-if: the traffic engine, demand, signals, incidents, routes and their results."""
