-- Retention: beside weeks of readings, what else would grow for ever.
--
-- An alert goes whole, and only when nothing happened to it since; one that is still firing stays, however old it is.
-- The function has its owner's rights, like drop_readings_before.

CREATE FUNCTION forget_before(since timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DELETE FROM rejected WHERE received_at < since;
    DELETE FROM alert_event WHERE alert_id IN (
        SELECT ended.alert_id FROM alert_event AS ended
        WHERE ended.event IN ('resolved', 'inactive') AND ended.time < since
        AND NOT EXISTS (SELECT FROM alert_event AS later WHERE later.alert_id = ended.alert_id AND later.time >= since)
    );
$$;

-- A start asks what was written down in the last hour, to tell what nobody was told yet.
CREATE INDEX alert_event_recorded_at ON alert_event (recorded_at);
