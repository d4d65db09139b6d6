"""A small MQTT broker that acknowledges through: a PUBACK means that the reading is committed."""
