"""English words, names and texts for a search index."""

from __future__ import annotations

import numpy as np

# The earlier a word in the list, the more often it is drawn.
TEXT = """
new good great best fresh more easy free save today home summer simple quick bright your
time day week year morning evening night spring autumn winter weekend holiday season moment hour
house garden kitchen table chair window door floor wall room light lamp shelf bed corner street
city village river lake sea beach island mountain valley forest field road bridge path harbour market
bread butter cheese apple orange lemon cherry plum pear berry honey sugar salt pepper coffee tea
water milk juice soup salad rice pasta cake pie cookie chocolate breakfast lunch dinner picnic feast
red blue green yellow white black brown grey golden silver purple pink warm cool soft strong
small large little tall short long wide narrow round square flat deep high low heavy early
happy calm kind brave clever proud gentle honest quiet lively clear clean smooth solid gold pure
walk run ride climb swim dance sing play read write paint draw build cook bake grow
travel visit explore discover learn share give offer choose find keep wear carry bring open start
family friend child parent neighbour guest team player reader writer driver sailor teacher student doctor farmer
shirt coat hat shoe glove scarf dress jacket pocket button cotton wool leather linen silk thread
book page story letter poem map picture photo music song drum guitar piano violin ticket stage
ball bat net goal race bike boat tent rope boot glider sledge skate board helmet prize
hammer nail saw drill screw ladder brush bucket spade rake hose pot pan knife spoon plate
cup bowl basket box bag bottle jar candle clock mirror carpet curtain blanket pillow towel soap
tree flower leaf root seed grass rose tulip daisy oak pine birch moss stone sand clay
dog cat horse bird duck goose hen sheep goat cow rabbit fox bear deer fish bee
sun moon star sky cloud rain snow wind storm frost fire smoke shade breeze rainbow dawn
price value bargain gift order parcel delivery service promise answer question idea plan choice reason secret
health comfort pleasure peace joy luck hope dream wonder surprise memory wish care love trust smile
half double first second third last next every whole single many few enough nothing something
always often never again soon later early together outside inside around across under over between beyond
"""
WORDS = tuple(dict.fromkeys(TEXT.split()))
FIRST = (
    "Alice", "Bruno", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas",
    "Katja", "Lucas", "Maria", "Nora", "Oscar", "Paula", "Quentin", "Rosa", "Simon", "Tessa",
)  # fmt: skip
LAST = (
    "Archer", "Baker", "Carter", "Dyer", "Fisher", "Glover", "Hunter", "Joiner", "Mason", "Miller",
    "Porter", "Potter", "Sawyer", "Shepherd", "Smith", "Tanner", "Thatcher", "Turner", "Weaver", "Wright",
)  # fmt: skip


def text(count: int, rng: np.random.Generator) -> str:
    """Return `count` words, the first with a capital letter; words at the start of the list are more frequent."""
    draws = rng.random(count)
    return " ".join(WORDS[place] for place in (draws * draws * len(WORDS)).astype(int).tolist()).capitalize()


def person(one: float, other: float) -> tuple[str, str]:
    """Return a first and a last name for two draws from 0 to 1."""
    return FIRST[int(one * len(FIRST))], LAST[int(other * len(LAST))]
