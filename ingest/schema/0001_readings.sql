-- Readings: what sensors measured, first write wins, never overwritten.
--
-- Values are integers in fixed point (value = raw / scale of the series) and times lie on a grid of 1 ms: both compress
-- five to seven times better than floats. One index only, the primary key: it makes a repeated delivery harmless and
-- serves every query of one series; a second index would halve the rate of writing.

CREATE TABLE sensor (
    sensor_id   text PRIMARY KEY,                 -- last level of the MQTT topic
    kind        text NOT NULL DEFAULT '',
    quantities  text[] NOT NULL DEFAULT '{}',     -- keys like speed_kmh
    link_id     text NOT NULL DEFAULT '',
    position_m  float8 NOT NULL DEFAULT 0,        -- from the link's upstream end
    lanes       int NOT NULL DEFAULT 1,
    interval_s  float8,
    owner       text NOT NULL DEFAULT '',
    asset_id    text NOT NULL DEFAULT '',
    verified    boolean NOT NULL,                 -- false: it sent data, but no network folder names it
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sensor_unverified ON sensor (sensor_id) WHERE NOT verified;  -- they are counted, for their number is limited
COMMENT ON TABLE sensor IS 'Registered sensors, and unverified ones that sent data without being registered';

CREATE TABLE series (
    series_id   int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sensor_id   text NOT NULL REFERENCES sensor,
    quantity    text NOT NULL,                    -- key with unit, like speed_kmh
    scale       int8 NOT NULL CHECK (scale > 0),  -- stored integers per unit of the quantity
    UNIQUE (sensor_id, quantity)
);
COMMENT ON TABLE series IS 'One row for each quantity of each sensor';

-- No foreign key to series: its check on every row would cost a third of the writing rate, and only ingest writes here.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        CREATE TABLE reading_raw (
            series_id   int NOT NULL,
            time        timestamptz(3) NOT NULL,
            raw         int8 NOT NULL,
            quality     int2 NOT NULL DEFAULT 0,
            received_at timestamptz NOT NULL,
            PRIMARY KEY (series_id, time)
        );
        PERFORM create_hypertable('reading_raw', 'time', chunk_time_interval => interval '7 days',
                                  create_default_indexes => false);
    ELSE
        -- Partitions of one week are made by ensure_reading_partition, just before rows arrive that need them.
        CREATE TABLE reading_raw (
            series_id   int NOT NULL,
            time        timestamptz(3) NOT NULL,
            raw         int8 NOT NULL,
            quality     int2 NOT NULL DEFAULT 0,
            received_at timestamptz NOT NULL,
            PRIMARY KEY (series_id, time)
        ) PARTITION BY RANGE (time);
    END IF;
END
$$;
COMMENT ON TABLE reading_raw IS 'Readings in fixed point; read the view reading instead';
COMMENT ON COLUMN reading_raw.time IS 'End of the measured interval';
COMMENT ON COLUMN reading_raw.raw IS 'Value times series.scale, rounded';
COMMENT ON COLUMN reading_raw.quality IS 'Flags: 1 range, 2 rate, 4 stuck, 8 contradiction, 16 unverified sensor, 32 late; 0 good';
COMMENT ON COLUMN reading_raw.received_at IS 'City time at which the batch was received, milliseconds before its commit';

-- Attaching a ready-made table blocks no writer, unlike CREATE TABLE ... PARTITION OF. The function has its owner's
-- rights, so that a role that may only insert can still take readings of a new week.
CREATE FUNCTION ensure_reading_partition(week timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone TO 'UTC' AS $$
DECLARE
    partition text := 'reading_raw_' || to_char(week, 'YYYYMMDD');
BEGIN
    IF to_regclass(partition) IS NOT NULL
       OR (SELECT relkind FROM pg_class WHERE oid = 'reading_raw'::regclass) <> 'p' THEN
        RETURN;
    END IF;
    LOCK TABLE ONLY reading_raw IN SHARE UPDATE EXCLUSIVE MODE;  -- one at a time; it also shows what others just made
    IF to_regclass(partition) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE reading_raw INCLUDING ALL)', partition);
        EXECUTE format('ALTER TABLE reading_raw ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       partition, week, week + interval '7 days');
    END IF;
END
$$;

-- Retention: a week that is over is dropped whole, which takes milliseconds and leaves no holes.
CREATE FUNCTION drop_readings_before(since timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone TO 'UTC' SET lock_timeout TO '10s' AS $$
DECLARE
    partition record;
    dropped int := 0;
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'reading_raw'::regclass) <> 'p' THEN
        RETURN (SELECT count(*) FROM drop_chunks('reading_raw', since));
    END IF;
    FOR partition IN
        SELECT c.oid::regclass AS name, to_date(right(c.relname, 8), 'YYYYMMDD') + interval '7 days' AS ends
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'reading_raw'::regclass ORDER BY c.relname
    LOOP
        IF partition.ends <= since THEN
            EXECUTE format('DROP TABLE %s', partition.name);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END
$$;

CREATE VIEW reading AS
SELECT r.series_id, r.time, r.raw::float8 / s.scale AS value, r.quality, r.received_at
FROM reading_raw AS r JOIN series AS s USING (series_id);
COMMENT ON VIEW reading IS 'Readings in the unit of their quantity';

-- Last reading of each series: asking reading_raw for them would take seconds. Rows are rewritten all the time, so that
-- half of each page stays free for the new version of a row beside the old one.
CREATE TABLE latest (
    series_id   int PRIMARY KEY,
    time        timestamptz(3) NOT NULL,
    value       float8 NOT NULL,
    quality     int2 NOT NULL,
    received_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE latest IS 'The newest reading of each series, by its time';

CREATE TABLE rejected (
    rejected_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL,
    topic       text NOT NULL,
    payload     bytea NOT NULL,                   -- whole up to 64 kB
    reason      text NOT NULL,                    -- a key of sensors.Reason; with the length when the payload was cut
    detail      text NOT NULL DEFAULT '',
    replayed_at timestamptz
);
CREATE INDEX rejected_received_at ON rejected (received_at);
COMMENT ON TABLE rejected IS 'Payloads, or single values of them, that did not become readings, and why';

CREATE TABLE correction (
    series_id   int NOT NULL REFERENCES series,
    time        timestamptz(3) NOT NULL,
    value       float8,                           -- null: the reading is void
    recorded_at timestamptz NOT NULL,
    author      text NOT NULL,
    reason      text NOT NULL,
    PRIMARY KEY (series_id, time, recorded_at)
);
COMMENT ON TABLE correction IS 'What was known at T = readings received by T, overlaid by the last correction recorded by T';
