"""A structured caption's fields as English sentences: word rules alone, no grammar is parsed.

A field is a sentence, a verb phrase, a noun phrase or a few adjectives: captioners differ. The first words decide what
it takes to make a sentence of it; where they do not, the subject and a colon stand before it, which is never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from captioner.schema import Caption, Subject

SHOTS = {
    "long_shot": "a long shot",
    "full_shot": "a full shot",
    "medium_shot": "a medium shot",
    "close_up": "a close-up",
    "extreme_close_up": "an extreme close-up",
}
ANGLES = {
    "eye_level": "at eye level",
    "high_angle": "from a high angle",
    "low_angle": "from a low angle",
}
POSITIONS = {
    "front_view": "seen from the front",
    "back_view": "seen from behind",
    "side_view": "seen from the side",
    "over_the_shoulder": "seen over the shoulder",
    "overhead_view": "seen from directly overhead",
    "point_of_view": "seen through the eyes of someone in the scene",
    "aerial_view": "seen from the air",
    "overlooking_view": "seen from a height",
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FEMALE = _words("woman girl lady female mother daughter actress queen bride waitress grandmother")
_MALE = _words("man boy gentleman male father son actor king groom waiter grandfather")
_PERSONS = _FEMALE | _MALE | _words("person people child adult teenager individual figure baby")
_PLURALS = _words("people men women children police twins feet passersby cattle personnel skis")
_GROUPS = _words("crowd group team couple pair trio family audience band class choir orchestra crew")
_SINGULARS = _words("bus gas lens canvas christmas swiss chess specimen abdomen omen ramen cyclamen")

_ARTICLES = _words("a an one two three four five several many some no both")
_SENTENCE = _words("the this that these those there she he they it his her their its someone each all we you")
_PREPOSITIONS = _words(
    "in on at near by behind beside between above below under over inside outside against along among around"
    " across before next to toward towards within with without from through off"
)
_STATES = _words(
    "seated held shown seen bent lit still stationary motionless static idle asleep awake not handheld steady stable"
)
_NOT_VERBS = _words(
    "hands eyes arms legs lips fingers fists tears feet teeth always perhaps yes series clothes"
)
_NOT_ING = _words("nothing something anything morning evening king ring string thing wing spring")
_HAS = _words("has have wears wear looks appears sports features dons carries holds shows")
_FACES = _HAS | _words(
    "smiles laughs frowns seems stares grins cries remains stays displays exhibits gazes glances smirks"
)
_WORN = _words(
    "hair eyes skin beard moustache mustache bangs braid braids ponytail face freckles makeup glasses sunglasses"
    " dress shirt t-shirt suit coat jacket hat cap skirt trousers pants jeans sweater hoodie uniform boots shoes"
    " scarf gown robe blouse vest helmet clothes clothing outfit attire necklace earrings fur feathers tail ears"
    " wings mane coat body build stripes spots wheels windows leaves petals"
)
_COUNTED = _words(
    "dress shirt t-shirt suit coat jacket hat cap skirt sweater hoodie uniform scarf gown robe blouse vest helmet"
    " outfit necklace beard moustache mustache braid ponytail tail mane face body build"
)
"""Of these, one takes an article: "red coat" is a red coat, "black hair" stays black hair."""
_OF_PEOPLE = _words("young elderly middle-aged tall slim slender thin")
"""Said of who wears it, not of what is worn: "young, blonde hair" is no young hair."""
_WEARING = _words(
    "wearing holding carrying having sporting showing displaying featuring bearing dressed clad covered adorned"
    " accompanied surrounded equipped decorated made painted"
)
"""Participles that take a noun, or that no noun of looks follows."""
_DETERMINERS = _words("a an the his her its their two three some many")
_PLAIN = _words(
    "tall short old young big small red white black brown blue green gray grey dark light bright slim thin large long"
    " round blonde blond fair bald wide narrow clean new elderly middle-aged"
)
_ADJECTIVAL = ("y", "ed", "ful", "ous", "ish", "en", "ive", "less", "ic", "able")
_PLACES = dict.fromkeys(_words("center centre middle foreground background distance upper lower"), "in the ")
_PLACES |= dict.fromkeys(_words("left right far"), "on the ") | dict.fromkeys(_words("top bottom"), "at the ")
_LIT = re.compile(r"light|\blit\b|illuminat|shadow|\bsun|glow|lamp|\bneon\b", re.IGNORECASE)
_LED = ("ing", "ed")


@dataclass(frozen=True)
class Naming:
    """How one subject is spoken of."""

    first: str
    """Where it is first named: the woman, another woman."""
    again: str
    """After that: she, the person."""
    own: str
    """What is its own: her, the person's."""
    noun: str
    """The bare noun: woman."""
    plural: bool
    human: bool

    @property
    def be(self) -> str:
        return "are" if self.plural else "is"

    @property
    def have(self) -> str:
        return "have" if self.plural else "has"


def shot(caption: Caption) -> str:
    """`A close-up at eye level, seen from the front.`, as much of it as is said; `other` says nothing."""
    angle, position = ANGLES.get(caption.shot_angle, ""), POSITIONS.get(caption.shot_position, "")
    size = SHOTS.get(caption.shot_type, "a shot" if angle or position else "")
    whole = ", ".join(filter(None, (f"{size} {angle}".strip(), position)))
    return sentence(whole)


def subject(
    found: Subject, noun: str, nth: int, texts: Sequence[tuple[str, str]], alone: bool = True
) -> list[str]:
    """The sentences of one subject: one a field of `texts` (name, text), the subject named first.

    `nth` counts the subjects of this noun before it. Nothing said gives the bare mention.
    """
    naming = named(found.TYPES.type, noun, nth, alone)
    sentences: list[str] = []
    for field, text in texts:
        who = naming.again if sentences else naming.first
        sentences.append(sentence(_FIELDS[field](text, who, naming, bool(sentences))))
    if not re.search(rf"\b{re.escape(naming.noun)}\b", " ".join(sentences), re.IGNORECASE):
        sentences.insert(0, sentence(f"there {naming.be} {_some(naming, nth)}"))
    return sentences


def named(kind: str, noun: str, nth: int, alone: bool = True) -> Naming:
    """The ways to speak of the nth subject of a noun; without `alone`, no pronoun that could mean another."""
    head = noun.lower().split(" of ")[0]
    words = head.split()
    plural = is_plural(head)
    the = f"the {noun}" if nth == 0 else f"the other {noun}"
    first = [f"the {noun}", f"other {noun}" if plural else f"another {noun}"][min(nth, 1)]
    if nth > 1 and not plural:
        first = f"a {_ORDINALS[min(nth, len(_ORDINALS) - 1)]} {noun}"
    pair = ("they", "their") if plural else _pronouns(kind, set(words))
    again, own = pair if pair and alone else (the, f"{the}'" if the.endswith("s") else f"{the}'s")
    return Naming(first, again, own, noun, plural, kind.lower() == "human")


def is_plural(noun: str) -> bool:
    """Whether a noun is of several: people, policemen, dogs, a man and woman; a group of people is one."""
    head = noun.lower().split(" of ")[0]
    last = head.split()[-1] if head.split() else ""
    many = last.endswith("men") or (
        last.endswith("s") and not last.endswith(("ss", "us", "is")) and len(last) > 3
    )
    return last in _PLURALS or (many and last not in _SINGULARS) or len(pair(head)) == 2


def is_several(noun: str) -> bool:
    """Whether a noun is of more than one: a plural, or a group, crowd, couple ..."""
    head = noun.lower().split(" of ")[0]
    return is_plural(noun) or bool(set(head.split()[-1:]) & _GROUPS)


def pair(noun: str) -> list[str]:
    """The two people of "man and woman"; a black and white cat is no two."""
    both = noun.split(" and ")
    people = len(both) == 2 and all(one.split() and one.split()[-1].lower() in _PERSONS for one in both)
    return both if people else [noun]


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "further")


def _pronouns(kind: str, words: set[str]) -> tuple[str, str] | None:
    if words & _FEMALE:
        return "she", "her"
    if words & _MALE:
        return "he", "his"
    return None if kind.lower() == "human" else ("it", "its")


def _some(naming: Naming, nth: int) -> str:
    if nth:
        return naming.first
    return " and ".join(one if is_plural(one) else article(one) for one in pair(naming.noun))


def article(noun: str) -> str:
    """`an owl`, `a woman`, `a uniform`, `an hour`."""
    vowel = noun[:1].lower() in tuple("aeiou") and not _SPOKEN_YU.match(noun)
    return f"{'an' if vowel or _SILENT_H.match(noun) else 'a'} {noun}"


_SPOKEN_YU = re.compile(r"uni(?![nm])|us[ei]|eu|one\b|ut[ei]|ukr", re.IGNORECASE)
_SILENT_H = re.compile(r"hour|honest|heir|honou?r", re.IGNORECASE)


# --- one rule a field: (text, who, naming, introduced) -> words of a sentence


def _action(text: str, who: str, naming: Naming, introduced: bool) -> str:
    first, second = _first_two(text)
    if first in _SENTENCE or first in _ARTICLES:
        return _referring(text, who, naming, introduced)
    if second in _PERSONS or second in naming.noun.lower().split():
        # "Tired man sits": a sentence without its article.
        return f"{naming.first}: {lowered(text)}"
    lead = second if first.endswith("ly") and second else first
    if _participle(lead) or first in _STATES or (first in _PREPOSITIONS and first != "to"):
        return f"{who} {naming.be} {lowered(text)}"
    if _third_person(lead) or (naming.plural and lead not in _NOT_VERBS and first != "to"):
        return f"{who} {_agreeing(lowered(text), lead, naming)}"
    return f"{naming.first}: {lowered(text)}"


def _appearance(text: str, who: str, naming: Naming, introduced: bool) -> str:
    first, second = _first_two(text)
    if first in _SENTENCE:
        return _referring(text, who, naming, introduced)
    if first in _HAS:
        return f"{who} {_agreeing(lowered(text), first, naming)}"
    head = _before_preposition(text)
    own = {naming.noun.lower(), *naming.noun.lower().split()}
    named_there = bool(head) and (head[-1] in _PERSONS or head[-1] in own)
    said_of = _participle(first) or first in _STATES
    bound = first in _WEARING or second in _DETERMINERS or second in _PREPOSITIONS or second.endswith("ly")
    if said_of and (bound or not (named_there or set(head) & _WORN)):
        return f"{who} {naming.be} {lowered(text)}"
    if first in _PREPOSITIONS and first != "with":
        return f"{who} {naming.be} {lowered(text)}"
    if named_there:
        noun = lowered(text) if first in _ARTICLES or naming.plural else article(lowered(text))
        return f"{who} {naming.be} {noun}"
    worn = [word for word in head if word in _WORN]
    if worn:
        sure = head[0] not in _OF_PEOPLE and not _unsure(text)
        had = _counted(text, worn[0], naming.plural) if first not in _ARTICLES else lowered(text)
        return f"{who} {naming.have} {had}" if sure and had else f"{naming.first}: {lowered(text)}"
    if head and all(word in _PLAIN or word == "and" or word.endswith(_ADJECTIVAL) for word in head):
        return f"{who} {naming.be} {lowered(text)}"
    return f"{naming.first}: {lowered(text)}"


def _counted(text: str, worn: str, plural: bool) -> str:
    """What is worn, with the article that one thing takes; empty where that cannot be told: "body armour".

    "Red coat" is a red coat, "dress shoes" are dress shoes; of several people, nobody knows whose coat it is.
    """
    after = re.split(rf"\b{re.escape(worn)}\b", text.lower(), maxsplit=1)[-1].strip(" .")
    follows = re.split(r"[^\w'-]", after, maxsplit=1)[0]
    if worn not in _COUNTED or follows in _WORN:
        return lowered(text)
    alone = not follows or follows in ("and", "or") or follows in _PREPOSITIONS
    return article(lowered(text)) if alone and not plural else ""


def _unsure(text: str) -> bool:
    """Does a participle after a comma speak of somebody else than what is had: "blonde hair, wearing a coat"?"""
    return any(part.split(" ")[0] in _WEARING for part in re.split(r",\s*", text.lower())[1:])


def _expression(text: str, who: str, naming: Naming, introduced: bool) -> str:
    first, second = _first_two(text)
    if (first, second) == ("the", "person") and naming.human and not naming.plural:
        # "The person smiles", of a woman: not somebody else.
        verb = text.split(" ", 2)[2:]
        if verb and _first_two(verb[0])[0] in _FACES | {"is"}:
            return f"{who} {verb[0]}"
    if first in _SENTENCE:
        return _referring(text, who, naming, introduced)
    if first in _FACES:
        return f"{who} {_agreeing(lowered(text), first, naming)}"
    if _participle(first):
        return f"{who} {naming.be} {lowered(text)}"
    if first in ("a", "an"):
        return f"{who} {naming.have} {lowered(text)}"
    if first in _ARTICLES or first in _PREPOSITIONS:
        return f"{naming.first}: {lowered(text)}"
    if "expression" in _before_preposition(text):
        return f"{who} {naming.have} {article(lowered(text))}"
    named_own = naming.own if introduced else f"{naming.first}'{'' if naming.first.endswith('s') else 's'}"
    return f"{named_own} expression is {lowered(text)}"


def _position(text: str, who: str, naming: Naming, introduced: bool) -> str:
    first, _ = _first_two(text)
    if first in _SENTENCE:
        return _referring(text, who, naming, introduced)
    if _participle(first) or first in _STATES or first in _PREPOSITIONS or first.endswith("ly"):
        return f"{who} {naming.be} {lowered(text)}"
    if first in _PLACES:
        return f"{who} {naming.be} {_PLACES[first]}{lowered(text)}"
    if _third_person(first):
        return f"{who} {_agreeing(lowered(text), first, naming)}"
    return f"{naming.first}: {lowered(text)}"


_FIELDS = {
    "action": _action,
    "appearance": _appearance,
    "expression": _expression,
    "position": _position,
}


def _referring(text: str, who: str, naming: Naming, introduced: bool) -> str:
    """A sentence as it is, but that a pronoun gives way to the name before anyone was named, and to the right one
    after: another man nods, and she is he. Where the number differs, the name and a colon stand before it."""
    first, _, rest = text.partition(" ")
    pronoun = first.lower()
    if pronoun not in ("she", "he", "they", "it"):
        return text
    if introduced and {pronoun, naming.again} not in ({"he", "she"}, {"it", "they"}):
        return text
    if (pronoun == "they") != naming.plural:
        return text if introduced else f"{naming.first}: {lowered(text)}"
    return f"{who} {rest}"


def environment(text: str) -> str:
    """The place, a noun phrase or a sentence as it stands."""
    first, _ = _first_two(text)
    return sentence(f"the scene is set {lowered(text)}" if first in _PREPOSITIONS else text)


def lighting(text: str) -> str:
    """The light: a text that names it as it stands, words that only describe it in a sentence."""
    if _LIT.search(text) or "." in text.rstrip("."):
        return sentence(text)
    words = [lowered(word.strip(" .")) for word in text.split(",") if word.strip(" .")]
    has = [word for word in words if word.endswith(("tone", "tones", "contrast"))]
    are = [word for word in words if word not in has]
    told = f"is {', '.join(are)}" if are else ""
    with_ = f"{', with' if are else 'has'} {' and '.join(has)}" if has else ""
    return sentence(f"the lighting {told}{with_}")


def camera(text: str) -> str:
    """The camera's motion as a sentence about the camera."""
    first, second = _first_two(text)
    if re.search(r"camera|\bshots?\b", text, re.IGNORECASE):
        return sentence(text)
    lead = second if first.endswith("ly") and second else first
    if _participle(lead) or first in _STATES:
        return sentence(f"the camera is {lowered(text)}")
    if _third_person(lead):
        return sentence(f"the camera {lowered(text)}")
    return sentence(f"camera motion: {lowered(text)}")


# --- words


def sentence(text: str) -> str:
    """The text with a capital at its head and a full stop at its end; empty stays empty."""
    text = text.strip()
    if not text:
        return ""
    ended = text.endswith((".", "!", "?", "…", '."', '!"', '?"', ".”", "!”", "?”", ".)"))
    return text[0].upper() + text[1:] + ("" if ended else ".")


def lowered(text: str) -> str:
    """The text with a small letter at its head, where its first word is an ordinary word with a capital."""
    word = text.split(" ", 1)[0]
    return text[0].lower() + text[1:] if word == "A" or word[1:].islower() else text


def _first_two(text: str) -> tuple[str, str]:
    words = re.findall(r"[\w'-]+", text.lower())
    return (words[0] if words else ""), (words[1] if len(words) > 1 else "")


def _third_person(word: str) -> bool:
    """Whether a first word looks like a verb of the third person: walks, is."""
    if word in ("is", "are", "has", "was"):
        return True
    return word.endswith("s") and not word.endswith(("ss", "us", "is")) and word not in _NOT_VERBS


def _agreeing(text: str, verb: str, naming: Naming) -> str:
    """The text with its first verb as several people do it, where they are several: they walk, the people look."""
    if not naming.plural or not _third_person(verb):
        return text
    many = {"is": "are", "has": "have", "was": "were", "does": "do", "goes": "go"}.get(verb)
    many = many or re.sub(r"(?<=\w[^aeiou])ies$", "ys", re.sub(r"(?<=ss|sh|ch|zz|.x)es$", "s", verb))[:-1]
    return re.sub(rf"\b{re.escape(verb)}\b", many, text, count=1, flags=re.IGNORECASE)


def _participle(word: str) -> bool:
    return word.endswith(_LED) and word not in _NOT_ING and len(word) > 4


def _before_preposition(text: str) -> list[str]:
    """The words of the first sentence up to its first preposition or participle."""
    words: list[str] = []
    for word in re.findall(r"[\w'-]+", re.split(r"[.;:]", text.lower(), maxsplit=1)[0]):
        if words and (word in _PREPOSITIONS or word.endswith("ing")):
            break
        words.append(word)
    return words
