"""The central hub: settings, rules, alerts, the API and the cockpit."""
