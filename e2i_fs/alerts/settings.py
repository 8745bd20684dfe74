"""The configuration's ``alerts`` as a checked value: where they go, which, and how often. Every key has an effect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from e2i_fs.alerts.alert import KINDS
from e2i_fs.config import Strict
from e2i_fs.errors import did_you_mean

__all__ = ["AlertsConfig", "WebhookConfig"]

_UNLESS_GIVEN = tuple(kind for kind in KINDS if kind != "Materialized")
_OURS = {"connection", "content-length", "host", "transfer-encoding"}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x20-\x7e\xa0-\xff]*")


class WebhookConfig(Strict):
    """Whom to send alerts to, over HTTP. The address and the headers are secrets, and are printed nowhere."""

    url: SecretStr = Field(..., description="an http:// or https:// address that takes a POST")
    on: tuple[str, ...] = Field(_UNLESS_GIVEN, description="the kinds of events that are sent")
    headers: Mapping[str, SecretStr] = Field(default_factory=dict, description="headers to send, by name")
    timeout: float = Field(5.0, gt=0, le=300, description="seconds that one try may take")
    format: Literal["json", "slack"] = Field("json", description="json or slack")

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_key(cls, given: Any) -> Any:
        # To YAML 1.1 a bare `on` is the truth value, in the place of a key too.
        return (
            {"on" if key is True else key: value for key, value in given.items()}
            if isinstance(given, Mapping)
            else given
        )

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        try:
            parts = urlsplit(text)
            parts.port  # noqa: B018  it is read only when asked for, and may be no number
        except ValueError:
            raise ValueError("it is no address; give one such as https://hooks.example.com/e2i") from None
        if parts.scheme.lower() not in ("http", "https"):
            raise ValueError("it is neither http:// nor https://; give such an address")
        if not parts.hostname or not text.isascii() or re.search(r"[\x00-\x20\x7f]", text):
            raise ValueError(
                "it has no host, or characters that no address has; give one such as https://hooks.example.com/e2i"
            )
        if parts.username is not None or parts.password is not None:
            raise ValueError("it has a user or a password in it; give an Authorization header instead")
        return url

    @field_validator("on", mode="before")
    @classmethod
    def _are_kinds(cls, on: Any) -> Any:
        if not isinstance(on, list | tuple) or not on:
            raise ValueError(f"it is {on!r}; give a list of one or more of {', '.join(KINDS)}")
        for kind in on:
            if kind not in KINDS:
                raise ValueError(
                    f"no event that alerts is called {kind!r}.{did_you_mean(str(kind), KINDS)} Known are {', '.join(KINDS)}"
                )
        return tuple(on)

    @model_validator(mode="after")
    def _has_headers_that_can_be_sent(self) -> Self:
        for name, value in self.headers.items():
            if name.lower() in _OURS:
                raise ValueError(f"the header {name!r} is set by what sends the alert; leave it out")
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(
                    f"the header {name!r} cannot be sent: its name or its value has characters that no header has"
                )
        return self


class AlertsConfig(Strict):
    """Where alerts go, and how often the same one is repeated."""

    log: bool = Field(True, description="whether they go to the log")
    webhook: WebhookConfig | None = Field(None, description="whom to send them to, over HTTP")
    repeat_minutes: float = Field(60, ge=0, le=525_600, description="minutes before the same alert is told again")

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if not self.log and self.webhook is None:
            raise ValueError(
                "log is false and there is no webhook, so nobody would be told. Give one of them, or leave alerts out"
            )
        return self
