"""Generation 2: two days around a public holiday, and when to call another time zone."""

from __future__ import annotations

from lorachain.sampledata.facts import Clock, Holiday
from lorachain.sampledata.row import Example, contains, envelope, exact
from lorachain.sampledata.wording import Wordings

HOLIDAY = Wordings(
    training=(
        "Plan two days in {name} in 2026. {facts}",
        "I am in {name} on {first_day} and {second_day} 2026. Plan both days. {facts}",
        "Two-day itinerary for {name}, please. {facts}",
        "{facts}\nMake a plan for these two days in {name}.",
        "We stay in {name} for two days. What should we do? {facts}",
        "Short trip to {name}, 2026. Calendar: {facts}",
        "What can I do in {name} on {first_day} and {second_day}? {facts}",
        "Write a day by day plan for {name}. {facts}",
        "Our days in {name}: {first_day}, then {second_day}. {facts}",
        "Help me use two days in {name} well. {facts}",
    ),
    unseen=(
        "I have {first_day} and {second_day} free in {name}. Organise them. {facts}",
        "Suggest a programme for two days in {name}. {facts}",
        "{facts}\nWith that in mind, arrange my stay in {name}.",
        "Can you lay out {first_day} and {second_day} in {name} for me? {facts}",
    ),
    facts=(
        (
            "{first_day}: {first}",
            "{first_day} = {first}",
            "{first_day} is {first_is}",
        ),
        (
            "{second_day}: {second}",
            "{second_day} = {second}",
            "{second_day} is {second_is}",
        ),
    ),
    unseen_facts=(
        ("On {first_day} there is {first_there}",),
        ("On {second_day} there is {second_there}",),
    ),
)
HOLIDAY_TEXTS = {
    "uncertainty": "Opening hours can change.",
    "next": "Book your hotel.",
    "verify": "Check a local calendar.",
}
NO_HOLIDAY = "no holiday"


def holiday_itinerary(pair: Holiday, number: int, unseen: bool = False) -> Example:
    """Two days in a row: a park on a holiday, when much is closed, a museum on another day."""
    values = {
        "name": pair.country.spoken,
        "first_day": pair.first_day,
        "second_day": pair.second_day,
    }
    for key, name in (("first", pair.first_name), ("second", pair.second_name)):
        values[key] = f"{name} (public holiday)" if name else NO_HOLIDAY
        values[f"{key}_is"] = f"{name}, a public holiday" if name else "no holiday"
        values[f"{key}_there"] = f"a public holiday, {name}" if name else NO_HOLIDAY
    days = [
        _day(1, pair.first_day, pair.first_name),
        _day(2, pair.second_day, pair.second_name),
    ]
    payload = {"title": f"Two days in {pair.country.spoken}", "trip_days": days}
    at = "payload.trip_days"
    return Example(
        task="holiday_itinerary",
        entities=(pair.country.code,),
        prompt=HOLIDAY.ask(values, number, f"{pair.country.code} {pair.first_day}", unseen),
        answer=envelope("itinerary", payload, f"A plan for {pair.country.spoken}.", HOLIDAY_TEXTS),
        checks=(
            contains("payload.title", pair.country.name),
            contains(f"{at}[0].summary", pair.first_day),
            contains(f"{at}[0].summary", pair.first_name or NO_HOLIDAY),
            contains(f"{at}[1].summary", pair.second_day),
            contains(f"{at}[1].summary", pair.second_name or NO_HOLIDAY),
            exact(f"{at}[0].items[0].activity", _activity(pair.first_name)),
            exact(f"{at}[1].items[0].activity", _activity(pair.second_name)),
        ),
    )


def _activity(holiday: str) -> str:
    return "Walk in a park" if holiday else "Visit a museum"


def _day(number: int, day: str, name: str) -> dict[str, object]:
    return {
        "day": number,
        "summary": f"{day}: {name or NO_HOLIDAY}",
        "items": [
            {
                "time_block": "morning",
                "activity": _activity(name),
            }
        ],
    }


CLOCK = Wordings(
    training=(
        "I am in {here}. When can I call {there}? {facts}",
        "Help me decide when to call {there} from {here}. {facts}",
        "Decision tree for a call from {here} to {there}, please. {facts}",
        "{facts}\nI want to phone {there} from {here}. Should I call or write?",
        "Call or write to {there}? I live in {here}. {facts}",
        "Is it a good time to call {there} from {here}? Give me a decision tree. {facts}",
        "My team sits in {there}, I sit in {here}. Call now or not? {facts}",
        "How do I choose a time to call {there}? {facts} I am in {here}.",
        "A client in {there} waits for my call from {here}. {facts}",
        "Make a small decision tree: {here} calls {there}. {facts}",
    ),
    unseen=(
        "Before I ring somebody in {there} from {here}, what should I ask myself? {facts}",
        "My office is in {here}, the other one in {there}. Phone them or send mail? {facts}",
        "{facts}\nHelp me choose: ring {there} from {here}, or wait.",
        "From {here} I need to talk to {there}. Guide my decision. {facts}",
    ),
    facts=(
        ("Date: {day} 2026", "Day: {day} 2026"),
        (
            "{there} is {difference} {here}",
            "Clocks in {there} are {difference} {here}",
            "Difference: {there} is {difference} {here}",
        ),
    ),
    unseen_facts=(("It is {day} 2026",), ("The time in {there} is {difference} {here}",)),
)
CLOCK_TEXTS = {
    "assumption": "Offices open from 9 to 17.",
    "uncertainty": "Clocks can change.",
    "verify": "Check a world clock.",
}


def clock_decision(clock: Clock, number: int, unseen: bool = False) -> Example:
    """Call or write, by the time in the other city."""
    here, there = clock.here.city, clock.there.city
    # "behind" takes no "of": `5 hours behind Lima`, `5 hours ahead of Lima`.
    difference = clock.difference + (" of" if clock.difference.endswith("ahead") else "")
    values = {"here": here, "there": there, "day": clock.day, "difference": difference}
    nodes = [
        {
            "id": "q1",
            "type": "question",
            "question": f"Is the office open in {there}, {difference} {here}?",
            "options": ["yes", "no"],
        },
        {"id": "yes", "type": "outcome", "text": f"Call {there}"},
        {"id": "no", "type": "outcome", "text": f"Write to {there}"},
    ]
    payload = {"title": f"Call {there} from {here}", "nodes": nodes, "root_question": "q1"}
    at = "payload.nodes"
    return Example(
        task="clock_decision",
        entities=(clock.there.country.code, clock.here.country.code),
        prompt=CLOCK.ask(values, number, f"{here} {there} {clock.day}", unseen),
        answer=envelope("decision_tree", payload, f"When to call {there}.", CLOCK_TEXTS),
        checks=(
            contains("payload.title", there),
            contains("payload.title", here),
            contains(f"{at}[0].question", clock.difference),
            contains(f"{at}[1].text", there),
            contains(f"{at}[2].text", there),
        ),
    )
