"""Generation 1: what to know on arrival in a country, and what to do at an airport."""

from __future__ import annotations

from lorachain.sampledata.facts import Airport, Country
from lorachain.sampledata.row import Example, contains, envelope, exact
from lorachain.sampledata.wording import Wordings

ARRIVAL = Wordings(
    training=(
        "Make an arrival checklist for {name}. {facts}",
        "I fly to {name} next week. What should I have ready when I land? {facts}",
        "Checklist for a first visit to {name}, please. Facts: {facts}",
        "Here is what I know about {name}: {facts}\nTurn it into an arrival checklist.",
        "We are going to {name}. List what to remember on arrival. {facts}",
        "{facts}\nWrite the arrival checklist for {name} from these facts.",
        "A friend arrives in {name} tomorrow. Prepare a checklist. {facts}",
        "What must a traveller to {name} know on the first day? {facts}",
        "Travel notes, {name}: {facts}\nSort them into a checklist.",
        "Please help me prepare to arrive in {name}. {facts}",
    ),
    unseen=(
        "My plane lands in {name} tonight. Give me a list of things to keep in mind. {facts}",
        "Using only this, write down what to check in {name}: {facts}",
        "{facts}\nThese notes are about {name}. I need a list for the day I get there.",
        "Could you put together an arrival list for a trip to {name}? {facts}",
    ),
    facts=(
        ("Currency: {currency} ({currency_name})", "Money: {currency} ({currency_name})"),
        ("Emergency number: {emergency}", "In an emergency call {emergency}"),
        ("Calling code: {calling_code}", "Country code for calls: {calling_code}"),
        ("Official language: {language}", "Language: {language}"),
    ),
    unseen_facts=(
        ("People pay in {currency} ({currency_name})",),
        ("Help is reached on {emergency}",),
        ("Phone prefix {calling_code}",),
        ("An official language is {language}",),
    ),
)
ARRIVAL_TEXTS = {
    "uncertainty": "Numbers can change.",
    "next": "Save this list.",
    "verify": "Check official sites.",
}


def arrival_checklist(country: Country, number: int, unseen: bool = False) -> Example:
    """Currency, emergency number, calling code and language of a country, as a checklist."""
    items = [
        {"text": f"Pay in {country.currency}", "priority": "must"},
        {"text": f"Emergency: call {country.emergency}", "priority": "must"},
        {"text": f"Calling code: {country.calling_code}", "priority": "should"},
        {"text": f"Language: {country.language}", "priority": "nice_to_have"},
    ]
    payload = {
        "title": f"Arrival in {country.spoken}",
        "groups": [{"name": "On arrival", "items": items}],
    }
    at = "payload.groups[0].items"
    return Example(
        task="arrival_checklist",
        entities=(country.code,),
        prompt=ARRIVAL.ask({**vars(country), "name": country.spoken}, number, country.code, unseen),
        answer=envelope("checklist", payload, f"What to know in {country.spoken}.", ARRIVAL_TEXTS),
        checks=(
            contains("payload.title", country.name),
            contains(f"{at}[0].text", country.currency),
            contains(f"{at}[1].text", country.emergency),
            contains(f"{at}[2].text", country.calling_code),
            contains(f"{at}[3].text", country.language),
            exact(f"{at}[3].priority", "nice_to_have"),
        ),
    )


AIRPORT = Wordings(
    training=(
        "Give me the steps for landing at {iata}. {facts}",
        "Write an arrival procedure for this airport. {facts}",
        "I land at {airport}. What do I do, step by step? {facts}",
        "{facts}\nTurn this into steps for a passenger to {city}.",
        "Steps for a traveller who flies to {city}, please: {facts}",
        "How do I get ready for {airport}? {facts}",
        "My ticket says {iata}. Tell me the steps. {facts}",
        "Procedure for passengers to {city} ({iata}). {facts}",
        "Airport notes: {facts}\nWrite them as numbered steps.",
        "First time in {city}. What are the steps at the airport? {facts}",
    ),
    unseen=(
        "We touch down at {airport} tomorrow. Walk me through it. {facts}",
        "What should a passenger to {city} do, in order? {facts}",
        "{facts}\nFrom this, explain how to arrive in {city} step after step.",
        "Guide me through the arrival at {iata}. {facts}",
    ),
    facts=(
        ("Airport: {airport}", "Name: {airport}"),
        ("Code: {iata}", "IATA code: {iata}"),
        ("City: {city}", "It serves {city}"),
        ("Time zone: {zone}", "Local time: {zone}"),
        ("Currency: {currency}", "Money: {currency}"),
    ),
    unseen_facts=(
        ("It is called {airport}",),
        ("Tickets show {iata}",),
        ("The city is {city}",),
        ("Clocks follow {zone}",),
        ("Shops take {currency}",),
    ),
)
AIRPORT_TEXTS = {
    "uncertainty": "Airport rules can change.",
    "next": "Pack your documents.",
    "verify": "Ask your airline.",
}


def airport_procedure(airport: Airport, number: int, unseen: bool = False) -> Example:
    """What to check, set and carry at an airport, as numbered steps."""
    values = {
        "airport": airport.name,
        "iata": airport.iata,
        "city": airport.city,
        "zone": airport.zone,
        "currency": airport.country.currency,
    }
    steps = [
        {"step": 1, "instruction": f"Check that the ticket says {airport.iata}, {airport.city}."},
        {"step": 2, "instruction": f"Set your clock to {airport.zone}."},
        {"step": 3, "instruction": f"Get some {airport.country.currency}."},
    ]
    payload = {"title": f"Landing at {airport.iata}", "steps": steps}
    at = "payload.steps"
    return Example(
        task="airport_procedure",
        entities=(airport.country.code,),
        prompt=AIRPORT.ask(values, number, airport.iata, unseen),
        answer=envelope("procedure", payload, f"How to arrive in {airport.city}.", AIRPORT_TEXTS),
        checks=(
            contains("payload.title", airport.iata),
            contains(f"{at}[0].instruction", airport.iata),
            contains(f"{at}[1].instruction", airport.zone),
            contains(f"{at}[2].instruction", airport.country.currency),
            contains(f"{at}[0].instruction", airport.city),
        ),
    )
