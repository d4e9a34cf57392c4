"""Settings: config.toml, then ASYNCJOBS_* variables, then arguments; the later wins."""

from __future__ import annotations

from asyncjobs.checks.durations import seconds
from asyncjobs.settings.loading import load
from asyncjobs.settings.models import Dispatcher, Pool, Recurring, Settings

__all__ = ["Dispatcher", "Pool", "Recurring", "Settings", "load", "seconds"]
