"""What short texts of a caption claim, as sets that can be compared: camera motions, emotions, places in the picture.

A model of meanings takes "pans left" and "pans right" for nearly the same; these words are few, so they are listed.
English and Chinese. The lists are ours; the seven emotions are Ekman's six and neutral, as SkyReels-V2's classifier has
them (arXiv 2504.13074, 3.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import combinations

from captioner import motion_words
from captioner.motion_words import THEN, Claims
from captioner.motion_words import motions as motions

_EMOTIONS = {
    "happy": r"\bhapp(?:y|i)|\bsmil|\bjoy(?!less)|\bcheer(?!less)|\blaugh|\bgrin(?!d)|\bdelight|\bpleas(?:ed|ure)"
    r"|\bamus(?!ement park)|\bcontent(?:ed|ment)?\b"
    r"|快乐|高兴|开心|微笑|笑|喜",
    "sad": r"\bsad(?!dle)|\bsorrow|\bcry(?!st|pt)|\bcries|\btear(?:s|y|ful\w*)\b|\bmelanchol|\bgloom|\bgrie[fv]"
    r"|\bunhapp|悲|伤心|难过|哭|忧郁|不高兴|不开心",
    "angry": r"\bang(?:er|ry)|\bfur(?:y|ious)|\brag(?:e|es|ing)\b|\birritat|\bannoy|\bscowl|\bglar(?:e|es|ing)\b"
    r"|愤怒|生气|恼",
    "afraid": r"\bfear(?!less)|\bafraid|\bscared|\bfright|\bterrif(?!ic)|\banxi|\bpanic|恐惧|害怕|惊恐|焦虑",
    "surprised": r"\bsurpris|\bshock|\bastonish|\bamaz|\bstartl|\bdisbelief|惊讶|吃惊|震惊|意外",
    "disgusted": r"\bdisgust|\brevuls|\brepuls|\bgrimac|厌恶|嫌弃|反感",
    "neutral": r"\bneutral|\bcalm|\bcomposed(?! of)|\brelaxed|\bexpressionless|\bblank(?:ly)?\b|\bimpassive"
    r"|\bunchanging|平静|中性|无表情|冷静|淡然",
}
_NEGATED = re.compile(
    r"\b(?:no|not(?! only)|without|hardly|never|neither|nor|lacks?|\w+n't|\w+n’t)\b(?:(?!\bbut\b)[^,.;])*$"
    r"|(?:没有|不|无)[^，。；]*$",
    re.IGNORECASE,
)
_PLACES = {
    "left": r"\bleft|左",
    "right": r"\bright|右",
    "center": r"\bcent(?:er|re|ral)|\bmiddle\b(?! ?ground)|中央|中间|中心|居中",
    "top": r"\btop|\bupper|上方|顶部|上部",
    "bottom": r"\bbottom|\blower|下方|底部|下部",
    "foreground": r"\bforeground|\bfront of the (?:frame|picture)|前景",
    "background": r"\bbackground|\bdistance\b|\bfar away|背景|远处|后景",
}


def emotions(text: str) -> Claims:
    """The emotions that a text names and does not deny; empty: none of the seven."""
    return _named(_EMOTIONS, text)


def places(text: str) -> Claims:
    """The sides and depths of the picture that a text names and does not deny; empty: none."""
    return _named(_PLACES, text)


def _named(patterns: Mapping[str, str], text: str) -> Claims:
    return frozenset(
        name
        for name, pattern in patterns.items()
        if any(not _NEGATED.search(text[: hit.start()]) for hit in re.finditer(pattern, text, re.IGNORECASE))
    )


def _emotion_phases(text: str) -> tuple[Claims, ...]:
    return tuple(emotions(part) for part in THEN.split(text))


def _whole(text: str) -> tuple[Claims, ...]:
    return (places(text),)


CLAIMS: Mapping[str, Callable[[str], tuple[Claims, ...]]] = {
    "camera_motion": motion_words.phases,
    "expression": _emotion_phases,
    "position": _whole,
}
"""By field, what reads its claims, phase by phase."""


def agreement(true: tuple[Claims, ...], said: tuple[Claims, ...]) -> float | None:
    """How far two texts claim the same, 0 to 1; None where one of them claims nothing.

    Claims of both among the claims of either (Jaccard 1901), so that naming everything earns no more than guessing. Of
    the pairs of them that both put in an order, those in the opposite order count half (ours).
    """
    one, other = frozenset[str]().union(*true), frozenset[str]().union(*said)
    if not one or not other:
        return None
    shared = len(one & other) / len(one | other)
    both = [_signs(_first(true, a, b), _first(said, a, b)) for a, b in combinations(sorted(one & other), 2)]
    ordered = [sign for sign in both if sign]
    return shared * (1 - 0.5 * sum(sign < 0 for sign in ordered) / len(ordered)) if ordered else shared


def _first(phases: tuple[Claims, ...], one: str, other: str) -> int:
    """Below 0 where the one comes first, above where the other does, 0 together."""
    begins = {claim: n for n, claims in reversed(list(enumerate(phases))) for claim in claims}
    return begins[one] - begins[other]


def _signs(true: int, said: int) -> int:
    """1: the same order, -1: the opposite, 0: one of them has none."""
    return 0 if true == 0 or said == 0 else 1 if (true < 0) == (said < 0) else -1
