"""Durations and the time of an end, as a person says them."""

from __future__ import annotations

from datetime import datetime, timedelta


def clock(seconds: float) -> str:
    """'1:02:03' or '2:03' of a duration in seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def when_done(step: float, left: int, now: datetime) -> str:
    """'about 2.4 s a step: 12 minutes to go, done at about 14:35'.

    `step` is in seconds, `left` counts steps. A day is named where it is not today's. Validation
    on the way takes longer than this.
    """
    end = now + timedelta(seconds=step * left)
    day = ""
    if end.date() != now.date():
        day = f"{end:%A}, " if (end - now).days < 6 else f"{end:%Y-%m-%d}, "
    pace = f"{step:.2g} s" if step < 9.95 else clock(step)
    return f"about {pace} a step: {_in_words(step * left)} to go, done at about {day}{end:%H:%M}"


def _in_words(seconds: float) -> str:
    """Under a minute, 12 minutes, 3.5 hours."""
    if seconds < 60:
        return "under a minute"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    return f"{seconds / 3600:.1f} hours"
