"""Questions whose answers a program can check: about a story, and about the encyclopaedia of a World."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from labkit.data.tinyworld import words
from labkit.data.tinyworld.choice import Chooser, seed_of
from labkit.data.tinyworld.story import Story
from labkit.data.tinyworld.words import Person
from labkit.data.tinyworld.world import World

STORY_DOES_NOT_SAY = "The story does not say."
ENTRIES_DO_NOT_SAY = "The entries do not say."


@dataclass(frozen=True, slots=True)
class Question:
    """A question with exactly one right answer.

    context: the story it is about; "" for a question about a World.
    answer: a word or a name, or one of the two sentences above where nothing is said about it.
    kind: "single" (one fact), "multi" (facts joined), "unanswerable".
    style: "plain", "paraphrase" (in other words than the entry), "tag" (by the number on a thing).
    subject, path: what to look up, for checking: each relation of `path` in turn, "~" before one read backwards.
    sources: the titles of the entries that hold the facts.
    """

    text: str
    answer: str
    kind: str
    context: str = ""
    style: str = "plain"
    subject: str = ""
    path: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """Context, question and the cue for an answer."""
        return (f"{self.context}\n" if self.context else "") + f"Question: {self.text}\nAnswer:"


# ---------------------------------------------------------------------------------------------------------------------
# About a story
# ---------------------------------------------------------------------------------------------------------------------
def story_questions(story: Story, choose: Chooser) -> list[Question]:
    """All that can be asked about the end of a story, and four questions that it does not answer, in random order."""
    scene = story.scene
    asked = [("single", f"Where is {p.name} at the end?", at, p.name, ("place",)) for p, at in scene.at.items()]
    for x in scene.things:
        asked.append(("single", f"What color is the {x.noun}?", x.colour, x.noun, ("colour",)))
        asked.append(("single", f"Who had the {x.noun} first?", x.first.name, x.noun, ("first owner",)))
        if isinstance(x.where, Person):
            p, at = x.where.name, scene.at[x.where]
            asked.append(("single", f"Who has the {x.noun} at the end?", p, x.noun, ("holder",)))
            asked.append(("multi", f"Where is the {x.noun} at the end?", at, x.noun, ("holder", "place")))
            if sum(other.where is x.where for other in scene.things) == 1:
                what = f"What color is the thing that {p} has at the end?"
                asked.append(("multi", what, x.colour, p, ("~holder", "colour")))
        else:
            asked.append(("single", f"Where is the {x.noun} at the end?", x.where, x.noun, ("place",)))
        where = scene.at[x.first]
        what = f"Where is the person who had the {x.noun} first at the end?"
        asked.append(("multi", what, where, x.noun, ("first owner", "place")))
    for p, n in scene.count.items():
        goods = scene.goods[1]
        asked.append(("single", f"How many {goods} does {p.name} have at the end?", words.NUMBERS[n], p.name, (goods,)))
    anybody = choose.pick(story.people)
    stranger = choose.pick_new(words.PEOPLE, scene.at).name
    other = choose.pick_new(words.THINGS, story.things)
    unknown = [
        (f"Where is {stranger} at the end?", stranger, ("place",)),
        (f"Who has the {other} at the end?", other, ("holder",)),
        (f"What color is the {other}?", other, ("colour",)),
        (f"How old is {anybody}?", anybody, ("age",)),
    ]
    asked += [("unanswerable", text, STORY_DOES_NOT_SAY, subject, path) for text, subject, path in unknown]
    return [
        Question(text, answer, kind, story.text, "plain", s, path)
        for kind, text, answer, s, path in choose.shuffled(asked)
    ]


def make_question(choose: Chooser, story: Story) -> Question:
    """One question about the story: single, multi or unanswerable, each as likely."""
    kind = choose.pick(("single", "multi", "unanswerable"))
    return next(question for question in story_questions(story, choose) if question.kind == kind)


# ---------------------------------------------------------------------------------------------------------------------
# About a World
# ---------------------------------------------------------------------------------------------------------------------
# How to ask for a relation of {s}: plainly, and in other words than the entry's.
ASK = {
    "job": ("What is the job of {s}?", "How does {s} earn a living?"),
    "town": ("In which town does {s} live?", "Where is the home of {s}?"),
    "age": ("How old is {s}?", "How many birthdays has {s} had?"),
    "thing": ("What does {s} own?", "Which object belongs to {s}?"),
    "colour": ("What color is the thing that {s} owns?", "Which color has the object of {s}?"),
    "tag": ("What is the number on the thing that {s} owns?", "Which code marks the object of {s}?"),
    "friend": ("Who is the best friend of {s}?", "To whom is {s} closest?"),
    "food": ("What is the favorite food of {s}?", "What would you cook to please {s}?"),
    "pet": ("What kind of animal is the pet of {s}?", "Which sort of animal shares a home with {s}?"),
    "pet name": ("What is the name of the pet of {s}?", "What does {s} call the animal at home?"),
    "year": ("When was {s} founded?", "In which year does the history of {s} begin?"),
    "mayor": ("Who is the mayor of {s}?", "Who is in charge of {s}?"),
    "landmark": ("What is {s} famous for?", "Which sight should nobody miss in {s}?"),
}
# The same as a part of a longer question.
STEP = {
    "friend": "the best friend of {s}",
    "mayor": "the mayor of {s}",
    "town": "the town where {s} lives",
    "~tag": "the owner of the thing with the number {s}",
}
PERSON_RELATIONS = tuple(relation for relation in ASK if relation not in ("year", "mayor", "landmark"))
TOWN_RELATIONS = ("year", "mayor", "landmark")
NEVER_TOLD = (
    "How tall is {s}?",
    "What is the name of the sister of {s}?",
    "Which song does {s} like best?",
    "In which street does {s} live?",
    "What is the shoe size of {s}?",
)


class Asker:
    """Makes questions about one world. Its answers come from walking along the facts."""

    def __init__(self, world: World, seed: int = 0) -> None:
        self.world, self.seed = world, seed
        self.forward = {(fact.subject, fact.relation): fact.value for fact in world.facts}
        self.owner = {fact.value: fact.subject for fact in world.facts if fact.relation == "tag"}
        self.people = [entry.title for entry in world.entries[: world.people]]
        self.towns = [entry.title for entry in world.entries[world.people :]]

    def questions(self, count: int, start: int = 0) -> Iterator[Question]:
        """Questions start, start + 1, ...: half single, a third multi, the rest unanswerable. They may repeat."""
        for i in range(start, start + count):
            choose = Chooser(seed_of(self.seed, 101, self.world.seed, self.world.people, i))
            kind = ("single", "multi", "single", "unanswerable", "single", "multi")[i % 6]
            yield getattr(self, kind)(choose)

    def follow(self, subject: str, path: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
        """The value at the end of a path, None if it breaks off, and the entries that were read on the way."""
        sources = []
        for relation in path:
            if relation == "~tag":
                subject = self.owner.get(subject)
                sources.append(subject)
            else:
                sources.append(subject)
                subject = self.forward.get((subject, relation))
            if subject is None:
                return None, ()
        return subject, tuple(dict.fromkeys(sources))

    def ask(self, choose: Chooser, kind: str, subject: str, path: tuple[str, ...]) -> Question | None:
        answer, sources = self.follow(subject, path)
        if answer is None:
            return None
        phrase = subject
        for step in path[:-1]:
            phrase = STEP[step].format(s=phrase)
        paraphrase = choose.below(2)
        style = "tag" if path[0] == "~tag" else "paraphrase" if paraphrase else "plain"
        text = ASK[path[-1]][paraphrase].format(s=phrase)
        return Question(text, answer, kind, "", style, subject, path, sources)

    def single(self, choose: Chooser) -> Question:
        """One entry is enough. One in four asks for the owner of a tag's thing by its number."""
        while True:
            if not choose.below(4):
                tag = choose.pick(list(self.owner))
                person = self.owner[tag]
                text = choose.pick(("Who owns the thing with the number {s}?", "Whose object carries the code {s}?"))
                return Question(text.format(s=tag), person, "single", "", "tag", tag, ("~tag",), (person,))
            town = not choose.below(4)
            subject = choose.pick(self.towns if town else self.people)
            relation = choose.pick(TOWN_RELATIONS if town else PERSON_RELATIONS)
            if question := self.ask(choose, "single", subject, (relation,)):
                return question

    def multi(self, choose: Chooser) -> Question:
        """Two or three entries must be joined."""
        while True:
            start = choose.pick(("person", "town", "tag"))
            if start == "person":
                subject, steps = choose.pick(self.people), choose.pick((("friend",), ("town",), ("friend", "town")))
            elif start == "town":
                subject, steps = choose.pick(self.towns), choose.pick((("mayor",), ("mayor", "friend")))
            else:
                subject, steps = choose.pick(list(self.owner)), choose.pick((("~tag", "friend"), ("~tag", "town")))
            last = choose.pick(TOWN_RELATIONS if steps[-1] == "town" else PERSON_RELATIONS)
            question = self.ask(choose, "multi", subject, (*steps, last))
            if question and len(question.sources) > 1:
                return question

    def unanswerable(self, choose: Chooser) -> Question:
        """A stranger, somebody's pet who has none, or something the entries never tell."""
        way = choose.pick(("stranger", "no pet", "never told"))
        without = [person for person in self.people if (person, "pet") not in self.forward]
        path: tuple[str, ...] = ()
        if way == "never told" or (way == "no pet" and not without):
            subject = choose.pick(self.people)
            text = choose.pick(NEVER_TOLD)
        else:
            subject = choose.pick(without) if way == "no pet" else self.stranger(choose)
            path = (choose.pick(("pet", "pet name") if way == "no pet" else PERSON_RELATIONS),)
            text = choose.pick(ASK[path[0]])
        return Question(text.format(s=subject), ENTRIES_DO_NOT_SAY, "unanswerable", "", "plain", subject, path)

    def stranger(self, choose: Chooser) -> str:
        while True:
            name = f"{choose.pick(words.PEOPLE).name} {choose.pick(words.SURNAMES)}"
            if name not in self.people:
                return name
