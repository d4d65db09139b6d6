"""One alert and the events of its life: what the API shows, and the rows from which everything is rebuilt."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from hub.evidence import rfc3339

State = Literal["pending", "firing", "resolved"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One firing of one alert, from the first sign to the end.

    Parameters
    ----------
    alert_id
        Fingerprint and beginning: the same alert firing again has another.
    fingerprint
        Identity: hash of rule, subject and labels.
    state
        pending, firing or resolved.
    since, updated, resolved_at
        Since when the condition holds, when it was last looked at, and when it ended; city time, s since 1970 UTC.
    place, summary, evidence
        Where it is, what it says by language, and the values that made it.
    acknowledged
        Who, when and what they said; None while it is new.
    clear_since
        Since when a firing alert's condition is clear, None while it is not.
    measured_at
        Time of the newest reading when the alert began, None where nothing was measured.
    """

    alert_id: str
    fingerprint: str
    rule: str
    severity: int
    on: str
    subject: str
    labels: dict[str, str]
    state: State
    since: float
    updated: float
    resolved_at: float | None = None
    place: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, str] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)
    acknowledged: dict[str, Any] | None = None
    clear_since: float | None = None
    measured_at: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the alert as the API shows it; times RFC 3339."""
        acknowledged = self.acknowledged
        if acknowledged is not None:
            acknowledged = {**acknowledged, "at": rfc3339(acknowledged["at"])}
        return {
            "id": self.alert_id,
            "fingerprint": self.fingerprint,
            "rule": self.rule,
            "severity": self.severity,
            "state": self.state,
            "handling": "new" if acknowledged is None else "acknowledged",
            "on": self.on,
            "subject": self.subject,
            "link_id": self.place.get("link_id"),
            "lon": self.place.get("lon"),
            "lat": self.place.get("lat"),
            "since": rfc3339(self.since),
            "updated": rfc3339(self.updated),
            "resolved_at": None if self.resolved_at is None else rfc3339(self.resolved_at),
            "summary": self.summary,
            "where": self.place.get("where", {}),
            "labels": self.labels,
            "evidence": self.evidence,
            "acknowledged": acknowledged,
        }


_FIELDS = tuple(Alert.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """One transition of an alert: a row of ``alert_event``.

    Parameters
    ----------
    event
        pending, inactive (pending that came to nothing), firing, resolved, acknowledged; or notified, a receipt.
    time, recorded_at
        City time of the transition, and when it was written down; s since 1970 UTC.
    payload
        The whole alert after the transition; of a receipt, who received what.
    """

    alert_id: str
    fingerprint: str
    rule: str
    event: str
    time: float
    recorded_at: float
    author: str
    comment: str
    severity: int
    subject: str
    payload: dict[str, Any]

    def to_row(self) -> dict[str, Any]:
        """Return the row: columns by name, times as datetimes with zone, the payload as JSON values."""
        row = {name: getattr(self, name) for name in self.__slots__}
        for name in ("time", "recorded_at"):
            row[name] = datetime.fromtimestamp(row[name], UTC)
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "AlertEvent":
        """Return the event of a row; times may be datetimes or seconds, the payload JSON values or JSON text."""
        values = {name: row[name] for name in cls.__slots__}
        for name in ("time", "recorded_at"):
            if isinstance(values[name], datetime):
                values[name] = values[name].timestamp()
        if isinstance(values["payload"], str | bytes):
            values["payload"] = json.loads(values["payload"])
        return cls(**values)

    @property
    def alert(self) -> Alert:
        """The alert after the transition."""
        return Alert(**{name: self.payload[name] for name in _FIELDS if name in self.payload})


def fingerprint(rule: str, on: str, subject: str, labels: Mapping[str, str]) -> str:
    """Return the identity of an alert: equal for equal labels in any order.

    Examples
    --------
    >>> fingerprint("r", "link", "L1", {"a": "1", "b": "2"}) == fingerprint("r", "link", "L1", {"b": "2", "a": "1"})
    True
    """
    identity = json.dumps([rule, on, subject, sorted(labels.items())], ensure_ascii=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def event_of(
    alert: Alert, event: str, *, time: float, recorded_at: float, author: str = "", comment: str = ""
) -> AlertEvent:
    """Return the event that an alert, as it is after a transition, makes."""
    return AlertEvent(
        alert_id=alert.alert_id,
        fingerprint=alert.fingerprint,
        rule=alert.rule,
        event=event,
        time=time,
        recorded_at=recorded_at,
        author=author,
        comment=comment,
        severity=alert.severity,
        subject=alert.subject,
        payload={name: getattr(alert, name) for name in _FIELDS},
    )
