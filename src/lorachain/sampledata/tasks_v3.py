"""Generation 3, in Portuguese: a review's sentiment, and an airport's data from a sentence.

Prompts write decimals as people in Brazil do (`4,5`); answers hold JSON numbers (`4.5`).
"""

from __future__ import annotations

from lorachain.sampledata.facts import Airport, Review, need
from lorachain.sampledata.reviews import sentiment_pt
from lorachain.sampledata.row import Example, contains, envelope, exact, near
from lorachain.sampledata.wording import Wordings


def decimal_pt(number: float) -> str:
    """`4,5`, `-0,15`, `2,0`: the CLDR's decimal sign for pt-BR, at least one digit after it."""
    return str(need("babel.numbers").format_decimal(number, format="0.0#", locale="pt_BR"))


REVIEW = Wordings(
    training=(
        "Extraia o sentimento desta avaliação. {facts}",
        "Qual é o sentimento do texto? {facts}",
        "Leia a avaliação e extraia os dados. {facts}",
        "{facts}\nExtraia o sentimento e a nota.",
        "O cliente gostou do produto? {facts}",
        "Analise a avaliação de um cliente. {facts}",
        "Dados da avaliação: {facts}\nQual é o sentimento?",
        "Preciso do sentimento e da nota em JSON. {facts}",
        "Classifique a avaliação como positivo, neutro ou negativo. {facts}",
        "Uma avaliação em inglês, com a nota. {facts} Extraia os campos.",
    ),
    unseen=(
        "O que este cliente achou? Responda com os campos. {facts}",
        "{facts}\nDiga se a opinião é boa, neutra ou ruim, com a nota.",
        "Registre a opinião abaixo. {facts}",
        "Transforme este comentário em dados. {facts}",
    ),
    facts=(
        ('Texto: "{text}"', 'Avaliação: "{text}"', 'Cliente: "{text}"'),
        ("Nota média: {score}", "Nota: {score}", "Média das notas: {score}"),
    ),
    unseen_facts=(('O cliente disse: "{text}"',), ("A nota dada foi {score}",)),
)
REVIEW_TEXTS = {
    "uncertainty": "Nota de -4 a 4.",
    "verify": "Reler o texto.",
}


def review_extraction(review: Review, number: int, unseen: bool = False) -> Example:
    """Sentiment, and the mean of the human ratings, of one sentence."""
    sentiment = sentiment_pt(review.score)
    values = {"text": review.text, "score": decimal_pt(review.score)}
    fields = {"sentiment": sentiment, "sentiment_score": review.score}
    return Example(
        task="review_extraction",
        entities=(review.review,),
        prompt=REVIEW.ask(values, number, f"{review.review} {review.number}", unseen),
        answer=envelope(
            "extraction",
            {"title": "Avaliação", "fields": fields},
            f"Sentimento {sentiment}.",
            REVIEW_TEXTS,
        ),
        checks=(
            exact("payload.fields.sentiment", sentiment),
            near("payload.fields.sentiment_score", review.score, 0.001),
        ),
    )


FICHA = Wordings(
    training=(
        "Extraia a ficha do aeroporto. {facts}",
        "Monte a ficha deste aeroporto. {facts}",
        "Quais são os dados do aeroporto {iata}? {facts}",
        "{facts}\nTransforme o texto em uma ficha.",
        "Leia e preencha a ficha: {facts}",
        "Preciso dos dados do aeroporto de {city} em JSON. {facts}",
        "Texto sobre um aeroporto: {facts}\nExtraia os campos.",
        "Ficha do aeroporto de {city}, por favor. {facts}",
        "Organize os dados do aeroporto {iata}. {facts}",
        "Extraia código, cidade, país, altitude e latitude. {facts}",
    ),
    unseen=(
        "Resuma em campos o que se sabe do aeroporto {iata}. {facts}",
        "{facts}\nCom isso, registre o aeroporto de {city}.",
        "Anote os dados deste lugar de pouso. {facts}",
        "Passe para JSON o que está escrito sobre {city}. {facts}",
    ),
    facts=(
        ("O aeroporto {iata} tem o código ICAO {icao}", "O código é {iata} (ICAO {icao})"),
        ("Fica em {city}, {country}", "A cidade é {city}, {country}"),
        ("A altitude é de {altitude} m", "Está a {altitude} m de altitude"),
        ("A latitude é {latitude}", "Sua latitude é {latitude}"),
    ),
    unseen_facts=(
        ("Códigos: {iata} e, na ICAO, {icao}",),
        ("Está na cidade de {city}, {country}",),
        ("Altura: {altitude} m",),
        ("Posição: latitude {latitude}",),
    ),
    joins=(". ", "; "),
)
FICHA_TEXTS = {
    "uncertainty": "Valores arredondados.",
    "verify": "Reler o texto.",
}


def ficha_pt(airport: Airport, number: int, unseen: bool = False) -> Example:
    """An airport's codes, place, altitude and latitude out of a Portuguese text."""
    country = airport.country.name_pt
    values = {
        "iata": airport.iata,
        "icao": airport.icao,
        "city": airport.city_pt,
        "country": country,
        "altitude": decimal_pt(airport.elevation_m),
        "latitude": decimal_pt(airport.latitude),
    }
    fields = {
        "iata": airport.iata,
        "icao": airport.icao,
        "cidade": airport.city_pt,
        "pais": country,
        "altitude_m": airport.elevation_m,
        "latitude": airport.latitude,
    }
    at = "payload.fields"
    return Example(
        task="ficha_pt",
        entities=(airport.country.code,),
        prompt=FICHA.ask(values, number, airport.iata, unseen),
        answer=envelope(
            "extraction",
            {"title": f"Aeroporto {airport.iata}", "fields": fields},
            f"Aeroporto de {airport.city_pt}.",
            FICHA_TEXTS,
        ),
        checks=(
            contains("payload.title", airport.iata),
            exact(f"{at}.iata", airport.iata),
            exact(f"{at}.icao", airport.icao),
            exact(f"{at}.cidade", airport.city_pt),
            exact(f"{at}.pais", country),
            near(f"{at}.altitude_m", airport.elevation_m, 0.01),
            near(f"{at}.latitude", airport.latitude, 0.001),
        ),
    )
