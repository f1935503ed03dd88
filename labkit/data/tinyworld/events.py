"""What happens in a story: each event makes its choices, changes the scene and says so."""

from __future__ import annotations

from functools import cache

from labkit.data.tinyworld import templates as t
from labkit.data.tinyworld import words
from labkit.data.tinyworld.choice import Odds
from labkit.data.tinyworld.scene import Blank, Scene
from labkit.data.tinyworld.words import Person


class Episode(Scene):
    """The events, one method for each name in EVENTS, and the facts that are recalled on the way."""

    # -------------------------------------------------------------- events

    def opening(self) -> None:
        hero = self.new_person("")
        self.at[hero] = here = self.new_place()
        thing = self.new_thing(hero)
        self.events.append(("is at", hero.name, here))
        self.say(t.OPENING, hero, q=here, ax=thing.look)
        there = self.new_place()
        friend = self.new_person(there)
        self.hero, self.wish, self.friend = hero, thing, friend
        self.events.append(("is at", friend.name, there))
        self.say(t.GOAL, hero, friend, r=friend.name, q=there, x=thing.the)

    def move(self) -> None:
        choose, at = self.choose, self.at
        p = choose.pick(list(at))
        held = [thing for thing in self.things if thing.where is p]
        old = at[p]
        template = choose.pick(t.MOVE_WITH if held else t.MOVE)
        x = choose.pick(held).the if template.names_thing else ""
        new = self.other_place(old)
        at[p] = new
        self.events.append(("moves", p.name, old, new))
        self.say(template, p, o=old, q=new, x=x)

    def meet(self) -> None:
        p = self.choose.pick(list(self.at))
        here = self.at[p]
        r = self.new_person(here)
        thing = self.new_thing(r)
        self.events.append(("is at", r.name, here))
        self.say(t.MEET, p, r, o=here, r=r.name, ax=thing.look, child=r.child)

    def give(self) -> None:
        p, r, x = self.choose.pick(self.gifts)
        self.hand(x, r, giver=p)
        self.moved = (t.PLEASED, r, x)
        self.events.append(("gives", p.name, x.noun, r.name))
        self.say(t.GIVE, p, r, x=x.the, r=r.name, rhim=r.him, o=self.at[p])

    def trade(self) -> None:
        p, r, x, y = self.choose.pick(self.trades)
        self.hand(x, r, giver=p)
        self.hand(y, p, giver=r)
        self.events += ("gives", p.name, x.noun, r.name), ("gives", r.name, y.noun, p.name)
        self.say(t.TRADE, p, r, x=x.the, y=y.the, r=r.name, o=self.at[p])

    def put(self) -> None:
        x = self.choose.pick(self.held)
        p = x.where
        self.hand(x, self.at[p], self.choose.pick(words.SPOTS))
        self.events.append(("puts", p.name, x.noun, x.where, x.spot))
        self.say(t.PUT, p, x=x.the, spot=x.spot, o=x.where)

    def find(self) -> None:
        p, x = self.choose.pick(self.finds)
        here, spot = x.where, x.spot
        self.hand(x, p)
        self.moved = (t.PLEASED, p, x)
        self.events.append(("takes", p.name, x.noun, here))
        self.say(t.FIND, p, x=x.the, spot=spot, o=here)

    def theft(self) -> None:
        x = self.choose.pick(self.held)
        p = x.where
        new = self.other_place(self.at[p])
        self.hand(x, new, self.choose.pick(words.SPOTS))
        self.moved = (t.BEREFT, p, x)
        self.events.append(("loses", p.name, x.noun, new, x.spot))
        self.say(t.THEFT, p, x=x.the, spot=x.spot, q=new)

    def ask(self) -> None:
        elsewhere = [x for x in self.things if x is not self.asked]
        p, r, x = self.choose.pick(
            [(*pair, x) for x in elsewhere for pair in self.talks if self.at[pair[0]] != self.place_of(x)]
        )
        self.asked = x
        self.say(t.ASK, p, r, x=x.the, r=r.name, o=self.at[p])
        h = x.where
        if type(h) is Person:
            self.say(t.ANSWER_HELD, p, r, h, x=x.the, r=r.name, h=h.name, q=self.at[h])
        else:
            self.say(t.ANSWER_LIES, p, r, x=x.the, X="The " + x.noun, r=r.name, spot=x.spot, q=h)
        self.focus = None

    def collect(self) -> None:
        p = self.choose.pick(list(self.at))
        self.goods = self.choose.pick(words.GOODS)
        self.count[p] = n = 3 + self.choose.below(10)
        self.events.append(("collects", p.name, n, self.goods[1]))
        self.say(t.COLLECT, p, n=words.NUMBERS[n], goods=self.goods[1], o=self.at[p])

    def share(self) -> None:
        p, r = self.choose.pick(self.shares)
        n = 1 + self.choose.below(self.count[p] - 1)
        self.count[p] -= n
        self.count[r] = self.count.get(r, 0) + n
        self.events.append(("shares", p.name, n, r.name))
        self.say(t.SHARE, p, r, n=words.NUMBERS[n], goods=self.goods[1], r=r.name, o=self.at[p])

    def eat(self) -> None:
        p = self.choose.pick(self.eaters)
        n = 1 + self.choose.below(self.count[p] - 1)
        self.count[p] -= n
        self.events.append(("eats", p.name, n))
        self.say(t.EAT, p, n=words.NUMBERS[n], goods=self.goods[1], o=self.at[p])

    def feel(self) -> None:
        feeling, p, x = self.moved
        self.say(feeling, p, x=x.the, he=p.he.lower())

    def scene(self) -> None:
        p = self.choose.pick(list(self.at))
        self.say(t.SCENE, p, o=self.at[p])

    # -------------------------------------------------------------- facts that the reader can know

    def remark(self) -> None:
        kind = self.choose.draw(remark_odds(bool(self.held), bool(self.lying), bool(self.goods)))
        getattr(self, "recall_" + kind)(t.REMARKS[kind])

    def ending(self) -> None:
        p, r, x = self.hero, self.friend, self.wish
        self.say(t.SUCCESS if x.where is r else t.FAILURE, p, r, r=r.name, x=x.the)
        kind = self.choose.draw(finale_odds(bool(self.held), bool(self.lying)))
        getattr(self, "recall_" + kind)(t.FINALE[kind])

    def recall(self, kind: str, answer: str, group: tuple[t.Template, ...], p: Person, *others: Person, **slots: str):
        self.say(group, p, *others, o=self.at[p], **slots)
        self.blanks.append(Blank(len(self.sentences) - 1, kind, answer))

    def recall_holder(self, group: tuple[t.Template, ...]) -> None:
        pairs = [(p, x) for x in self.held for p in self.at if p is not x.where]
        p, x = self.choose.pick(pairs)
        self.recall("holder", x.where.name, group, p, x.where, x=x.the, h=x.where.name)

    def recall_thing(self, group: tuple[t.Template, ...]) -> None:
        p = self.choose.pick(list(self.at))
        x = self.choose.pick(self.lying)
        self.recall("thing", x.where, group, p, x=x.the, spot=x.spot, q=x.where)

    def recall_first(self, group: tuple[t.Template, ...]) -> None:
        p, x = self.choose.pick([(p, x) for x in self.things for p in self.at if p is not x.first])
        self.recall("first", x.first.name, group, p, x.first, x=x.the, h=x.first.name)

    def recall_count(self, group: tuple[t.Template, ...]) -> None:
        p = self.choose.pick([person for person, n in self.count.items() if n])
        n = words.NUMBERS[self.count[p]]
        self.recall("count", n, group, p, his=p.his, goods=self.goods[1], n=n)

    def recall_person(self, group: tuple[t.Template, ...]) -> None:
        p = self.choose.pick(list(self.at))
        self.recall_about(p, "person", self.choose.pick(group))

    def recall_colour(self, group: tuple[t.Template, ...]) -> None:
        p = self.choose.pick(list(self.at))
        self.recall_about(p, "colour", self.choose.pick(group))

    def recall_about(self, p: Person, kind: str, template: t.Template) -> None:
        """A fact about a thing or another person, each chosen only if the template shows it."""
        slots = {"o": self.at[p]}
        others = []
        if template.names_thing:
            x = self.choose.pick(self.things)
            slots |= {"x": x.the, "colour": x.colour}
        if template.names_other:
            r = self.choose.pick([person for person in self.at if person is not p])
            slots |= {"r": r.name, "q": self.at[r]}
            others.append(r)
        self.say(template, p, *others, **slots)
        self.blanks.append(Blank(len(self.sentences) - 1, kind, x.colour if kind == "colour" else self.at[r]))


@cache
def remark_odds(held: bool, lying: bool, counted: bool) -> Odds:
    """Which kind of fact to recall, given which there are."""
    kinds = {"person": 3, "colour": 2, "first": 2}
    kinds |= ({"holder": 5} if held else {}) | ({"thing": 4} if lying else {}) | ({"count": 4} if counted else {})
    return Odds(kinds)


@cache
def finale_odds(held: bool, lying: bool) -> Odds:
    return Odds({"person": 2} | ({"holder": 3} if held else {}) | ({"thing": 3} if lying else {}))
