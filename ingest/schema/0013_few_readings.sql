-- A few readings in one call: what a quiet hour brings costs one round trip instead of eight.

ALTER TABLE writer ADD COLUMN stored int;
COMMENT ON COLUMN writer.stored IS 'How many readings of that batch were new, where write_few wrote it';

-- Stores rows that are sorted by series and time, each key once, with everything that follows from them, and returns
-- how many were new. NULL, with nothing done, when another value is stored under one of the keys.
CREATE FUNCTION write_few(
    writer_id uuid, batch int8, received_us int8, series_ids int4[], times_ms int8[], raws int8[], qualities int2[],
    amounts float8[], are_newest bool[], buckets_ms int8[]
) RETURNS int
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    received timestamptz := timestamptz 'epoch' + received_us * interval '1 us';
    n_stored int;
BEGIN
    IF EXISTS (
        SELECT FROM unnest(series_ids, times_ms, raws) AS few (series_id, time_ms, raw)
        JOIN reading_raw AS old
          ON old.series_id = few.series_id AND old.time = timestamptz 'epoch' + few.time_ms * interval '1 ms'
        WHERE old.raw <> few.raw
    ) THEN
        RETURN NULL;
    END IF;
    INSERT INTO reading_raw (series_id, time, raw, quality, received_at)
    SELECT few.series_id, timestamptz 'epoch' + few.time_ms * interval '1 ms', few.raw, few.quality, received
    FROM unnest(series_ids, times_ms, raws, qualities) AS few (series_id, time_ms, raw, quality)
    ON CONFLICT (series_id, time) DO NOTHING;
    GET DIAGNOSTICS n_stored = ROW_COUNT;
    IF n_stored < cardinality(series_ids) AND EXISTS (
        SELECT FROM unnest(series_ids, times_ms, raws) AS few (series_id, time_ms, raw)
        JOIN reading_raw AS old
          ON old.series_id = few.series_id AND old.time = timestamptz 'epoch' + few.time_ms * interval '1 ms'
        WHERE old.raw <> few.raw
    ) THEN
        RAISE serialization_failure USING MESSAGE = 'another worker stored one of these keys at the same moment';
    END IF;
    IF n_stored > 0 THEN
        PERFORM note_rollups(buckets_ms);
    END IF;
    INSERT INTO latest AS old (series_id, time, value, quality, received_at)
    SELECT few.series_id, timestamptz 'epoch' + few.time_ms * interval '1 ms', few.amount, few.quality, received
    FROM unnest(series_ids, times_ms, amounts, qualities, are_newest)
      AS few (series_id, time_ms, amount, quality, is_newest)
    WHERE few.is_newest
    ON CONFLICT (series_id) DO UPDATE SET time = EXCLUDED.time, value = EXCLUDED.value, quality = EXCLUDED.quality,
        received_at = EXCLUDED.received_at
    WHERE old.time < EXCLUDED.time;
    INSERT INTO writer (writer_id, batch, stored) VALUES (write_few.writer_id, write_few.batch, n_stored)
    ON CONFLICT (writer_id) DO UPDATE SET batch = EXCLUDED.batch, stored = EXCLUDED.stored,
        written_at = EXCLUDED.written_at;
    RETURN n_stored;
END
$$;
