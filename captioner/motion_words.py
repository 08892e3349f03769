"""What a text claims of the camera, phase by phase: `pan left`, `zoom in`, `orbit`, `still`, `handheld` ...

English and Chinese, the lists are ours. What is denied is no claim ("no shake"; "does not move" claims `still`), nor is
what somebody else does ("static, as the car moves left").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

Claims = frozenset[str]

_KINDS = {
    "zoom": r"\bzoom|变焦|放大|缩小",
    "orbit": r"\borbit|\barcs?\b|\bcircl|\brevolv|\b(?:rotat|spin)\w* around|环绕|绕",
    "roll": r"\broll|\bspin|\brotat|\bdutch|翻滚|旋转",
    "follow": r"\bfollow|\btrack(?:s|ing)?\b|跟随|跟拍",
    "dolly": r"\bdoll(?:y|ies|ied)|\bpush|\bpull"
    r"|\bmov\w+ (?:\w+ly )?(?:closer|in\b|into|forward|toward|back|away|out\b)|推|拉|前进|后退",
    # a truck is a vehicle as well
    "truck": r"\btrucking|\btruck(?:s|ed)?\b(?= (?:\w+ly )?(?:to the )?(?:left|right|sideways|along|shot|with))"
    r"|\bslid|\blateral|\bmov\w+ (?:\w+ly )?(?:to the )?(?:left|right)|\bcrab|横移|平移|左移|右移|向[左右]移",
    "pedestal": r"\bpedestal|\bcrane|\bboom|\brises?\b|\brising|\blowers?\b|\bascend|\bdescend"
    r"|\bmov\w+ (?:\w+ly )?(?:up|down)|升|降",
    "tilt": r"\btilt|上摇|下摇|仰|俯",
    "pan": r"\bpan(?:s|ned|ning)?\b|\bwhips?\b|左摇|右摇|摇",
}
_TRAVELS = ("truck", "pedestal", "dolly")
_CAMERAS_ALONE = ("zoom", "pan")
"""Nothing but a camera does them."""
_WAYS = {
    "left": r"\bleft|左",
    "right": r"\bright|右",
    "up": r"\bup(?:ward)?|\brises?\b|\brising|\bascend|\braises?\b|上|升|仰",
    "down": r"\bdown|\blowers?\b|\bdescend|下|降|俯",
    "in": r"\bin(?:to|ward)?\b|\bcloser|\btoward|\bforward|推|放大|前进|靠近",
    "out": r"\bout|\baway|\bback|拉|缩小|后退|远",
    "clockwise": r"\bclockwise|顺时针",
    "counterclockwise": r"\bcounter-?clockwise|\banti-?clockwise|逆时针",
}
_TURNS = ("left", "right", "clockwise", "counterclockwise")
_OF_KIND: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("pan", "truck"), ("left", "right")),
    **dict.fromkeys(("tilt", "pedestal"), ("up", "down")),
    **dict.fromkeys(("zoom", "dolly"), ("in", "out")),
    **dict.fromkeys(("roll", "orbit"), _TURNS),
    "follow": (),
}
_STILL = r"\bstatic|\bstill\b|\bfixed|\bstationary|\blocked|\bmotionless|\bunmoving|固定|静止|不动"
_STEADY = (
    r"\b(?:steady|stable)\b(?! (?!(?:shot|camera|fram\w+|view|image|picture|footage|handheld|long|medium|close|wide"
    r"|on|at|in|with|for|from|during|throughout)\b)\w)|稳定|平稳|稳固"
)
"""Of a camera that is not said to move: a steady pan is a pan, and a steady pace goes somewhere."""
_GOES = (
    r"\bmov|\bmotion|\bpac(?:e|es|ing)\b|\bspeed|\btravel|\bglid|\bfl(?:y|ies|ying)\b|\bfloat|\bdrift|\bsweep"
    r"|\bwalk|\badvanc|\bapproach|\bretreat|\bcam\b|移|运动|行|飞|滑|速|掠"
)
"""A camera's going, whichever way."""
_NO_MOTION = re.compile(r"\W*(?:none|no|nil|无|没有|无运动)\W*")
"""All that is said of the camera's motion: there is none."""
_MOVEMENT = r"\bmov|\bmotion|移动|运动|(?<![晃抖])动"
_SHAKEN = r"\bhand-?held|\bshak|\bwobbl|\bjitter|手持|晃动|抖动"

THEN = re.compile(
    r"\bthen\b|\bbefore\b|\bfollowed by\b|\bfinally\b|\bafterwards?\b|\bafter that\b"
    r"|\b(?:turn|chang|shift|giv)\w* (?:to|into|way to)\b|然后|接着|随后|最后|再",
    re.IGNORECASE,
)
"""What parts one phase from the next."""
_CLAUSES = re.compile(
    r"([,.;:，。；、]|\band\b|\bor\b|\bnor\b|\bbut\b|\bonly\b|\binstead\b|\bexcept\b|\bother than\b|\bapart from\b"
    r"|\bwhile\b|\bas\b|\bwhen\b|\bwhere\b|同时|但)"
)
_SAME_DENIAL = re.compile(r"[,、，]|and|or|nor")
"""After these a denial goes on: `no pan, tilt or zoom`."""
_DENIES = re.compile(
    r"\b(?:no|not(?! only)|without|never|neither|nor|hardly|barely|lacks?|free of|\w+n't|\w+n’t)\b"
    r"|没有|没|不(?![断停])|无(?!人机)|未"
)
_STATES = re.compile(
    r"\b(?:camera|it|pans|tilts|zooms|rolls|dollies|trucks|moves|follows|tracks|orbits|pulls|pushes|holds|stays)\b"
)
"""A clause with one of these says something of its own."""
_RELATIVE = re.compile(r"\b(?:who|whose|which|that)\b.*")
_ACROSS = (
    (re.compile(r"\b(?:the )?left(?: side)? to (?:the )?right"), "right"),
    (re.compile(r"\b(?:the )?right(?: side)? to (?:the )?left"), "left"),
    (re.compile(r"\b(?:the )?(?:bottom|down) to (?:the )?(?:top|up)"), "up"),
    (re.compile(r"\b(?:the )?(?:top|up) to (?:the )?(?:bottom|down)"), "down"),
    (re.compile(r"左(?:侧|边)?(?:向|到|至|往)右"), "右"),
    (re.compile(r"右(?:侧|边)?(?:向|到|至|往)左"), "左"),
)
"""`from left to right` goes right."""
_DETERMINER = re.compile(r"\b(?:the|an?|his|her|their|its|one|two|three|some|several|both)\b")
_OTHERS = re.compile(
    r"\b(?:he|she|they|we|you|someone|everyone|people|men|women|children|cars|birds|dogs|waves|clouds)\b"
    r"|^(?:(?!镜头|相机|摄像机|画面).)*?(?:[他她]|(?<!无)人|男|女|孩|车|狗|猫|鸟|马)"
)
_CAMERA = re.compile(
    r"\b(?:camera|shot|frame|view|viewpoint|lens|image|picture|footage|perspective|video|clip|drone|gimbal"
    r"|motion|movement|start|beginning|end|first|second|half|whole|scene|left|right|top|bottom|side)\b"
    r"|镜头|相机|摄像机|画面|无人机"
)
"""What the camera, a part of the clip or of the picture is called."""
_QUALITIES = re.compile(
    r"\b(?:slow|gentle|smooth|steady|slight|quick|fast|subtle|gradual|continuous|sudden|abrupt|long|short|brief"
    r"|slow-motion|moving|static|fixed|little|bit|very|full|wide|close|\w+ly|\w+wards?|sideways|lateral)\b"
)
_FILLERS = re.compile(
    r"\b(?:then|finally|again|to|the|towards?|from|it|and|back|a|bit|little|once|more|side|slight|\w+ly)\b"
    r"|[\s.]|再|又|向|往|朝|方|侧|缓慢|快速|慢慢"
)


def phases(text: str) -> tuple[Claims, ...]:
    """The claims of each phase that makes any, in order; `still` only where nothing else is claimed but `handheld`.

    "None" is still: it is said of the camera's motion.
    """
    text = text.lower()
    if _NO_MOTION.fullmatch(text):
        return (frozenset({"still"}),)
    for pattern, way in _ACROSS:
        text = pattern.sub(way, text)
    goes = any(_of_camera("", _GOES, said) >= 0 for part in THEN.split(text) for said, _ in _clauses(part))
    last = ""
    found: list[set[str]] = []
    for part in THEN.split(text):
        claims: set[str] = set()
        for said, denied in _clauses(part):
            if not goes and _of_camera("", _STEADY, said) >= 0:
                claims.add("still")
            told, last = _claimed(said, last)
            claims |= told
            if re.search(_MOVEMENT, denied) and not _by_another(denied):
                claims.add("still")
        found.append(claims)
    moved = set().union(*found) - {"still", "handheld"}
    kept = (claims - {"still"} if moved else claims for claims in found)
    return tuple(frozenset(claims) for claims in kept if claims)


def motions(text: str) -> Claims:
    """The claims of all phases together; empty: not known."""
    return frozenset().union(*phases(text))


def _clauses(text: str) -> Iterator[tuple[str, str]]:
    """Each clause as what it says and what it denies."""
    parts = ["", *_CLAUSES.split(text)]
    goes_on = False
    for mark, clause in zip(parts[::2], parts[1::2], strict=True):
        goes_on = goes_on and _SAME_DENIAL.fullmatch(mark) is not None and not _STATES.search(clause)
        here = _DENIES.search(clause)
        if goes_on or mark == "nor":
            yield "", clause
        elif here:
            goes_on = True
            yield clause[: here.start()], clause[here.start() :]
        else:
            yield clause, ""


def _claimed(clause: str, last: str) -> tuple[set[str], str]:
    """What a clause claims, and the kind of motion that directions alone go on with."""
    clause = _RELATIVE.sub("", clause)
    found: set[str] = set()
    kinds = [(kind, at) for kind, pattern in _KINDS.items() if (at := _of_camera(kind, pattern, clause)) >= 0]
    if kinds:
        last, at = kinds[0]
        found.add(_directed(last, clause, at))
    elif last and _only_ways(clause):
        ways = [way for way, pattern in _WAYS.items() if re.search(pattern, clause)]
        kind = last if set(ways) & set(_OF_KIND[last]) else _of_ways(ways, last)
        found |= {_directed(kind, clause, 0)} if kind else set()
    for name, pattern in (("handheld", _SHAKEN), ("still", _STILL)):
        if _of_camera(name, pattern, clause) >= 0:
            found.add(name)
    return found, last


def _of_camera(kind: str, pattern: str, clause: str) -> int:
    """Where a clause says this of the camera; -1 nowhere."""
    hits = (hit.start() for hit in re.finditer(pattern, clause))
    return next((at for at in hits if kind in _CAMERAS_ALONE or not _by_another(clause[:at])), -1)


def _by_another(before: str) -> bool:
    """Whether the words before a verb name one who is not the camera."""
    for other in _OTHERS.finditer(before):
        if not _CAMERA.search(before, other.end()):
            return True
    determiners = list(_DETERMINER.finditer(before))
    if not determiners:
        return False
    named = before[determiners[-1].end() :]
    return not _CAMERA.search(named) and bool(re.search(r"\w", _QUALITIES.sub("", named)))


def _directed(kind: str, clause: str, at: int) -> str:
    """The kind with its direction: the first that is named after it, else the first before it."""
    ways = [
        (hit.start() < at, hit.start(), way)
        for way in _OF_KIND[kind]
        for hit in re.finditer(_WAYS[way], clause)
    ]
    return f"{kind} {min(ways)[2]}" if ways else kind


def _only_ways(clause: str) -> bool:
    """Whether a clause is a direction and no more."""
    rest = clause
    for pattern in _WAYS.values():
        rest = re.sub(pattern, "", rest)
    return rest != clause and not _FILLERS.sub("", rest)


def _of_ways(ways: list[str], last: str) -> str:
    """The kind that directions alone mean: `pans left, then up` tilts, `moves left, then up` rises."""
    kinds = _TRAVELS if last in _TRAVELS else ("pan", "tilt", "zoom")
    return next((kind for kind in kinds if set(ways) & set(_OF_KIND[kind])), "")
