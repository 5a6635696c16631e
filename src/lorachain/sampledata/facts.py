"""What the sample data knows: countries, airports, holidays and reviews, as plain values."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType

from lorachain.errors import UserError

INSTALL = "python -m pip install -r requirements-sample-data.txt"
DOWNLOAD = (
    "python -m pip download --no-deps --no-binary :all: --dest data/interim/sources "
    "vaderSentiment==3.3.2"
)


def codes(text: str) -> frozenset[str]:
    """A set of codes, written as people write them: with spaces."""
    return frozenset(text.split())


WITH_ARTICLE = codes("AE BS DO GB GM KM MH MV NL PH SB US")


@dataclass(frozen=True)
class Country:
    """One country; `code` is ISO 3166-1 alpha-2 and names the entity that is split on."""

    code: str
    name: str
    name_pt: str
    currency: str
    currency_name: str
    emergency: str
    calling_code: str
    language: str

    @property
    def spoken(self) -> str:
        """The name inside a sentence: `the Philippines`, `Peru`."""
        return f"the {self.name}" if self.code in WITH_ARTICLE else self.name


@dataclass(frozen=True)
class Airport:
    """One airport; `city` and `city_pt` are the CLDR's names for its time zone's city."""

    iata: str
    icao: str
    name: str
    city: str
    city_pt: str
    country: Country
    zone: str
    elevation_m: float
    latitude: float


@dataclass(frozen=True)
class Holiday:
    """Two days in a row; an empty name is a day without a public holiday."""

    country: Country
    first_day: str
    first_name: str
    second_day: str
    second_name: str


@dataclass(frozen=True)
class Clock:
    """How far the clock in `there` is from the clock in `here` on one day."""

    here: Airport
    there: Airport
    day: str
    difference: str


@dataclass(frozen=True)
class Review:
    """One sentence of a product review with the mean of its human ratings (-4 to 4)."""

    review: str
    number: int
    text: str
    score: float


PACKAGES = ("airportsdata", "phonenumbers", "babel", "holidays", "tzdata", "jsonschema")


def need_all() -> None:
    """Raise one UserError that names every package that is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"Building the sample data needs packages that are not installed: "
            f"{', '.join(missing)}. Install them, best in a virtual environment of its own: "
            f"{INSTALL}"
        )


def need(module: str) -> ModuleType:
    """Import a package of facts. Raises UserError, with the command to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as missing:
        name = module.partition(".")[0]
        raise UserError(f"The package {name!r} is not installed: {INSTALL}") from missing
