"""What a model means by another word: a shot's name for one of the schema's, a kind of person for `Human`. All ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import get_args

from captioner.schema import EXPRESSIVE_TYPES, ShotAngleValue, ShotPositionValue, ShotTypeValue

VOCABULARIES: Mapping[str, tuple[str, ...]] = {
    "shot_type": get_args(ShotTypeValue),
    "shot_angle": get_args(ShotAngleValue),
    "shot_position": get_args(ShotPositionValue),
}


def _listed(means: Mapping[str, str]) -> dict[str, str]:
    return {word: meant for meant, words in means.items() for word in words.split()}


SYNONYMS: Mapping[str, Mapping[str, str]] = {
    "shot_type": _listed(
        {
            "long_shot": "wide extremelong extremewide verylong verywide establishing panoramic ls ws els ews",
            "full_shot": "full fullbody wholebody fs",
            "medium_shot": "mediumlong mediumwide mediumfull cowboy american midrange mid waistup ms mls",
            "close_up": "close closeups mediumcloseup mediumclose tightcloseup bust cu mcu",
            "extreme_close_up": "bigcloseup macro detail insert ecu xcu extremeclose",
        }
    ),
    "shot_angle": _listed(
        {
            "eye_level": "eye level straighton straight neutral normal chestlevel shoulderlevel levelcamera",
            "high_angle": "overhead topdown birdseye aerial slightlyhigh veryhigh above fromabove",
            "low_angle": "wormseye groundlevel slightlylow verylow below frombelow",
            "other": "dutch tilted canted oblique",
        }
    ),
    "shot_position": _listed(
        {
            "front_view": "frontal frontfacing facing frontside",
            "back_view": "rear behind frombehind backside",
            "side_view": "profile sideprofile leftside rightside leftprofile rightprofile lateral",
            "overhead_view": "topdown top birdseye directlyabove",
            "point_of_view": "pov firstperson subjective",
            "over_the_shoulder": "ots overshoulder",
            "aerial_view": "drone",
            "overlooking_view": "elevated highvantagepoint fromabove",
            "other": "threequarter threequarters",
        }
    ),
}
"""By field, bare words (`bare`) that mean one of the schema's; a medium close-up holds head and chest, so is close."""


def word_set(text: str) -> frozenset[str]:
    """The words of a list that is written with spaces between them."""
    return frozenset(text.split())


_PEOPLE = word_set(
    "human humans person persons people individual individuals man men woman women boy boys girl girls child children"
    " kid kids baby babies infant toddler adult adults teenager teenagers teen lady ladies gentleman gentlemen crowd"
)
_ROLES = word_set(
    "male female couple family audience character characters actor actress dancer singer musician performer athlete"
    " player soldier worker speaker presenter policeman policewoman officer pedestrian pedestrians chef cook waiter"
    " waitress doctor nurse teacher student driver rider cyclist runner swimmer skier surfer climber fisherman farmer"
    " businessman businesswoman bride groom monk priest king queen"
    " 人 人类 人物 人们 人群 角色 男人 女人 男性 女性 男子 女子 男孩 女孩 孩子 儿童 小孩 婴儿 老人 青年 成人"
)
"""People, where the word stands alone: the last word of a CD player is none."""
_ANIMALS = word_set(
    "animal animals wildlife pet pets mammal reptile insect creature dog dogs puppy cat cats kitten bird birds horse"
    " horses cow cows sheep elephant elephants bear zebra giraffe lion tiger monkey fish rabbit deer fox wolf duck"
    " chicken goat pig dolphin whale owl squirrel"
    " 动物 狗 小狗 猫 小猫 鸟 马 牛 羊 鱼 兔子 熊 老虎 狮子 猴子 大象"
)
_BROAD = word_set("human humans animal animals 人 人类 人物 动物")
"""Words for a type that say no more than the type does."""

_PARTS = re.compile(r"[/(,>:|;、（]")


def bare(word: str) -> str:
    """Its letters alone, without "shot", "view" or "angle" at the end: Close-up shot, close_up -> closeup."""
    letters = re.sub(r"[^a-z]", "", word.casefold())
    return re.sub(r"(?<=.)(shot|view|angle)+$", "", letters)


def term(field: str, word: str) -> str:
    """The word of a field's vocabulary (`VOCABULARIES`) that is meant; an unknown one stays as it is."""
    letters = bare(word)
    known = {bare(one): one for one in VOCABULARIES[field]}
    return known.get(letters) or SYNONYMS[field].get(letters, word)


def is_human(kind: str) -> bool:
    """Is a subject's type a word for people: Human, Woman, 人物?"""
    return _category(kind) == "Human"


def types(kind: str, sub_kind: str) -> tuple[str, str]:
    """Type and sub-type with people as `Human` and animals as `Animal`: Woman gives (Human, Woman).

    A sub-type that is said stays; another kind of thing stays as it is.
    """
    category = _category(kind)
    if kind.casefold() in EXPRESSIVE_TYPES or not category:
        return kind, sub_kind
    first, *rest = _PARTS.split(kind, maxsplit=1)
    narrow = "".join(rest).strip(" )）") if first.strip().casefold() in _BROAD else kind
    return category, sub_kind or narrow


def _category(kind: str) -> str:
    """Human or Animal by the word or, of a phrase, what stands before a slash or a bracket; of people also by the last
    word: a young woman is human, a teddy bear no animal."""
    phrase = _PARTS.split(kind.casefold().strip(" .。"), maxsplit=1)[0].strip()
    if phrase in _ANIMALS:
        return "Animal"
    return "Human" if phrase in _ROLES or phrase.rsplit(" ", 1)[-1] in _PEOPLE else ""
