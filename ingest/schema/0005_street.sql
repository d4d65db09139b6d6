-- The street of a demo: what really happened, kept apart from everything that the twin knows or may ask for.

CREATE TABLE street_truth (
    time               timestamptz PRIMARY KEY,   -- city time
    network_sha256     text NOT NULL,
    speed_kmh          real[] NOT NULL,           -- by link in the network's order; null without a vehicle
    flow_veh_h         real[] NOT NULL,
    error_speed_kmh    real,                      -- mean absolute error of the twin's estimate at that time
    error_flow_veh_h   real
);
COMMENT ON TABLE street_truth IS 'State of a demo''s street once a minute, and how far the estimate was from it; the twin never reads it';

CREATE TABLE street_event (
    street_event_id    int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind               text NOT NULL,             -- incident, fault
    subject            text NOT NULL,             -- link or sensor
    starts             timestamptz NOT NULL,      -- city time
    ends               timestamptz NOT NULL,
    payload            jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX street_event_starts ON street_event (starts);
COMMENT ON TABLE street_event IS 'Unannounced incidents and sensor faults of a demo''s street';

-- Beside what forget_before dropped already: the truth of a street is of use for a week.
CREATE OR REPLACE FUNCTION forget_before(since timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DELETE FROM rejected WHERE received_at < since;
    DELETE FROM alert_event WHERE alert_id IN (
        SELECT ended.alert_id FROM alert_event AS ended
        WHERE ended.event IN ('resolved', 'inactive') AND ended.time < since
        AND NOT EXISTS (SELECT FROM alert_event AS later WHERE later.alert_id = ended.alert_id AND later.time >= since)
    );
    DELETE FROM street_truth WHERE time < greatest(since, (SELECT max(time) FROM street_truth) - interval '7 days');
    DELETE FROM street_event WHERE ends < greatest(since, (SELECT max(time) FROM street_truth) - interval '7 days');
$$;
