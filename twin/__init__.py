"""The model of the city: its network, its equipment and its state. No network traffic, no database."""
