"""Countries and their airports, from airportsdata, phonenumbers and the CLDR (through Babel)."""

from __future__ import annotations

import re
from typing import Any

from lorachain.sampledata.facts import Airport, Country, codes, need

# Not used, each for a reason.
TERRITORIES = codes(
    "AC AI AQ AS AW AX BL BM BQ BV CC CK CP CQ CW CX DG EA EU EZ FK FO GF GG GI GL GP GS GU HK HM "
    "IC IM IO JE KY MF MO MP MQ MS NC NF NU PF PM PN PR QO RE SH SJ SX TA TC TF TK UM UN VG VI WF "
    "YT ZZ"
)
DISPUTED = codes("EH PS TW XK")
# The packages lag behind the world, or say what holds only with a footnote.
DOUBTFUL = {
    "BG": "the euro replaced the lev in 2026",
    "CD": "its name in CLDR is not the one that people use",
    "CG": "its name in CLDR is not the one that people use",
    "CI": "a typographic apostrophe in its name",
    "KP": "no number that a visitor can call",
    "KZ": "CLDR puts Russian before Kazakh, the state language",
    "LR": "two currencies are in use",
    "ME": "CLDR's language is not the official one",
    "MW": "CLDR's language is not the official one",
    "MU": "CLDR's language is not the official one",
    "SD": "CLDR's language is not the one that is spoken most",
    "SN": "CLDR's language is not the official one",
    "SY": "the currency was replaced in 2026",
    "TV": "CLDR has no English name of its language",
    "VE": "the currency changes too often",
    # Sources disagree on the emergency number.
    "AF": "emergency",
    "BJ": "emergency",
    "ET": "emergency",
    "HN": "emergency",
    "IQ": "emergency",
    "LY": "emergency",
    "NG": "emergency",
    "OM": "emergency",
    "SO": "emergency",
}
# Where several numbers reach help, the one that people there are taught. phonenumbers must agree.
TAUGHT_EMERGENCY = {
    "AE": "999",
    "AU": "000",
    "BB": "211",
    "BR": "190",
    "BW": "999",
    "CL": "133",
    "CN": "110",
    "CO": "123",
    "EG": "122",
    "GB": "999",
    "GH": "191",
    "IL": "100",
    "IR": "110",
    "JM": "119",
    "JO": "911",
    "JP": "110",
    "KE": "999",
    "LK": "119",
    "MN": "102",
    "MY": "999",
    "NP": "100",
    "NR": "110",
    "NZ": "111",
    "PH": "911",
    "PK": "15",
    "SA": "911",
    "SG": "999",
    "TH": "191",
    "TO": "911",
    "WS": "911",
    "ZM": "999",
}
LONGEST_NAME = 22


def countries() -> dict[str, Country]:
    """Every usable country by its code, in the order of the codes."""
    locale = need("babel").Locale
    english, portuguese = locale("en"), locale("pt", "BR")
    found = {}
    for code, name in sorted(english.territories.items()):
        skip = TERRITORIES | DISPUTED | DOUBTFUL.keys()
        if len(code) == 2 and code not in skip and len(name) <= LONGEST_NAME:
            country = _country(code, name.partition(" (")[0], english, portuguese)
            if country is not None:
                found[code] = country
    return found


def _country(code: str, name: str, english: Any, portuguese: Any) -> Country | None:
    numbers, phones = need("babel.numbers"), need("phonenumbers")
    tender = numbers.get_territory_currencies(code)
    spoken = need("babel.languages").get_official_languages(code, de_facto=True)
    emergency = _emergency(code)
    calling = phones.country_code_for_region(code)
    if len(tender) != 1 or not spoken or not emergency or not calling:
        return None  # two currencies in use are two right answers
    return Country(
        code=code,
        name=name,
        name_pt=portuguese.territories[code].partition(" (")[0],
        currency=tender[0],
        currency_name=numbers.get_currency_name(tender[0], locale="en"),
        emergency=emergency,
        calling_code=f"+{calling}",
        language=english.languages[spoken[0].partition("_")[0]],
    )


def _emergency(code: str) -> str:
    connects = need("phonenumbers.shortnumberinfo").is_emergency_number
    taught = TAUGHT_EMERGENCY.get(code)
    if taught is not None:
        if not connects(taught, code):
            raise ValueError(f"phonenumbers says that {taught} does not reach help in {code}")
        return taught
    calling = str(need("phonenumbers").country_code_for_region(code))
    american = calling[0] in "15"  # 112 is only forwarded there
    for number in ("911", "112", "999") if american else ("112", "999", "911"):
        if connects(number, code):
            return number
    metadata = need("phonenumbers").PhoneMetadata.short_metadata_for_region(code)
    described = metadata and metadata.emergency
    return str(described.example_number) if described and described.example_number else ""


# Closed, private, or in a place whose country is disputed.
LEFT_OUT = codes("TXL ISL SIP ECN TOJ KBP IEV BBU LDH MNM YDQ YYE YYR EAX FNA LYR KSA")
# Of a city's several airports, the one that most people mean.
MAIN = codes("LHR YYZ ORD DTW BKK IST MAO CDG HND GRU EZE SVO JFK ICN")
NOT_CIVIL = re.compile(
    r"Air ?Base|Seaplane|Heliport|Airfield|Airpark|Naval|Military|AFB|Army|Trml|/", re.IGNORECASE
)
HIGHEST_M = 999.0  # a thousands separator is one difficulty too many for a small model


def airports(known: dict[str, Country]) -> list[Airport]:
    """One airport for each city that gives a time zone its name: well known, and named in CLDR.

    The largest airport of a city is not marked in the data: the one named above is taken, then one
    whose name says "International", then the first by its code. Feet become metres.
    """
    locale = need("babel").Locale
    english, portuguese = locale("en"), locale("pt", "BR")
    best: dict[tuple[str, str], tuple[bool, bool, str, Airport]] = {}
    for row in need("airportsdata").load("IATA").values():
        airport = _airport(row, known, english, portuguese)
        if airport is None:
            continue
        named = "International" in airport.name
        rank = (airport.iata not in MAIN, not named, airport.iata, airport)
        key = (airport.country.code, airport.city)
        if key not in best or rank[:3] < best[key][:3]:
            best[key] = rank
    return sorted((rank[3] for rank in best.values()), key=lambda a: (a.country.code, a.iata))


def _airport(
    row: dict[str, Any], known: dict[str, Country], english: Any, portuguese: Any
) -> Airport | None:
    zone = row["tz"]
    own = zone.rpartition("/")[2].replace("_", " ")
    city = english.time_zones.get(zone, {}).get("city", own)
    metres = round(row["elevation"] * 0.3048, 1)
    usable = (
        row["country"] in known
        and row["city"].casefold() == city.casefold()
        and city.isascii()
        and re.fullmatch(r"[A-Z]{4}", row["icao"])
        and row["iata"] not in LEFT_OUT
        and not NOT_CIVIL.search(row["name"])
        and 1 <= metres <= HIGHEST_M
    )
    if not usable:
        return None
    return Airport(
        iata=row["iata"],
        icao=row["icao"],
        name=re.sub(r" ?\(.*?\)", "", row["name"]),
        city=city,
        city_pt=portuguese.time_zones.get(zone, {}).get("city", own),
        country=known[row["country"]],
        zone=zone,
        elevation_m=metres,
        latitude=round(row["lat"], 2),
    )
