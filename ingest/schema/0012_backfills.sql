-- Backfills: how far a recorded file is in the database, noted in the transaction of each of its blocks.
--
-- A row lives while its file is under way: what was killed goes on where its last commit was, and a file that is
-- replayed again after its end is looked at anew.

CREATE TABLE backfill (
    source      text PRIMARY KEY,                 -- SHA-256 of the file and of how it is read
    name        text NOT NULL,
    rows_done   int8 NOT NULL,                    -- of the file, in order of time
    counts      int8[] NOT NULL,                  -- readings: received, stored, duplicate, conflict, rejected
    written_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE backfill IS 'Recorded files of which a part is stored';
