-- Rollups by weeks, by zones and with corrections; partitions ahead of time; the columnstore where it is licensed.
--
-- Readings and rollups have the same weeks, which go whole. TimescaleDB's chunks hold readings only: rollups are ordinary
-- partitions on every level, because they are rewritten when a late reading or a correction comes.

ALTER TABLE rollup RENAME TO rollup_whole;
ALTER TABLE rollup_whole RENAME CONSTRAINT rollup_pkey TO rollup_whole_pkey;
DROP INDEX rollup_time;

CREATE TABLE rollup (
    series_id   int NOT NULL,
    time        timestamptz NOT NULL,             -- start of the bucket
    n           int NOT NULL,                     -- readings received
    n_good      int NOT NULL,                     -- readings in the sum
    total       float8,                           -- null without a good reading
    least       float8,
    greatest    float8,
    PRIMARY KEY (series_id, time)
) PARTITION BY RANGE (time);
CREATE INDEX rollup_time ON rollup (time);
COMMENT ON TABLE rollup IS 'Five-minute sums of each series, corrections applied; mean = total / n_good';

CREATE FUNCTION week_of(instant timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT date_bin('7 days', instant, timestamptz '2000-01-03T00:00:00Z') $$;
COMMENT ON FUNCTION week_of IS 'Monday 00:00 UTC of a time';

-- The caller says which table; nobody else than the functions below and their owner may call it.
CREATE FUNCTION ensure_week(parent text, week timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone TO 'UTC' AS $$
DECLARE
    partition text := parent || '_' || to_char(week, 'YYYYMMDD');
BEGIN
    IF to_regclass(partition) IS NOT NULL
       OR (SELECT relkind FROM pg_class WHERE oid = parent::regclass) <> 'p' THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE ONLY %I IN SHARE UPDATE EXCLUSIVE MODE', parent);  -- one at a time, and shows new ones
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', partition, parent);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   parent, partition, week, week + interval '7 days');
    RETURN true;
END
$$;

CREATE OR REPLACE FUNCTION ensure_reading_partition(week timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$ SELECT ensure_week('reading_raw', week_of(week)) $$;

-- Weeks to come are made while nobody waits for them.
CREATE FUNCTION make_weeks_ahead(since timestamptz, weeks int) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout TO '10s' AS $$
    SELECT count(*) FILTER (WHERE ensure_week(parent, week_of(since) + k * interval '7 days'))::int
    FROM (VALUES ('reading_raw'), ('rollup')) AS t (parent) CROSS JOIN generate_series(0, least(weeks, 520)) AS k;
$$;

CREATE FUNCTION drop_weeks_before(parent text, since timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone TO 'UTC' SET lock_timeout TO '10s' AS $$
DECLARE
    partition record;
    dropped int := 0;
BEGIN
    FOR partition IN
        SELECT c.oid::regclass AS name, to_date(right(c.relname, 8), 'YYYYMMDD') + interval '7 days' AS ends
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = parent::regclass ORDER BY c.relname
    LOOP
        IF partition.ends <= since THEN
            EXECUTE format('DROP TABLE %s', partition.name);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END
$$;

CREATE OR REPLACE FUNCTION drop_readings_before(since timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone TO 'UTC' SET lock_timeout TO '10s' AS $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'reading_raw'::regclass) <> 'p' THEN
        RETURN (SELECT count(*) FROM drop_chunks('reading_raw', since));
    END IF;
    RETURN drop_weeks_before('reading_raw', since);
END
$$;

DO $$
DECLARE
    week timestamptz;
BEGIN
    FOR week IN SELECT DISTINCT week_of(time) FROM rollup_whole LOOP
        PERFORM ensure_week('rollup', week);
    END LOOP;
END
$$;
INSERT INTO rollup SELECT * FROM rollup_whole;
DROP TABLE rollup_whole;

-- Zones: the zone of a sensor is the one that its link starts in, as the network said when it was registered last.
ALTER TABLE sensor ADD COLUMN zone_id text NOT NULL DEFAULT '';

CREATE TABLE rollup_zone (
    zone_id     text NOT NULL,
    quantity    text NOT NULL,
    time        timestamptz NOT NULL,
    n_series    int NOT NULL,                     -- series with a good reading
    n_good      int NOT NULL,
    total       float8 NOT NULL,
    PRIMARY KEY (zone_id, quantity, time)
);
CREATE INDEX rollup_zone_time ON rollup_zone (time);
COMMENT ON TABLE rollup_zone IS 'Five-minute sums of each quantity by zone, the zone that a sensor had when it was summed';

CREATE INDEX correction_time ON correction (time);
CREATE FUNCTION note_corrections() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO rollup_due
    SELECT DISTINCT date_bin('5 min', time, timestamptz '2000-01-03T00:00:00Z') FROM recorded;
    RETURN NULL;
END
$$;
CREATE TRIGGER correction_is_due AFTER INSERT ON correction REFERENCING NEW TABLE AS recorded
    FOR EACH STATEMENT EXECUTE FUNCTION note_corrections();

CREATE OR REPLACE FUNCTION roll_up(most int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone TO 'UTC' AS $$
DECLARE
    due timestamptz[];
    bucket timestamptz;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7243392002) THEN
        RETURN 0;  -- another worker does it
    END IF;
    WITH gone AS (
        DELETE FROM rollup_due AS d
        WHERE d.bucket IN (SELECT DISTINCT o.bucket FROM rollup_due AS o ORDER BY o.bucket DESC LIMIT most)
        RETURNING d.bucket
    ) SELECT array_agg(DISTINCT gone.bucket) INTO due FROM gone;
    FOREACH bucket IN ARRAY coalesce(due, '{}') LOOP
        PERFORM ensure_week('rollup', week_of(bucket));
        INSERT INTO rollup AS old
        SELECT s.series_id, bucket, a.n, a.n_good, a.total::float8 / s.scale, a.least::float8 / s.scale,
               a.greatest::float8 / s.scale
        FROM series AS s CROSS JOIN LATERAL (
            SELECT count(*) AS n, count(*) FILTER (WHERE r.quality & 65 = 0) AS n_good,
                   sum(r.raw) FILTER (WHERE r.quality & 65 = 0) AS total,
                   min(r.raw) FILTER (WHERE r.quality & 65 = 0) AS least,
                   max(r.raw) FILTER (WHERE r.quality & 65 = 0) AS greatest
            FROM reading_raw AS r
            WHERE r.series_id = s.series_id AND r.time >= bucket AND r.time < bucket + interval '5 min'
        ) AS a WHERE a.n > 0
        ON CONFLICT (series_id, time) DO UPDATE SET n = EXCLUDED.n, n_good = EXCLUDED.n_good, total = EXCLUDED.total,
            least = EXCLUDED.least, greatest = EXCLUDED.greatest;
        -- Series with corrections, which are few, once more: the last correction of a reading stands in its place, good
        -- whatever the reading was; a void reading was received and is in no sum.
        INSERT INTO rollup AS old
        SELECT v.series_id, bucket, count(*), count(v.value), sum(v.value), min(v.value), max(v.value)
        FROM (
            SELECT r.series_id, CASE WHEN c.series_id IS NOT NULL THEN c.value
                                     WHEN r.quality & 65 = 0 THEN r.raw::float8 / s.scale END AS value
            FROM (SELECT DISTINCT series_id FROM correction
                  WHERE time >= bucket AND time < bucket + interval '5 min') AS touched
            JOIN series AS s USING (series_id)
            JOIN reading_raw AS r ON r.series_id = s.series_id
                AND r.time >= bucket AND r.time < bucket + interval '5 min'
            LEFT JOIN LATERAL (
                SELECT k.series_id, k.value FROM correction AS k WHERE k.series_id = r.series_id AND k.time = r.time
                ORDER BY k.recorded_at DESC LIMIT 1
            ) AS c ON true
        ) AS v GROUP BY v.series_id
        ON CONFLICT (series_id, time) DO UPDATE SET n = EXCLUDED.n, n_good = EXCLUDED.n_good, total = EXCLUDED.total,
            least = EXCLUDED.least, greatest = EXCLUDED.greatest;
        -- Deleted and made anew: when the only good reading was declared void, its sum must go.
        DELETE FROM rollup_network AS old WHERE old.time = bucket;
        DELETE FROM rollup_zone AS old WHERE old.time = bucket;
        INSERT INTO rollup_network
        SELECT s.quantity, bucket, count(*), sum(r.n_good), sum(r.total)
        FROM rollup AS r JOIN series AS s USING (series_id) WHERE r.time = bucket AND r.n_good > 0
        GROUP BY s.quantity;
        INSERT INTO rollup_zone
        SELECT x.zone_id, s.quantity, bucket, count(*), sum(r.n_good), sum(r.total)
        FROM rollup AS r JOIN series AS s USING (series_id) JOIN sensor AS x USING (sensor_id)
        WHERE r.time = bucket AND r.n_good > 0 AND x.zone_id <> ''
        GROUP BY x.zone_id, s.quantity;
    END LOOP;
    RETURN coalesce(cardinality(due), 0);
END
$$;

CREATE OR REPLACE FUNCTION forget_rollups_before(since timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT drop_weeks_before('rollup', since);
    DELETE FROM rollup_network WHERE time < since;
    DELETE FROM rollup_zone WHERE time < since;
    DELETE FROM rollup_due WHERE bucket < since;
    DELETE FROM correction WHERE time < since - interval '7 days';  -- its reading went with its week
$$;

-- Corrections recorded before this step are summed in time.
INSERT INTO rollup_due SELECT DISTINCT date_bin('5 min', time, timestamptz '2000-01-03T00:00:00Z') FROM correction;

-- Columnstore: weeks that are over for a week are compressed by series, 19 times smaller with values and times as
-- integers. The names of before TimescaleDB 2.18 are understood by all versions. The Apache licence has none of it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
       AND coalesce(current_setting('timescaledb.license', true), 'apache') <> 'apache' THEN
        EXECUTE 'ALTER TABLE reading_raw SET (timescaledb.compress, timescaledb.compress_segmentby = ''series_id'','
                ' timescaledb.compress_orderby = ''time'')';
        EXECUTE 'SELECT add_compression_policy(''reading_raw'', interval ''14 days'', if_not_exists => true)';
    END IF;
END
$$;
