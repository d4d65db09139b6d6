"""Alerts: what becomes of a rule's findings over time, and what people say about it.

An alert goes ``inactive -> pending -> firing -> resolved`` by the city clock; beside that, people acknowledge it. Every
transition is an event, one row, and the book is rebuilt from the rows after a restart. Nothing here reads a clock or
writes anywhere; a book belongs to one thread at a time.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from hub.alert import Alert, AlertEvent, event_of, fingerprint
from hub.evidence import EVIDENCE, IdPlaces, Places
from hub.rules import Finding, Findings, Rule, RuleSet

__all__ = ["Alert", "AlertBook", "AlertEvent", "fingerprint"]

# Resolved alerts that the book still shows; older ones are in the table of events only.
MOST_RESOLVED = 1000
# About a kilometre: a link whose geometry was drawn anew is still the same link.
MOVED_DEG = 0.01


class AlertBook:
    """All alerts that live, and the last resolved ones.

    Parameters
    ----------
    rules
        The rules in force; alerts of others are resolved at the next update.
    places
        Knows where subjects are; without it alerts carry ids only.
    """

    def __init__(self, rules: RuleSet, *, places: Places | None = None) -> None:
        self._rules = {rule.name: rule for rule in rules.rules}
        self._places = places or IdPlaces()
        self._live: dict[str, dict[str, Alert]] = {}  # rule -> subject -> alert
        self._resolved: dict[str, Alert] = {}

    def restore(self, rows: Iterable[Mapping[str, Any] | AlertEvent]) -> None:
        """Rebuild the book from all its events, in the order in which they were recorded; nobody is told anything."""
        last: dict[str, AlertEvent] = {}
        for row in rows:
            event = row if isinstance(row, AlertEvent) else AlertEvent.from_row(row)
            if event.event != "notified":
                last.pop(event.alert_id, None)
                last[event.alert_id] = event
        for event in last.values():
            if event.event == "inactive":
                continue
            self._put(event.alert)

    def _put(self, alert: Alert) -> None:
        if alert.state == "resolved":
            self._live.get(alert.rule, {}).pop(alert.subject, None)
            self._resolved.pop(alert.alert_id, None)
            self._resolved[alert.alert_id] = alert
            while len(self._resolved) > MOST_RESOLVED:
                del self._resolved[next(iter(self._resolved))]
        else:
            self._live.setdefault(alert.rule, {})[alert.subject] = alert

    def alerts(self, state: Literal["pending", "firing", "resolved", "all"] = "firing") -> list[Alert]:
        """Return alerts in a state, the most severe first, then the newest; "all" leaves pending ones out."""
        live = [alert for by_subject in self._live.values() for alert in by_subject.values()]
        every = [*live, *self._resolved.values()]
        wanted = ("firing", "resolved") if state == "all" else (state,)
        chosen = [alert for alert in every if alert.state in wanted]
        return sorted(chosen, key=lambda alert: (alert.severity, -alert.since, alert.alert_id))

    def get(self, alert_id: str) -> Alert:
        """Return one alert.

        Raises
        ------
        KeyError
            When the book does not hold it.
        """
        if alert_id in self._resolved:
            return self._resolved[alert_id]
        for by_subject in self._live.values():
            for alert in by_subject.values():
                if alert.alert_id == alert_id:
                    return alert
        raise KeyError(alert_id)

    def acknowledge(
        self, alert_id: str, *, author: str, comment: str = "", at: float, recorded_at: float | None = None
    ) -> AlertEvent:
        """Note that someone has seen an alert, at city time ``at``; a second time replaces the first.

        Raises
        ------
        KeyError
            When the book does not hold the alert.
        """
        alert = replace(self.get(alert_id), acknowledged={"by": author, "at": at, "comment": comment})
        if alert.state == "resolved":
            self._resolved[alert_id] = alert
        else:
            self._put(alert)
        recorded_at = at if recorded_at is None else recorded_at
        return event_of(alert, "acknowledged", time=at, recorded_at=recorded_at, author=author, comment=comment)

    def update(self, findings: Findings, *, now: float, recorded_at: float | None = None) -> list[AlertEvent]:
        """Take the findings of one snapshot and return every transition that they cause, in the order of the rules.

        Parameters
        ----------
        findings
            What the rules found.
        now : s since 1970 UTC
            City time of the snapshot.
        recorded_at : s since 1970 UTC
            Stamped on the events; city time unless given.
        """
        change = _Change(self, findings, now, now if recorded_at is None else recorded_at)
        for name in [name for name in self._live if name not in self._rules]:
            for alert in list(self._live[name].values()):
                change.end(alert, "the rule was removed")
        for finding in findings.items:
            change.apply(finding)
        for event in change.events:
            if event.event == "inactive":
                self._live[event.rule].pop(event.subject, None)
            else:
                self._put(event.alert)
        for alert in change.quiet:
            self._put(alert)
        return change.events

    def reconcile(self, *, now: float, recorded_at: float) -> list[AlertEvent]:
        """End the alerts of another city: those whose subject is not where it was when they fired.

        Links and sensors of two networks may have the same ids. Without this, alerts of a network that was served
        before from the same database would go on here, or be shown until the first readings come.
        """
        live = [alert for by_subject in self._live.values() for alert in by_subject.values()]
        events = []
        for alert in live:
            if alert.place.get("lon") is not None and self._has_moved(alert):
                at = max(now, alert.updated)  # a replay's clock stands at 0 before its first reading
                ended = replace(alert, state="resolved", updated=at, resolved_at=at, clear_since=None)
                self._put(ended)
                comment = "another network is served"
                events.append(event_of(ended, "resolved", time=at, recorded_at=recorded_at, comment=comment))
        return events

    def _has_moved(self, alert: Alert) -> bool:
        place = self._place(alert.on, alert.subject)
        if place.lon is None or place.lat is None:
            # A sensor of no table that said itself where it was: nothing tells whose it is.
            return "longitude_deg" not in alert.evidence
        return bool(math.hypot(place.lon - alert.place["lon"], place.lat - alert.place["lat"]) > MOVED_DEG)

    def _of(self, rule: str) -> dict[str, Alert]:
        return self._live.get(rule, {})

    def _place(self, on: str, subject: str) -> Any:
        return self._places.place(on, subject)


def _said(value: Any) -> Any:
    """Return a value as a sentence says it: no decimals but where they matter; evidence keeps them.

    Examples
    --------
    >>> [_said(value) for value in (60.0, 17.4, 4.26, None)]
    ['60', '17', '4.3', '?']
    """
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 10 else f"{round(value, 1):g}"
    return "?" if value is None else value


class _Change:
    """One update: gathers transitions, and alerts that stay in their state."""

    def __init__(self, book: AlertBook, findings: Findings, now: float, recorded_at: float) -> None:
        self._book, self._findings, self._now, self._recorded_at = book, findings, now, recorded_at
        self._rows: dict[int, dict[str, int]] = {}
        self.events: list[AlertEvent] = []
        self.quiet: list[Alert] = []

    def _add(self, alert: Alert, event: str, comment: str = "") -> None:
        self.events.append(event_of(alert, event, time=self._now, recorded_at=self._recorded_at, comment=comment))

    def end(self, alert: Alert, comment: str = "") -> None:
        """Resolve a firing alert, or let a pending one come to nothing."""
        if alert.state == "firing":
            resolved = replace(alert, state="resolved", updated=self._now, resolved_at=self._now, clear_since=None)
            self._add(resolved, "resolved", comment)
        else:
            # It ends without having fired; nobody needs it after a restart.
            self._add(replace(alert, state="resolved", updated=self._now, resolved_at=self._now), "inactive", comment)

    def apply(self, finding: Finding) -> None:
        """Move the alerts of one rule on."""
        rule = finding.rule
        active = finding.when.true
        if rule.no_data == "fire":
            active = active | finding.when.unknown
        live = self._book._of(rule.name)
        if live:
            rows = self._rows_of(finding.subjects)
            for subject, alert in live.items():
                row = rows.get(subject)
                if row is None:
                    self.end(alert, "the subject is gone")
                elif alert.state == "pending":
                    self._pending(finding, alert, row, bool(active[row]))
                else:
                    self._firing(finding, alert, row, bool(active[row]))
        for row in active.nonzero()[0].tolist():
            if finding.subjects[row] not in live:
                self._begin(finding, row)

    def _rows_of(self, subjects: tuple[str, ...]) -> dict[str, int]:
        if id(subjects) not in self._rows:
            self._rows[id(subjects)] = {subject: row for row, subject in enumerate(subjects)}
        return self._rows[id(subjects)]

    def _begin(self, finding: Finding, row: int) -> None:
        rule, subject = finding.rule, finding.subjects[row]
        labels = dict(rule.labels)
        identity = fingerprint(rule.name, rule.on, subject, labels)
        alert = Alert(
            alert_id=f"{identity}-{round(self._now * 1000):x}",
            fingerprint=identity,
            rule=rule.name,
            severity=rule.severity,
            on=rule.on,
            subject=subject,
            labels=labels,
            state="pending",
            since=self._now,
            updated=self._now,
            measured_at=self._measured_at(rule, row),
        )
        if rule.for_s > 0 or rule.confirm:
            self._add(alert, "pending")
        else:
            self._fire(rule, alert, row)

    def _fire(self, rule: Rule, alert: Alert, row: int) -> None:
        place = self._book._place(alert.on, alert.subject)
        evidence = EVIDENCE[alert.on](self._findings, row)
        upstream = evidence.get("upstream_link_id")
        upstream_where = self._book._place("link", upstream).where if upstream else {}
        summary = {}
        for language, text in rule.summary:
            names = {"name": place.where.get(language), "upstream_name": upstream_where.get(language)}
            values = {key: _said(value) for key, value in {**evidence, **names}.items()}
            summary[language] = text.format_map(defaultdict(lambda: "?", values))  # a quantity it does not measure
        fired = replace(
            alert,
            state="firing",
            updated=self._now,
            place={
                "link_id": place.link_id,
                # What no table places says itself where it is.
                "lon": evidence.get("longitude_deg") if place.lon is None else place.lon,
                "lat": evidence.get("latitude_deg") if place.lat is None else place.lat,
                "where": place.where,
            },
            summary=summary,
            evidence=evidence,
        )
        self._add(fired, "firing")

    def _pending(self, finding: Finding, alert: Alert, row: int, active: bool) -> None:
        # Without data nothing is proven: whatever no_data says but "fire", the wait starts again.
        if not active:
            self.end(alert)
        elif self._now - alert.since >= finding.rule.for_s and self._confirmed(finding.rule, alert, row):
            self._fire(finding.rule, alert, row)

    def _measured_at(self, rule: Rule, row: int) -> float | None:
        time = float(self._findings.snapshot.measured_at[row]) if rule.on == "link" else math.nan
        return time if math.isfinite(time) else None

    def _confirmed(self, rule: Rule, alert: Alert, row: int) -> bool:
        newest = self._measured_at(rule, row)
        return not rule.confirm or newest is None or alert.measured_at is None or newest > alert.measured_at

    def _firing(self, finding: Finding, alert: Alert, row: int, active: bool) -> None:
        rule = finding.rule
        if active:
            clears = False
        elif finding.clear.unknown[row]:
            if rule.no_data == "hold":
                self.quiet.append(replace(alert, clear_since=None))
                return
            clears = rule.no_data == "clear"
        else:
            clears = bool(finding.clear.true[row])
        if not clears:
            self.quiet.append(replace(alert, updated=self._now, clear_since=None))
            return
        since = self._now if alert.clear_since is None else alert.clear_since
        if self._now - since >= rule.keep_firing_for_s:
            self.end(alert)
        else:
            self.quiet.append(replace(alert, updated=self._now, clear_since=since))
