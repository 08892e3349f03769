"""What short texts of a caption claim, as sets that can be compared: camera motions, emotions, places in the picture.

A model of meanings takes "pans left" and "pans right" for nearly the same; these words are few, so they are listed.
English and Chinese. The lists are ours; the seven emotions are Ekman's six and neutral, as SkyReels-V2's classifier has
them (arXiv 2504.13074, 3.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Claims = frozenset[str]

_KINDS = {
    "zoom": r"\bzoom|变焦|放大|缩小",
    "roll": r"\broll|\bspin|\brotat|\bdutch|翻滚|旋转",
    "orbit": r"\borbit|\barcs?\b|\bcircl|\brevolv|环绕|绕",
    "follow": r"\bfollow|\btrack(?:s|ing)?\b|跟随|跟拍",
    "dolly": r"\bdoll(?:y|ies|ied)|\bpush|\bpull"
    r"|\bmov\w+ (?:\w+ly )?(?:closer|in\b|into|forward|toward|back|away|out\b)|推|拉|前进|后退",
    "truck": r"\btruck|\bslid|\blateral|\bmov\w+ (?:\w+ly )?(?:to the )?(?:left|right)|\bcrab|横移|平移|左移|右移",
    "pedestal": r"\bpedestal|\bcrane|\bboom|\brises?\b|\brising|\blowers?\b|\bascend|\bdescend"
    r"|\bmov\w+ (?:\w+ly )?(?:up|down)|升|降",
    "tilt": r"\btilt|上摇|下摇|仰|俯",
    "pan": r"\bpan(?:s|ned|ning)?\b|\bwhips?\b|左摇|右摇|摇",
}
_WAYS = {
    "left": r"\bleft|左",
    "right": r"\bright|右",
    "up": r"\bup(?:ward)?|\brises?\b|\brising|\bascend|\braises?\b|上|升|仰",
    "down": r"\bdown|\blowers?\b|\bdescend|下|降|俯",
    "in": r"\bin(?:to|ward)?\b|\bcloser|\btoward|\bforward|推|放大|前进|靠近",
    "out": r"\bout|\baway|\bback|拉|缩小|后退|远",
}
_OF_KIND: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("pan", "truck"), ("left", "right")),
    **dict.fromkeys(("tilt", "pedestal"), ("up", "down")),
    **dict.fromkeys(("zoom", "dolly"), ("in", "out")),
    **dict.fromkeys(("roll", "orbit", "follow"), ()),
}
_STILL = re.compile(
    r"\bstatic|\bstill\b|\bfixed|\bstationary|\blocked|\bmotionless|\bunmoving|\b(?:no|without|not?) (?:\w+ )?mov"
    r"|\bdoes(?:n't| not) move|固定|静止|不动",
    re.IGNORECASE,
)
_SHAKEN = re.compile(r"\bhand-?held|\bshak|\bwobbl|\bjitter|手持|晃动|抖动", re.IGNORECASE)
_CLAUSES = re.compile(
    r"[,.;，。；、]|\bthen\b|\band\b|\bwhile\b|\bbefore\b|\bfollowed by\b|然后|接着|随后|同时"
)

_EMOTIONS = {
    "happy": r"\bhapp|\bsmil|\bjoy|\bcheer|\blaugh|\bgrin|\bdelight|\bpleas(?:ed|ure)|\bamus|\bcontent\b"
    r"|快乐|高兴|开心|微笑|笑|喜",
    "sad": r"\bsad|\bsorrow|\bcry|\bcries|\btear|\bmelanchol|\bgloom|\bgrie[fv]|\bunhappy|悲|伤心|难过|哭|忧郁",
    "angry": r"\bang(?:er|ry)|\bfur(?:y|ious)|\brage|\birritat|\bannoy|\bscowl|\bglar(?:e|es|ing)\b|愤怒|生气|恼",
    "afraid": r"\bfear|\bafraid|\bscared|\bfright|\bterrif|\banxi|\bpanic|恐惧|害怕|惊恐|焦虑",
    "surprised": r"\bsurpris|\bshock|\bastonish|\bamaz|\bstartl|\bdisbelief|惊讶|吃惊|震惊|意外",
    "disgusted": r"\bdisgust|\brevuls|\brepuls|\bgrimac|厌恶|嫌弃|反感",
    "neutral": r"\bneutral|\bcalm|\bcomposed|\brelaxed|\bexpressionless|\bblank|\bimpassive|\bunchanging"
    r"|平静|中性|无表情|冷静|淡然",
}
_NEGATED = re.compile(
    r"\b(?:no|not|without|hardly|never|nor|isn't|un)\b[^,.;]*$|(?:没有|不|无)[^，。；]*$", re.IGNORECASE
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


def motions(text: str) -> Claims:
    """What a text claims of the camera: `pan left`, `zoom in`, `orbit`, `still`, `handheld` ...; empty: not known."""
    found: set[str] = set()
    last = ""
    for clause in _CLAUSES.split(text.lower()):
        kinds = [kind for kind, pattern in _KINDS.items() if re.search(pattern, clause)]
        ways = [way for way, pattern in _WAYS.items() if re.search(pattern, clause)]
        if kinds:
            last = kinds[0]
        elif ways and last:
            kinds = [last] if set(ways) & set(_OF_KIND[last]) else _of_ways(ways)
        for kind in kinds[:1]:
            told = [f"{kind} {way}" for way in _OF_KIND[kind] if way in ways]
            found |= set(told) or {kind}
    if _SHAKEN.search(text):
        found.add("handheld")
    if not found - {"handheld"} and _STILL.search(text):
        found.add("still")
    return frozenset(found)


def _of_ways(ways: list[str]) -> list[str]:
    """The kind that directions alone mean: `pans left, then up` tilts."""
    return [kind for kind in ("pan", "tilt", "zoom") if set(ways) & set(_OF_KIND[kind])]


def emotions(text: str) -> Claims:
    """The emotions that a text names and does not deny; empty: none of the seven."""
    return frozenset(
        name
        for name, pattern in _EMOTIONS.items()
        if any(not _NEGATED.search(text[: hit.start()]) for hit in re.finditer(pattern, text, re.IGNORECASE))
    )


def places(text: str) -> Claims:
    """The sides and depths of the picture that a text names; empty: none."""
    return frozenset(name for name, pattern in _PLACES.items() if re.search(pattern, text, re.IGNORECASE))


CLAIMS = {"camera_motion": motions, "expression": emotions, "position": places}
"""By field, what reads its claims."""
