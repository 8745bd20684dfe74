"""One POST to a webhook: http and https only, no redirects, a limit of time, and no secret in what is said of it."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from e2i_fs.alerts.alert import Alert
from e2i_fs.alerts.settings import WebhookConfig
from e2i_fs.json_values import as_json

__all__ = ["NotTaken", "Webhook", "document"]

_LATER = {408, 425, 429}  # and 5xx: it may be otherwise the next time


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Why a webhook did not take an alert, and whether it may take it later."""

    why: str
    may_later: bool


class Webhook:
    """Sends alerts of ``project`` to one address."""

    def __init__(self, settings: WebhookConfig, project: str) -> None:
        self._settings = settings
        self._project = project
        parts = urlsplit(settings.url.get_secret_value())
        self.name = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        # Not `build_opener`, which also opens files and follows redirects, with the headers, to wherever they lead.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(),
        ):  # fmt: skip
            self._opener.add_handler(handler)

    def wants(self, alert: Alert) -> bool:
        """Return whether alerts of this kind are sent."""
        return alert.kind in self._settings.on

    def send(self, alert: Alert) -> NotTaken | None:
        """Send one alert; return why it was not taken, None when it was."""
        settings = self._settings
        body = json.dumps(document(alert, self._project, settings.format)).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "e2i-fs"}
        headers |= {name: value.get_secret_value() for name, value in settings.headers.items()}
        request = urllib.request.Request(settings.url.get_secret_value(), body, headers, method="POST")  # noqa: S310
        try:
            with self._opener.open(request, timeout=settings.timeout):
                return None
        except urllib.error.HTTPError as error:
            with error:
                return _refused(error.code)
        except TimeoutError:
            return NotTaken(f"no answer within {settings.timeout:g} s", True)
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                return NotTaken(f"no answer within {settings.timeout:g} s", True)
            return NotTaken(f"no connection ({error.reason})", True)
        except (OSError, http.client.HTTPException) as error:
            return NotTaken(f"the connection broke ({type(error).__name__})", True)


def _refused(code: int) -> NotTaken:
    if 300 <= code < 400:
        return NotTaken(
            f"it answers {code}, a redirect, which is not followed: give the address that it leads to", False
        )
    return NotTaken(f"it answers {code}", code >= 500 or code in _LATER)


def document(alert: Alert, project: str, form: str) -> dict[str, Any]:
    """Return what is sent of an alert: our own JSON, or what Slack's and Mattermost's incoming webhooks take."""
    if form == "slack":
        text = alert.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        again = f" ({alert.repeats} more times since it was last told)" if alert.repeats else ""
        return {"text": f"*{alert.severity.upper()}* {project}: {text}{again}"}
    made: dict[str, Any] = as_json({
        "project": project, "kind": alert.kind, "status": alert.status, "resolved": alert.resolved, "severity": alert.severity,
        "text": alert.text, "about": alert.about, "at": alert.at, "repeats": alert.repeats,
    })  # fmt: skip
    return made
