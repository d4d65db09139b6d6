-- What the twin learned and must not forget when the hub starts again: one row a part, replaced as a whole.

CREATE TABLE kept (
    part        text PRIMARY KEY,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    content     bytea NOT NULL
);
COMMENT ON TABLE kept IS 'What the twin learned of its sensors, as a numpy archive; the hub takes it up again after a restart';
