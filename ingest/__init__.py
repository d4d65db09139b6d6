"""From MQTT to the database: broker, subscriber, batches, store."""
