"""What a language model's prompt text must be before it is believed: whole, of one language, and about the clip."""

from __future__ import annotations

import re
from collections.abc import Sequence

from captioner.guards import has_address, has_markup, instructs, other_language, refuses, repeated
from captioner.schema import Subject
from captioner.serialize import UNNAMED, Language, is_chinese, noun
from captioner.spelling import is_human

MOST_CHARS: dict[Language, int] = {"en": 3_000, "zh": 1_000}
"""Above what 512 tokens hold, the length that the text encoder of Wan 2.1 takes. Ours."""
_ABOUT_ITSELF = re.compile(
    r"\bjson\b|\bcaptions?\b|\bthe notes?\b|\bprompt\b|\bparagraph\b|\bdescription of the\b|\bas an ai\b"
    r"|\blanguage model\b|\bi (?:cannot|can't|am unable)\b|^(?:sure|certainly|here is|here's|okay)\b"
    r"|\bnot (?:mentioned|specified|provided)\b|```|[{}]|\*\*|^#"
    r"|根据记录|记录中|提示词|标题：|好的，|以下是|作为.{0,4}(?:AI|人工智能|语言模型)|未提及|没有提到",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?:^|[.!?;] )(?:\w+|(?:main|shot|camera|facial|light|time) \w+|the (?:environment|subject|camera|lighting)): "
    r"|(?:^|[。；！？])(?:镜头|景别|光线|环境|背景|动作|外貌|外观|表情|位置|主体|人物|运镜|女子|男子)[：:]",
    re.IGNORECASE,
)
"""A form's label where prose should stand: "Lighting: dim"."""
_CAMERA = re.compile(
    r"\bthe (?:handheld )?camera (?:\w+ly |then |also |is |remains |stays |keeps |begins to |starts to )*"
    r"(?:pan|tilt|zoom|doll|truck|track|mov|follow|rotat|roll|orbit|circl|pull|push|glid|sweep|shak|whip"
    r"|static|still\b|stationary|steady|fixed)"
    r"|\b(?:panning|tracking|dolly|zooming|zoom|tilting|crane|trucking) shot\b"
    r"|(?<![着向朝对])镜头(?:缓|慢|快|随后|然后)?[^，。]{0,3}?(?:摇|移动|平移|横移|推进|拉远|跟随|固定不动|静止|环绕|升起|抖动)",
    re.IGNORECASE,
)
"""The camera's motion, which the serializer appends in the expert's own words."""
_NOUNS = (
    re.compile(r"\b(?:wom[ae]n|girls?|lady|ladies)\b|女", re.IGNORECASE),
    re.compile(r"\b(?:m[ae]n|boys?|gentlem[ae]n)\b|男", re.IGNORECASE),
)
_PRONOUNS = (
    re.compile(r"\b(?:she|hers?|herself)\b|她", re.IGNORECASE),
    re.compile(r"\b(?:he|him|his|himself)\b|(?<!其)他(?!们)", re.IGNORECASE),
)
"""Words for women, and for men."""
_HUMAN = re.compile(
    r"\b(?:wom[ae]n|m[ae]n|girls?|boys?|lady|ladies|gentlem[ae]n|persons?|people|child(?:ren)?|kids?|bab(?:y|ies)|individuals?"
    r"|figures?|adults?|teenagers?|s?he|they|her|him|his)\b",
    re.IGNORECASE,
)
_HUMAN_ZH = re.compile("[她他人]|女|男|孩|婴|儿童")


def fault(text: str, language: Language, subjects: Sequence[Subject], notes: str = "") -> str:
    """What is wrong with a fused text, in one sentence that repeats nothing of it; empty: nothing is.

    Words about writing are allowed where the `notes` that it was made from have them: a caption may be in the picture.
    """
    if not any(char.isalnum() for char in text):
        return "it is empty"
    if "\n" in text:
        return "it is not one paragraph"
    if len(text) > MOST_CHARS[language]:
        return f"it has {len(text)} characters, at most {MOST_CHARS[language]} are allowed"
    if is_chinese(text) != (language == "zh") or other_language(text, language):
        return f"it is not written in {'Chinese' if language == 'zh' else 'English'}"
    if (
        refuses(text)
        or has_markup(text)
        or instructs(text)
        or (has_address(text) and not has_address(notes))
        or _LABEL.search(text)
        or any(found[0].lower() not in notes.lower() for found in _ABOUT_ITSELF.finditer(text))
    ):
        return "it speaks of its own task or holds markup"
    if again := repeated(text):
        return again
    if _CAMERA.search(text):
        return "it tells how the camera moves, which is told already"
    if _other_sex(text, subjects, notes):
        return "it makes a woman a man, or a man a woman"
    lost = [noun(subject, language) for subject in subjects if not names(text, subject, language)]
    return f"it does not name {len(lost)} of {len(subjects)} subjects" if lost else ""


def names(text: str, subject: Subject, language: Language) -> bool:
    """Whether a text speaks of a subject by its sub-type or type; of people, by any word for people."""
    if is_human(subject.TYPES.type) and (_HUMAN if language == "en" else _HUMAN_ZH).search(text):
        return True
    called = noun(subject, language)
    if language == "zh":
        return called == UNNAMED["zh"] or any(char in text for char in called)
    wanted = [word for word in re.findall(r"\w+", f"{called} {subject.TYPES.type}".lower()) if len(word) > 2]
    return any(re.search(rf"\b{re.escape(word.rstrip('s'))}", text, re.IGNORECASE) for word in wanted)


def _other_sex(text: str, subjects: Sequence[Subject], notes: str) -> bool:
    """Whether all people of a clip are of one sex by their names and the text has only words for the other.

    Words that the notes hold as well do not count; a pronoun does where there are people alone.
    """
    people = [one for one in subjects if is_human(one.TYPES.type)]
    kinds = (_NOUNS, _PRONOUNS) if len(people) == len(subjects) else (_NOUNS,)
    called = [f"{one.TYPES.type} {one.TYPES.sub_type}" for one in people]
    for own, other in ((0, 1), (1, 0)):
        if not called or not all(_NOUNS[own].search(name) for name in called):
            continue
        said = {found[0].lower() for kind in kinds for found in kind[other].finditer(text)}
        known = {found[0].lower() for kind in kinds for found in kind[other].finditer(notes)}
        return bool(said - known) and not any(kind[own].search(text) for kind in kinds)
    return False
