"""Public holidays (from the package holidays) and clock differences (tzdata, through zoneinfo)."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Any

from lorachain.sampledata.facts import Airport, Clock, Country, Holiday, need
from lorachain.sampledata.splits import random_for, split_of

YEAR = 2026
PLAIN_NAME_MAX = 24
CLOCK_DAYS = (dt.date(2026, 1, 15), dt.date(2026, 7, 15))
HOLIDAYS_PER_COUNTRY = 2
CLOCKS_PER_CITY = 2
# Fixed by the moon or by a yearly decree, or not a holiday of its own.
UNSURE = re.compile(
    r"Eid|Arafa|Ramadan|Ashura|Islamic|Hijri|Mawlid|Prophet|Isra|^Day (off|after)|Additional|"
    r"Election|Census|Holiday|Substitute|Chinese New Year|Ploughing",
    re.IGNORECASE,
)


def spoken_day(day: dt.date) -> str:
    """`1 May`: two or three tokens, where 2026-05-01 takes ten."""
    months = "January February March April May June July August September October November December"
    return f"{day.day} {months.split()[day.month - 1]}"


def holiday_pairs(known: dict[str, Country]) -> list[Holiday]:
    """Two days in a row in each country: a holiday first, a holiday second, or none at all."""
    found = []
    for country in known.values():
        calendar = _calendar(country.code)
        if calendar is None:
            continue
        anywhere = _anywhere(country.code)
        named = sorted((day, name) for day, name in calendar.items() if _plain(day, name, calendar))
        random = random_for("holiday", country.code)
        random.shuffle(named)
        kinds = ["first", "second", "none"]
        random.shuffle(kinds)
        for kind, (day, name) in zip(kinds[:HOLIDAYS_PER_COUNTRY], named, strict=False):
            pair = _pair(country, kind, day, name, anywhere)
            if pair is not None:
                found.append(pair)
    return found


def _pair(
    country: Country, kind: str, day: dt.date, name: str, anywhere: set[dt.date]
) -> Holiday | None:
    step = dt.timedelta(days=1)
    if kind == "none":
        random = random_for("none", country.code)
        start = dt.date(YEAR, random.randint(1, 11), random.randint(1, 28))
        while {start, start + step} & anywhere:
            start += step
        return Holiday(country, spoken_day(start), "", spoken_day(start + step), "")
    first = day if kind == "first" else day - step
    other = day + step if kind == "first" else day - step
    if other in anywhere or other.year != YEAR:
        return None
    names = (name, "") if kind == "first" else ("", name)
    return Holiday(country, spoken_day(first), names[0], spoken_day(first + step), names[1])


def _calendar(code: str) -> dict[dt.date, str] | None:
    """The nationwide public holidays by day, named in English; None where there is no English."""
    holidays = need("holidays")
    cls = getattr(holidays, code, None)
    if cls is None:
        return None
    languages = cls.supported_languages
    if "en_US" not in languages and cls.default_language not in (None, "en_US", "en_GB"):
        return None
    language = "en_US" if "en_US" in languages else None
    return dict(holidays.country_holidays(code, years=YEAR, language=language))


def _anywhere(code: str) -> set[dt.date]:
    """Every day that is a holiday in any part of the country, of any category."""
    holidays = need("holidays")
    cls: Any = getattr(holidays, code)
    days: set[dt.date] = set()
    for part in (None, *cls.subdivisions):
        for category in cls.supported_categories:
            days |= set(cls(years=(YEAR - 1, YEAR, YEAR + 1), subdiv=part, categories=category))
    return days


def _plain(day: dt.date, name: str, calendar: dict[dt.date, str]) -> bool:
    """A short name, certain, the day itself and not a day off for it, and the only one so named."""
    return (
        name.isascii()
        and len(name) <= PLAIN_NAME_MAX
        and not set("();,/-") & set(name)
        and not UNSURE.search(name)
        and list(calendar.values()).count(name) == 1
        and day.year == YEAR
    )


def clocks(airports: list[Airport]) -> list[Clock]:
    """Pairs of cities of different countries in one split, whose clocks differ by 1 to 12 hours."""
    zoneinfo.reset_tzpath(to=[])  # the pinned package, not what this machine happens to have
    need("tzdata")
    found = []
    for there in airports:
        split = split_of(there.country.code)
        others = [
            a for a in airports if split_of(a.country.code) == split and a.country != there.country
        ]
        random = random_for("clock", there.iata)
        random.shuffle(others)
        paired = 0
        for here in others:
            day = random.choice(CLOCK_DAYS)
            minutes = _offset(there.zone, day) - _offset(here.zone, day)
            if 60 <= abs(minutes) <= 720 and minutes % 30 == 0:
                found.append(Clock(here, there, spoken_day(day), _difference(minutes)))
                paired += 1
            if paired == CLOCKS_PER_CITY:
                break
    return found


def _offset(zone: str, day: dt.date) -> int:
    """Minutes east of UTC at noon of that day."""
    noon = dt.datetime(day.year, day.month, day.day, 12, tzinfo=zoneinfo.ZoneInfo(zone))
    offset = noon.utcoffset()
    return int(offset.total_seconds() // 60) if offset is not None else 0


def _difference(minutes: int) -> str:
    """`1 hour ahead`, `5.5 hours behind`."""
    hours = f"{abs(minutes) / 60:g}"
    return f"{hours} hour{'' if hours == '1' else 's'} {'ahead' if minutes > 0 else 'behind'}"
