-- Alerts and runs: written by the hub, which keeps its own words in payload.

CREATE TABLE alert_event (
    alert_event_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id    text NOT NULL,                    -- one firing of one alert, from first sign to resolution
    fingerprint text NOT NULL,                    -- identity of the alert: rule and labels
    rule        text NOT NULL,
    event       text NOT NULL,                    -- pending, firing, acknowledged, resolved, ...
    time        timestamptz NOT NULL,             -- city time
    recorded_at timestamptz NOT NULL DEFAULT now(),
    severity    int2,
    subject     text NOT NULL DEFAULT '',         -- link, sensor, asset
    author      text NOT NULL DEFAULT '',
    comment     text NOT NULL DEFAULT '',
    payload     jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX alert_event_alert_id ON alert_event (alert_id, alert_event_id);
CREATE INDEX alert_event_time ON alert_event (time);
COMMENT ON TABLE alert_event IS 'Everything that happened to alerts; the alert book is rebuilt from it after a restart';

CREATE TABLE run (
    run_id      text PRIMARY KEY,
    name        text NOT NULL DEFAULT '',
    state       text NOT NULL DEFAULT 'running',  -- running, done, failed
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    payload     jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE run IS 'Simulation runs: what was asked and what came out';
