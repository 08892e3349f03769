"""What a language model's prompt text must be before it is believed: whole, of one language, and about the clip."""

from __future__ import annotations

import re
from collections.abc import Sequence

from captioner.guards import has_markup, other_language, refuses, repeated
from captioner.schema import Subject
from captioner.serialize import UNNAMED, Language, is_chinese, noun

MOST_CHARS: dict[Language, int] = {"en": 3_000, "zh": 1_000}
"""Above what 512 tokens hold, the length that the text encoder of Wan 2.1 takes. Ours."""
_ABOUT_ITSELF = re.compile(
    r"\bjson\b|\bcaptions?\b|\bthe notes?\b|\bprompt\b|\bparagraph\b|\bdescription of the\b|\bas an ai\b"
    r"|\blanguage model\b|\bi (?:cannot|can't|am unable)\b|^(?:sure|certainly|here is|here's|okay)\b"
    r"|\bnot (?:mentioned|specified|provided)\b|```|[{}]|\*\*|^#"
    r"|根据记录|记录中|提示词|标题：|好的，|以下是|作为.{0,4}(?:AI|人工智能|语言模型)|未提及|没有提到",
    re.IGNORECASE,
)
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
        or any(found[0].lower() not in notes.lower() for found in _ABOUT_ITSELF.finditer(text))
    ):
        return "it speaks of its own task or holds markup"
    if again := repeated(text):
        return again
    lost = [noun(subject, language) for subject in subjects if not names(text, subject, language)]
    return f"it does not name {len(lost)} of {len(subjects)} subjects" if lost else ""


def names(text: str, subject: Subject, language: Language) -> bool:
    """Whether a text speaks of a subject by its sub-type or type; of people, by any word for people."""
    human = subject.TYPES.type.lower() == "human" or subject.TYPES.type == "人物"
    if human and (_HUMAN if language == "en" else _HUMAN_ZH).search(text):
        return True
    called = noun(subject, language)
    if language == "zh":
        return called == UNNAMED["zh"] or any(char in text for char in called)
    wanted = [word for word in re.findall(r"\w+", f"{called} {subject.TYPES.type}".lower()) if len(word) > 2]
    return any(re.search(rf"\b{re.escape(word.rstrip('s'))}", text, re.IGNORECASE) for word in wanted)
