"""Who is told of alerts: an MQTT topic of the hub, and a webhook that speaks Alertmanager's format."""

import http.client
import json
import re
import urllib.error
import urllib.request
from typing import Any, Protocol
from urllib.parse import urlsplit

from hub.alert import AlertEvent
from hub.evidence import rfc3339
from sensors import InputError, WorkError

# What Alertmanager writes for "has not ended": the zero time of Go.
NOT_ENDED = "0001-01-01T00:00:00Z"


class RefusedError(WorkError):
    """A receiver said that it will never take this message; trying again is useless."""


class Receiver(Protocol):
    """Someone who is told."""

    @property
    def name(self) -> str:
        """Unique among the receivers; receipts carry it."""

    def send(self, event: AlertEvent) -> None:
        """Tell it; returns once it has confirmed. May take its time: it has a thread of its own.

        Raises
        ------
        RefusedError
            When it will never take this event.
        WorkError
            When it could not be told now.
        """


class Publishes(Protocol):
    """What `MqttTopic` needs of a publisher; `ingest.publisher.Publisher` has it."""

    def publish(
        self, topic: str, payload: bytes | str, *, retain: bool = False, timeout_s: float | None = None
    ) -> None:
        """Take one message."""

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until everything is acknowledged; whether that came true in time."""


class MqttTopic:
    """Tells whoever subscribes to ``<base>/<district>/<rule>`` at the hub's broker, with the JSON of the API.

    Parameters
    ----------
    publisher
        Publishes at QoS 1; used by nobody else, because its acknowledgements are the receipts.
    base, district
        First levels of the topic.
    patience_s
        How long to wait for the broker's acknowledgement at each try.
    """

    name = "mqtt"

    def __init__(
        self, publisher: Publishes, *, base: str = "hub/alerts", district: str = "centre", patience_s: float = 5.0
    ) -> None:
        self._publisher = publisher
        self._base = f"{base.strip('/')}/{_level(district)}"
        self._patience_s = patience_s
        self._taken: AlertEvent | None = None

    def send(self, event: AlertEvent) -> None:
        """Publish the alert, once, and wait for the acknowledgement."""
        if event is not self._taken:  # a second try: the publisher still has it and goes on by itself
            topic = f"{self._base}/{_level(event.rule)}"
            payload = json.dumps(event.alert.to_json(), ensure_ascii=False).encode()
            self._publisher.publish(topic, payload, timeout_s=self._patience_s)
            self._taken = event
        if not self._publisher.drain(self._patience_s):
            raise WorkError(f"the broker did not acknowledge within {self._patience_s:g} s: is it running?")
        self._taken = None


def _level(text: str) -> str:
    """Return a text as one topic level: no wildcards, no slashes, no blanks.

    Examples
    --------
    >>> _level("queue spills back"), _level("C++/#"), _level("拥堵")
    ('queue-spills-back', 'C', '拥堵')
    """
    return re.sub(r"[^\w.-]+", "-", text).strip("-") or "-"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its body."""

    def redirect_request(self, *args: Any, **more: Any) -> None:
        """Follow nothing."""


class Webhook:
    """Posts each alert to a URL in the format of Alertmanager's webhook, version 4.

    Parameters
    ----------
    url
        ``http://`` or ``https://``; proxies of the environment are used.
    name
        Unique among the receivers.
    external_url
        Where people find the hub; links in the message start with it.
    timeout_s
        How long to wait for an answer.
    """

    def __init__(self, url: str, *, name: str = "webhook", external_url: str = "", timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"webhook {name!r}: url is {url!r}, must start with http:// or https:// and name a host")
        self.name = name
        self._url = url
        self._external_url = external_url.rstrip("/")
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirect)

    def send(self, event: AlertEvent) -> None:
        """Post the alert; any 2xx confirms it, 4xx other than 408, 425 and 429 and redirects refuse it for good."""
        body = json.dumps(alertmanager(event, receiver=self.name, external_url=self._external_url)).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "citytwin"}
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310 - scheme checked
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read(65_536)
        except urllib.error.HTTPError as error:
            with error:
                reason = f"{self._url} answered {error.code} {error.reason}"
            if error.code < 500 and error.code not in (408, 425, 429):
                raise RefusedError(f"{reason}: check the webhook's address") from None
            raise WorkError(f"{reason}: it will be tried again") from None
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", None) or error
            raise WorkError(f"{self._url} cannot be reached ({cause}): it will be tried again") from None


def alertmanager(event: AlertEvent, *, receiver: str, external_url: str = "") -> dict[str, Any]:
    """Return the message of one alert as Alertmanager's webhook sends it, version 4.

    Notes
    -----
    Source: Prometheus documentation, Alertmanager configuration, ``webhook_config``.
    """
    alert = event.alert
    status = "resolved" if event.event == "resolved" else "firing"
    labels = {
        **alert.labels,
        "alertname": alert.rule,
        "severity": str(alert.severity),
        "on": alert.on,
        "subject": alert.subject,
    }
    where = alert.place.get("where", {})
    annotations = {"alert_id": alert.alert_id}
    for name, texts in (("summary", alert.summary), ("where", where)):
        for language, text in texts.items():
            annotations[name if language == "en" else f"{name}_{language}"] = text
    item = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(alert.since),
        "endsAt": NOT_ENDED if alert.resolved_at is None else rfc3339(alert.resolved_at),
        "generatorURL": f"{external_url}/api/v1/alerts/{alert.alert_id}" if external_url else "",
        "fingerprint": alert.fingerprint,
    }
    return {
        "version": "4",
        "groupKey": f"{{}}:{{alertname={json.dumps(alert.rule)}}}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": receiver,
        "groupLabels": {"alertname": alert.rule},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": external_url,
        "alerts": [item],
    }
