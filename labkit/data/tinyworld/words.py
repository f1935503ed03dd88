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


def listed(text: str, separator: str = " ") -> tuple[str, ...]:
    """The entries of a list that may run over several lines."""
    lines = (line.strip() for line in text.strip().splitlines())
    return tuple(entry for line in lines for entry in line.split(separator))


def a(phrase: str) -> str:
    """`a kite`, `an old kite`. Every word of TinyWorld follows its spelling."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


GIRLS = listed(
    """
    Ada Alice Amy Anna Bella Beth Carla Clara Dora Edith Elena Ella Emma Eva Faye Flora Gina Grace Hanna Hazel Helen Ida
    Iris Irma Jane Jenny Julia Kate Kira Lara Laura Leah Lena Lily Lina Lucy Mary Maya Mia Mira Molly Nadia Nina Nora
    Olga Olive Paula Petra Rita Rosa Ruth Sally Sara Sofia Stella Tina Vera Wanda Yara Zoe
    """
)
BOYS = listed(
    """
    Adam Alan Anton Arthur Ben Boris Bruno Carl Daniel David Edgar Eli Emil Felix Frank Fred George Gus Hans Harry Henry
    Hugo Igor Ivan Jack Jacob James Jim Joe John Karl Ken Kurt Leo Louis Luke Mark Martin Max Milo Ned Nick Noah Oscar
    Otto Owen Paul Peter Ralph Ray Robin Roy Sam Simon Steve Theo Tim Tom Victor Walter
    """
)
PEOPLE = tuple(Person(name, "She", "her", "her", "girl") for name in GIRLS) + tuple(
    Person(name, "He", "him", "his", "boy") for name in BOYS
)
PLACES = listed(
    """
    airport bakery bank barn barracks beach bridge cafe camp castle church circus clinic cottage dam dock factory farm
    fountain garage garden gate harbor hotel inn kitchen lake library lighthouse market meadow mill museum office
    orchard palace park pier playground pond pool river school shop stable station temple theater tower well windmill
    workshop zoo
    """
)
# Single things that somebody can hold: none is a place or a colour.
THINGS = listed(
    """
    backpack ball balloon basket bell blanket book bottle bowl broom brush bucket button cake camera candle cap card
    chain clock coat coin comb crown cup doll drum fan feather flag flute fork glove guitar hammer hat horn jar jug
    kettle key kite ladder lamp lantern letter magnet map mask medal mirror mitten mug necklace net newspaper paintbrush
    pan pencil picture pillow pipe plate pot puppet purse puzzle quilt ribbon ring robot rope ruler sack saw scarf shell
    shirt shoe shovel spoon stamp stick stone sword teapot telescope ticket towel tray truck trumpet umbrella vase
    violin wagon watch whistle
    """
)
COLOURS = listed("black blue brown golden gray green orange pink purple red silver white yellow")
SIZES = listed("big little long new old pretty short shiny small tiny")
# Things that come in numbers, singular and plural.
GOODS = tuple(
    tuple(pair.split("/"))
    for pair in listed(
        """
    apple/apples banana/bananas berry/berries biscuit/biscuits carrot/carrots cherry/cherries cookie/cookies egg/eggs
    fig/figs grape/grapes lemon/lemons melon/melons muffin/muffins nut/nuts pancake/pancakes peach/peaches pear/pears
    plum/plums radish/radishes sandwich/sandwiches strawberry/strawberries tomato/tomatoes waffle/waffles
    """
    )
)
NUMBERS = listed(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty
    """
)
ANIMALS = listed(
    """
    badger bear bee bird camel cat chicken cow crow deer dog donkey duck eagle fox frog goat goose hamster hare hen
    horse lamb mole monkey mouse otter owl parrot pig pony rabbit raven sheep snail snake squirrel swan tiger turtle
    wolf
    """
)
SPOTS = listed(
    """
    behind a bush|behind a tree|behind a wall|beside a fence|beside a rock|beside a stove|in a barrel|in a box
    in a corner|in a hole|in a trunk|near a ladder|near a statue|on a bench|on a chair|on a ledge|on a step|on a table
    under a cart|under a carpet|under a tent
    """,
    "|",
)
WEATHER = listed("bright chilly cloudy cold cool dark dry foggy hot mild rainy snowy stormy sunny warm windy")
TIMES = listed("afternoon day evening morning night")
GLAD = listed("cheerful delighted glad happy joyful pleased proud thankful")
SORRY = listed("angry disappointed gloomy lonely sad sorry unhappy upset")
GLAD_ACTS = listed("clapped|cheered|danced|grinned|hummed a tune|jumped|laughed|sang|smiled|whistled", "|")
SORRY_ACTS = listed("cried|frowned|groaned|sat down|shook|sighed|sobbed|stared at the ground", "|")
GOING = listed("hiked hurried marched ran raced strolled walked wandered")
CALMLY = listed("bravely calmly carefully eagerly gently happily kindly politely proudly quickly quietly slowly")
ANIMAL_ACTS = listed(
    """
    barked at|came up to|circled|followed|jumped past|looked at|played near|ran past|slept near|stared at
    """,
    "|",
)

# The encyclopaedia's words.
SURNAMES = listed(
    """
    Abbott Archer Bailey Baxter Bishop Bolton Brooks Carver Chandler Clayton Cooper Crosby Dalton Dawson Dixon Draper
    Ellis Everett Fisher Fletcher Foster Fowler Gardner Gibson Grant Griffin Harper Hobbs Hooper Hudson Ingram Jarvis
    Keller Kendall Lambert Larson Lawton Mason Mercer Miller Morton Nash Newton Norris Osborn Palmer Parker Perkins
    Porter Potter Quinn Ramsey Reed Rowland Sawyer Sexton Shelby Skinner Spencer Sutton Talbot Tanner Thatcher Turner
    Tyler Underwood Vaughan Wagner Walton Warner Weaver Webster Wheeler Whitman Wilder Woodward Wright Yates York Young
    """
)
TOWN_STARTS = listed("Amber Ash Birch Bright Clear Cold Deer East Elm Fair Fox Gold Green High Long Maple North Oak")
TOWN_ENDS = listed("bay bridge brook bury by cliff dale field ford haven hill mouth port side stead ton view water")
TOWNS = tuple(start + end for start in TOWN_STARTS for end in TOWN_ENDS)
JOBS = listed(
    """
    actor artist baker banker barber builder butcher carpenter clerk cook dancer dentist doctor driver engineer farmer
    florist guard hunter janitor judge lawyer librarian mechanic miner nurse painter pilot plumber poet sailor shepherd
    singer soldier tailor teacher vet waiter weaver writer
    """
)
PETS = listed("canary cat dog ferret goldfish hamster hedgehog lizard parrot pony rabbit turtle")
PET_NAMES = listed(
    """
    Acorn Bandit Biscuit Bubbles Buttons Cloud Cookie Cricket Dash Domino Dusty Flash Fudge Ginger Goldie Honey Jester
    Lucky Marble Misty Muffin Nugget Patch Pebble Pepper Pickle Pixie Rusty Shadow Smoky Snowy Socks Sparky Spot Sunny
    Tango Tiger Toffee Waffles Ziggy
    """
)
LANDMARKS = listed("bridge castle church clock fountain garden harbor library market museum park tower zoo")
SECRETS = listed(
    """
    amethyst bluebell buttercup chestnut cinnamon clover crystal daffodil dragonfly firefly gingerbread honeycomb indigo
    jasmine juniper lavender magnolia marigold moonbeam nightingale nutmeg peppermint periwinkle primrose rosemary
    saffron sandalwood sapphire silverfish snowdrop starlight sunflower tangerine thistle thunder tulip turquoise
    vanilla velvet willow
    """
)
