-- Rollups: five-minute sums of every series and of every quantity, so that a day of a city is read in milliseconds.
--
-- Kept by us and not by TimescaleDB, so that plain PostgreSQL has them too. A writer notes in its own transaction which
-- buckets it touched; roll_up() takes the notes and sums those buckets anew. A note and its readings appear together,
-- so that nothing can be missed, and a bucket summed twice is the same, however late a reading comes.
--
-- Buckets are [time, time + 5 minutes). Readings out of their physical range, and means over vehicles of an interval
-- without any (quality 1 and 64), count as received and are in no sum.

CREATE TABLE rollup (
    series_id   int NOT NULL,
    time        timestamptz NOT NULL,             -- start of the bucket
    n           int NOT NULL,                     -- readings received
    n_good      int NOT NULL,                     -- readings in the sum
    total       float8,                           -- null without a good reading
    least       float8,
    greatest    float8,
    PRIMARY KEY (series_id, time)
);
CREATE INDEX rollup_time ON rollup (time);
COMMENT ON TABLE rollup IS 'Five-minute sums of each series; mean = total / n_good';

CREATE TABLE rollup_network (
    quantity    text NOT NULL,
    time        timestamptz NOT NULL,
    n_series    int NOT NULL,                     -- series with a good reading
    n_good      int NOT NULL,
    total       float8 NOT NULL,
    PRIMARY KEY (quantity, time)
);
COMMENT ON TABLE rollup_network IS 'Five-minute sums of each quantity over all series';

CREATE TABLE rollup_due (bucket timestamptz NOT NULL);  -- without a key: writers that note the same do not wait
COMMENT ON TABLE rollup_due IS 'Buckets that were written to since they were summed';

-- The functions have their owner's rights: a role that may only write readings keeps the rollups as well.
CREATE FUNCTION note_rollups(buckets_ms int8[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    INSERT INTO rollup_due SELECT timestamptz 'epoch' + ms * interval '1 ms' FROM unnest(buckets_ms) AS ms;
$$;

CREATE FUNCTION roll_up(most int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
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
        INSERT INTO rollup_network AS old
        SELECT s.quantity, bucket, count(*), sum(r.n_good), sum(r.total)
        FROM rollup AS r JOIN series AS s USING (series_id) WHERE r.time = bucket AND r.n_good > 0
        GROUP BY s.quantity
        ON CONFLICT (quantity, time) DO UPDATE SET n_series = EXCLUDED.n_series, n_good = EXCLUDED.n_good,
            total = EXCLUDED.total;
    END LOOP;
    RETURN coalesce(cardinality(due), 0);
END
$$;

CREATE FUNCTION forget_rollups_before(since timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DELETE FROM rollup WHERE time < since;
    DELETE FROM rollup_network WHERE time < since;
    DELETE FROM rollup_due WHERE bucket < since;
$$;

-- What is stored already is summed in time, the newest first.
INSERT INTO rollup_due SELECT DISTINCT date_bin('5 min', time, timestamptz '2000-01-03T00:00:00Z') FROM reading_raw;
