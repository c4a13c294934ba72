"""To every prompt of the sample that has tests: a response that is right, and its twin with one thing wrong."""

from __future__ import annotations

import json
from typing import Final

from tests.verifiers.coding import fenced


def call(name: str, **arguments: object) -> str:
    """A call as the sample's system prompts ask for it."""
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


SECOND = "def second_largest(numbers):\n    found = sorted({0})\n    return found[-2] if len(found) > 1 else None"
BASKET = "def add_item(item, basket={}):\n    {}basket.append(item)\n    return basket"
TOP = (
    "SELECT c.name, SUM(o.total) AS total FROM customers c JOIN orders o ON o.customer_id = c.id\n"
    "GROUP BY c.id, c.name ORDER BY total {} LIMIT 3;"
)
RENAME = 'for file in *.jpeg; do\n  [ -e {0} ] || continue\n  mv -n {0} "${{file%.jpeg}}.jpg"\ndone\nprintf "%s\\n" *.jpg | sort'
CHUNK = (
    "function chunk(list, size) {{\n  const parts = [];\n  for (let at = 0; at {} list.length; at += size) {{\n"
    "    parts.push(list.slice(at, at + size));\n  }}\n  return parts;\n}}"
)
DATES = "import re\n\ndef dates(text):\n    return re.findall(r'\\b\\d{{4}}-{}-(?:0[1-9]|[12]\\d|3[01])\\b', text)"
SALT = "Salt stops working: “Below about minus {} degrees even a strong brine freezes, so road crews then spread sand instead.”"
CAPITAL = (
    'Both cities wanted it: "The compromise was a new city between them." Before: "Parliament met in {} until it moved there in '
    '1927."'
)
CRACK = (
    'On 5 March: "I cleaned the lens from top to bottom, which takes four hours, and found a crack in the third ring from below, '
    'as long as my finger." The cause: "Mr Aske thinks that the {} of the last week of February did it."'
)
HORSE = (
    'He chose by age: "He believed the horse to be from about {}, and the room ends with {}." But: "The horse is therefore older '
    'than your grandmother was".'
)
DICE = """from fractions import Fraction

rolls = [(a, b) for a in range(1, 7) for b in range(1, 7)]
print(Fraction(sum(a + b == {} for a, b in rolls), len(rolls)))"""


TWINS: Final[dict[str, tuple[str, str]]] = {
    "general-bread-story": ("Mara sang, and the loaves rose. Then the cat sang, too.", "Mara sang. " * 70),
    "coding-second-largest": (fenced(SECOND.format("set(numbers)")), fenced(SECOND.format("numbers"))),
    "coding-off-by-one": (
        fenced("def sum_to(n):\n    return sum(range(1, n + 1))"),
        fenced("def sum_to(n):\n    return sum(range(1, n))"),
    ),
    "coding-sql-top-customers": (fenced(TOP.format("DESC"), "sql"), fenced(TOP.format("ASC"), "sql")),
    "coding-bash-rename": (fenced(RENAME.format('"$file"'), "bash"), fenced(RENAME.format("$file"), "bash")),
    "coding-js-chunk": (fenced(CHUNK.format("<"), "js"), fenced(CHUNK.format("<="), "js")),
    "coding-regex-dates": (fenced(DATES.format("(?:0[1-9]|1[0-2])")), fenced(DATES.format(r"\d\d"))),
    "coding-mutable-default": (
        fenced(BASKET.format("None", "basket = [] if basket is None else basket\n    ")),
        fenced(BASKET.format("[]", "")),
    ),
    "maths-train-tickets": ("4 × 9.50 = 38\n5 × 9.50 = 47.50\nAnswer: 5", "4 × 9.50 = 38\n5 × 9.50 = 47.50\nAnswer: 4"),
    "maths-jam-jars": ("4200 / 350 = 12\n12 - 7 = 5\nAnswer: 5", "4200 / 350 = 13\n13 - 8 = 5\nAnswer: 5"),
    "maths-two-discounts": ("0.75 × 0.8 = 0.6, so 60 % is left.\nAnswer: 40 %", "25 % + 20 % = 45 %\nAnswer: 45 %"),
    "maths-quadratic": (r"(x - 2)(x - 3) = 0, so it is $\boxed{3}$.", r"(x - 2)(x - 3) = 0, so it is $\boxed{2}$."),
    "maths-dice-seven": (fenced(DICE.format(7)), fenced(DICE.format(8))),
    "maths-ladder": ("Pythagoras: 25 - 9 = 16.\nAnswer: 4", "Pythagoras: 25 - 9 = 15.\nAnswer: 4"),
    "multilingual-de-fahrplan": (
        "Nasses Laub wird unter den Rädern zu einem glatten Film. Deshalb fahren und bremsen die Züge vorsichtiger.",
        "Wet leaves become a slippery film under the wheels. That is why trains start and brake more carefully.",
    ),
    "multilingual-fr-recette": (
        "Battez les œufs avec le fromage. Faites revenir les épinards. Versez les œufs dessus. Servez aussitôt.",
        "Beat the eggs with the cheese. Fry the spinach for a while. Pour the eggs over it. Serve it at once.",
    ),
    "multilingual-es-correo": (
        "Buenos días: todavía no he terminado el libro. ¿Podrían prolongar el préstamo dos semanas? Muchas gracias.",
        "Bom dia: ainda não terminei de ler o livro. Vocês poderiam prorrogar o empréstimo por duas semanas? Obrigado.",
    ),
    "multilingual-ja-kasa": (
        "傘をかばんにかけておきます。降りる前に座席を確かめます。目立つ色の傘を選びます。",
        "把雨伞挂在包上。下车之前看一看座位。选择颜色鲜艳的雨伞，这样就不会忘记了。",
    ),
    "multilingual-hi-paani": (
        "सुबह ठंडक रहती है, इसलिए पानी कम उड़ता है। पत्तियाँ दिन में सूख जाती हैं, इसलिए रोग कम लगते हैं।",
        "It is cool in the morning, so less water is lost. The leaves dry during the day, so diseases are rarer.",
    ),
    "multilingual-ar-shams": (
        "عند الغروب يقطع ضوء الشمس طريقا أطول في الهواء. لذلك يتفرق اللون الأزرق ويبقى اللون الأحمر.",
        "At sunset the light travels a longer way through the air. The blue is scattered and the red remains.",
    ),
    "factual-salt-ice": (SALT.format("twenty"), SALT.format("thirty")),
    "factual-capital-australia": (CAPITAL.format("Melbourne"), CAPITAL.format("Sydney")),
    "steerable-one-sentence": (
        "A pump moves heat from the inside to the outside by evaporating and condensing a liquid.",
        "A pump moves heat from the inside to the outside. It evaporates a liquid and condenses it again.",
    ),
    "steerable-json-only": (
        '[{"name": "Anna", "age": 34, "city": "Porto", "instrument": "cello"}]',
        'Here it is: [{"name": "Anna", "age": 34, "city": "Porto", "instrument": "cello"}]',
    ),
    "steerable-ship-captain": ("Set small sails on the first day, my friend, and greet the crew.", "Steady now. " * 45),
    "steerable-socratic": ("What is 10 % of 60, and what is half of that?", "It is 9. How could you have found it?"),
    "steerable-no-recipes": (
        "I know bicycles and this shop only, but I can help you find a basket for the apples.",
        "Of course! Mix flour, butter and apples, and put it into the oven.",
    ),
    "steerable-answer-in-german": (
        "Wetter ist, was heute draußen geschieht; Klima ist der Durchschnitt vieler Jahre.",
        "Weather is what happens outside today; climate is the average of many years.",
    ),
    "tool-use-weather": (
        call("get_weather", city="Bergen", date="2025-05-14"),
        call("get_weather", city="Bergen", date="2025-05-15"),
    ),
    "tool-use-money": (
        call("convert_money", amount=250, **{"from": "EUR", "to": "CHF"}),
        call("convert_money", amount="250", **{"from": "EUR", "to": "CHF"}),
    ),
    "tool-use-missing-time": ("When shall I remind you?", call("set_reminder", text="dentist", at="2025-05-14 09:00")),
    "tool-use-no-tool-needed": ("You are welcome. Goodbye!", call("find_book", query="goodbye")),
    "tool-use-book": (
        call("find_book", query="Selma Lagerlöf", available_only=True),
        call("find_book", title="Selma Lagerlöf", available_only=True),
    ),
    "long-context-lighthouse-log": (CRACK.format("frost"), CRACK.format("storm")),
    "long-context-tenants-meeting": (
        "Each of the five pays 138 euros. Open is whether the coal shed may be taken down.",
        "Each of the six pays 115 euros. Open is whether the coal shed may be taken down.",
    ),
    "long-context-museum-letter": (HORSE.format(1950, 1930), HORSE.format(1930, 1950)),
    "long-context-harvest-cooperative": (
        "It is of the second class: 960 euros, of which 480 are paid after two weeks.",
        "It is of the first class: 1,200 euros, of which 600 are paid after two weeks.",
    ),
    "long-context-space-station-garden": (
        "Replace the fan with a spare from locker D within six hours.",
        "Replace the fan with a spare from locker B within six hours.",
    ),
}
