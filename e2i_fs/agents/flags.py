"""The flags of the tier-0 pipeline, as one checked value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from e2i_fs.agents.options import hours
from e2i_fs.errors import ConfigError, did_you_mean

__all__ = ["Tier0Flags"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier0Flags:
    """How the tier-0 pipeline uses the feature store.

    - ``enable_feast``: register, train and predict through the store. If off, the store is not used: the frame itself
      is judged, split, audited by its own columns and trained on, and contexts go to the model as they are.
    - ``feast_feature_refs``: the features to train on and to predict with; None means every feature that was
      registered.
    - ``feast_freshness_check``: refuse to register stale rows, and to predict from stale views or rows. If off, ages
      are ignored.
    - ``feast_max_staleness_hours``: the age, in hours, above which something is stale.
    - ``feast_fallback_enabled``: when the store cannot answer undegraded, predict from a degraded standby, or from the
      contexts as given, and say so. If off, such an answer is refused.

    >>> from e2i_fs.agents import Tier0Flags
    >>> Tier0Flags(feast_max_staleness_hours=12).feast_fallback_enabled  # what is not said is as it usually is
    True
    >>> Tier0Flags.of({"feast_freshnes_check": False})
    Traceback (most recent call last):
    ...
    e2i_fs.errors.ConfigError: Unknown flag 'feast_freshnes_check'. Did you mean 'feast_freshness_check'?
    """

    enable_feast: bool = True
    feast_feature_refs: Sequence[str] | None = None
    feast_freshness_check: bool = True
    feast_max_staleness_hours: float = 24.0
    feast_fallback_enabled: bool = True

    def __post_init__(self) -> None:
        for name in ("enable_feast", "feast_freshness_check", "feast_fallback_enabled"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ConfigError(f"{name}={value!r}: use True or False.")
        refs = self.feast_feature_refs
        if refs is not None:
            if isinstance(refs, str) or not refs or not all(isinstance(ref, str) for ref in refs):
                raise ConfigError(
                    f"feast_feature_refs={refs!r}: give a list of 'view:feature' references, or None for all."
                )
            object.__setattr__(self, "feast_feature_refs", tuple(refs))
        if hours(self.feast_max_staleness_hours, "feast_max_staleness_hours") is None:
            raise ConfigError(
                "feast_max_staleness_hours=None: give a number of hours; feast_freshness_check=False asks for none."
            )

    @classmethod
    def of(cls, flags: Tier0Flags | Mapping[str, Any] | None) -> Tier0Flags:
        """Return flags from flags, a mapping or None. Raises `ConfigError` (nearest name) for an unknown flag."""
        if flags is None:
            return cls()
        if isinstance(flags, Tier0Flags):
            return flags
        known = [f.name for f in fields(cls)]
        for name in flags:
            if name not in known:
                raise ConfigError(f"Unknown flag {name!r}.{did_you_mean(str(name), known)}")
        return cls(**flags)
