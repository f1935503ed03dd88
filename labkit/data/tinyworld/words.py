"""The words of TinyWorld. Every list has distinct entries; its order is part of the seed, so append, never reorder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """A name and its pronouns. Two people are the same only if they are the same object."""

    name: str
    he: str
    him: str
    his: str
    child: str


GIRLS = """Ada Alice Amy Anna Bella Beth Carla Clara Dora Edith Elena Ella Emma Eva Faye Flora Gina Grace Hanna Hazel Helen Ida Iris
Irma Jane Jenny Julia Kate Kira Lara Laura Leah Lena Lily Lina Lucy Mary Maya Mia Mira Molly Nadia Nina Nora Olga
Olive Paula Petra Rita Rosa Ruth Sally Sara Sofia Stella Tina Vera Wanda Yara Zoe""".split()

BOYS = """Adam Alan Anton Arthur Ben Boris Bruno Carl Daniel David Edgar Eli Emil Felix Frank Fred George Gus Hans Harry Henry
Hugo Igor Ivan Jack Jacob James Jim Joe John Karl Ken Kurt Leo Louis Luke Mark Martin Max Milo Ned Nick Noah Oscar
Otto Owen Paul Peter Ralph Ray Robin Roy Sam Simon Steve Theo Tim Tom Victor Walter""".split()

PEOPLE = tuple(Person(name, "She", "her", "her", "girl") for name in GIRLS) + tuple(
    Person(name, "He", "him", "his", "boy") for name in BOYS
)

PLACES = tuple(
    """airport bakery bank barn barracks beach bridge cafe camp castle church circus clinic cottage dam dock factory farm
fountain garage garden gate harbor hotel inn kitchen lake library lighthouse market meadow mill museum office orchard
palace park pier playground pond pool river school shop stable station temple theater tower well windmill workshop
zoo""".split()
)

# Single things that somebody can hold. No two begin with the same word, and none is a place or a colour.
THINGS = tuple(
    """backpack ball balloon basket bell blanket book bottle bowl broom brush bucket button cake camera candle cap card chain
clock coat coin comb crown cup doll drum fan feather flag flute fork glove guitar hammer hat horn jar jug kettle
key kite ladder lamp lantern letter magnet map mask medal mirror mitten mug necklace net newspaper paintbrush pan
pencil picture pillow pipe plate pot puppet purse puzzle quilt ribbon ring robot rope ruler sack saw scarf shell shirt shoe
shovel spoon stamp stick stone sword teapot telescope ticket towel tray truck trumpet umbrella vase violin wagon watch
whistle""".split()
)

COLOURS = tuple("black blue brown golden gray green orange pink purple red silver white yellow".split())
SIZES = tuple("big little long new old pretty short shiny small tiny".split())

# Things that come in numbers, singular and plural.
GOODS = tuple(
    tuple(pair.split("/"))
    for pair in """apple/apples banana/bananas berry/berries biscuit/biscuits carrot/carrots cherry/cherries cookie/cookies egg/eggs
fig/figs grape/grapes lemon/lemons melon/melons muffin/muffins nut/nuts pancake/pancakes peach/peaches
pear/pears plum/plums radish/radishes sandwich/sandwiches strawberry/strawberries tomato/tomatoes waffle/waffles""".split()
)

NUMBERS = tuple(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty""".split()
)

ANIMALS = tuple(
    """badger bear bee bird camel cat chicken cow crow deer dog donkey duck eagle fox frog goat goose hamster hare hen
horse lamb mole monkey mouse otter owl parrot pig pony rabbit raven sheep snail snake squirrel swan tiger turtle
wolf""".split()
)

SPOTS = tuple(
    place
    for line in """\
behind a bush|behind a tree|behind a wall|beside a fence|beside a rock|beside a stove|in a barrel|in a box|in a corner
in a hole|in a trunk|near a ladder|near a statue|on a bench|on a chair|on a ledge|on a step|on a table|under a cart
under a carpet|under a tent""".splitlines()
    for place in line.split("|")
)

WEATHER = tuple("bright chilly cloudy cold cool dark dry foggy hot mild rainy snowy stormy sunny warm windy".split())
TIMES = tuple("afternoon day evening morning night".split())

GLAD = tuple("cheerful delighted glad happy joyful pleased proud thankful".split())
SORRY = tuple("angry disappointed gloomy lonely sad sorry unhappy upset".split())
GLAD_ACTS = tuple("clapped|cheered|danced|grinned|hummed a tune|jumped|laughed|sang|smiled|whistled".split("|"))
SORRY_ACTS = tuple("cried|frowned|groaned|sat down|shook|sighed|sobbed|stared at the ground".split("|"))

GOING = tuple("hiked hurried marched ran raced strolled walked wandered".split())
CALMLY = tuple("bravely calmly carefully eagerly gently happily kindly politely proudly quickly quietly slowly".split())
ANIMAL_ACTS = tuple(
    "barked at|came up to|circled|followed|jumped past|looked at|played near|ran past|slept near|stared at".split("|")
)


def a(phrase: str) -> str:
    """`a kite`, `an old kite`. Every word of TinyWorld follows its spelling."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase
