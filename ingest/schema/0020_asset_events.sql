-- What people said about equipment: failed, restored. The last event of an asset is its state.

CREATE TABLE asset_event (
    asset_event_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id    text NOT NULL,
    event       text NOT NULL CHECK (event IN ('failed', 'restored')),
    time        timestamptz NOT NULL,             -- city time: since when
    recorded_at timestamptz NOT NULL DEFAULT now(),
    author      text NOT NULL,
    reason      text NOT NULL DEFAULT ''
);
CREATE INDEX asset_event_asset_id ON asset_event (asset_id, asset_event_id);
COMMENT ON TABLE asset_event IS 'Equipment that people declared failed or restored; the hub takes it up again after a restart';
