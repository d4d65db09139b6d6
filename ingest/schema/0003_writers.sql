-- Writers: which batch each ingest process committed last, noted in the batch's own transaction.
--
-- When a connection breaks during COMMIT, its client cannot know whether the commit happened; this row tells, so that
-- nothing is written or counted twice. (Transaction numbers cannot tell: a crash may give one out again.)

CREATE TABLE writer (
    writer_id   uuid PRIMARY KEY,
    batch       int8 NOT NULL DEFAULT 0,
    written_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);
COMMENT ON TABLE writer IS 'Number of the last committed batch of each ingest process';

CREATE FUNCTION introduce_writer(id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DELETE FROM writer WHERE written_at < now() - interval '30 days';
    INSERT INTO writer (writer_id) VALUES (id) ON CONFLICT DO NOTHING;
$$;
