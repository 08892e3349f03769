"""Guards over a model's text that need no schema: loops, language, what stands for nothing. All bounds are ours.

A caption of a real model repeats a word or two and mixes in a foreign name; the bounds lie well beyond that.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from captioner.schema import clean

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
KANA, HANGUL = "\u3040-\u30ff", "\uac00-\ud7af"
_TOKEN = re.compile(rf"[{HAN}{KANA}{HANGUL}]|[^\W{HAN}{KANA}{HANGUL}]+")
"""A word; in scripts without spaces, a character."""
_END = re.compile(r"(?<=[.!?;])\s+|(?<=[\u3002\uff01\uff1f\uff1b])")
_STUTTER = re.compile(r"(\S{1,8}?)\1{7,}")
"""Eight times the same few signs without a space between them: "!!!!!!!!", "lalalalalalalala"."""
_LONGEST_PERIOD = 64
_WINDOW = 4_096
"""Signs that are looked at, from the end: a loop goes on until the end."""
_ENGLISH = frozenset(
    (
        *(
            "the",
            "and",
            "of",
            "is",
            "are",
            "with",
            "to",
            "while",
            "wearing",
            "from",
            "by",
            "its",
            "their",
            "in",
        ),
        *(
            "his",
            "her",
            "for",
            "this",
            "that",
            "as",
            "it",
            "at",
            "into",
            "behind",
            "a",
            "an",
            "on",
            "or",
            "he",
        ),
        *("she", "they", "near", "over", "has", "wears", "left", "right", "against", "toward", "towards"),
    )
)
"""Words that English prose, even in telegrams, can hardly do without."""
_OTHERS = frozenset(
    (
        *("de", "la", "le", "les", "des", "et", "une", "un", "du", "est", "dans", "sur", "qui", "der", "das"),
        *("und", "ein", "eine", "einen", "mit", "ist", "auf", "el", "los", "las", "que", "con", "una", "del"),
        *("il", "di", "che", "per", "da", "uma", "um", "com", "em", "het", "een", "van", "met", "och", "som"),
    )
)
"""Such words of French, German, Spanish, Italian, Portuguese, Dutch and Swedish that English has not."""
_NOTHING = frozenset(
    (
        *("n a", "na", "none", "null", "nil", "unknown", "not visible", "not applicable", "not specified"),
        *("not available", "unspecified", "undefined", "tbd", "string", "no expression"),
        *("无", "未知", "不适用", "没有", "不详", "看不到", "无法判断"),
    )
)
_REFUSAL = re.compile(
    r"^(i'?m sorry|i am sorry|sorry,|i can(?:no|')t |as an ai |i'?m (?:not able|unable) to "
    r"|抱歉|对不起|很抱歉|作为(?:一个|一名)?(?:人工智能|ai))",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"<\|.{0,64}?\|>|</?(?:s|think|tool_call|system|assistant|user|script)>|\{\s*\"\w+\"\s*:|```"
)
"""Special tokens of chat templates, tags, and JSON within a text."""


def tokens(text: str) -> list[str]:
    """The words of a text in lower case; in Chinese, Japanese and Korean its characters."""
    return _TOKEN.findall(text.casefold())


def repeated(text: str) -> str:
    """How a text repeats itself, as one sentence; empty where it does not.

    Eight times the same signs on end; a word or pair of words four times on end, or longer phrases (up to 64 words)
    three times; one sentence of four words or more twice; or under half of its triples of words distinct, of 40.
    """
    tail = text[-_WINDOW:]
    if _STUTTER.search(tail):
        return "the same signs come again and again"
    words = tokens(tail)
    for period in range(1, min(_LONGEST_PERIOD, len(words) // 3) + 1):
        times = 4 if period <= 2 else 3
        if _longest_run(words, period) >= period * (times - 1):
            return f"the same {'word comes' if period == 1 else f'{period} words come'} again and again"
    if any(count > 1 and len(tokens(one)) >= 4 for one, count in Counter(sentences(tail)).items()):
        return "a sentence comes twice"
    triples = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    if len(triples) >= 40 and 2 * len(set(triples)) < len(triples):
        return "most of it is said more than once"
    return ""


def _longest_run(words: list[str], period: int) -> int:
    """Words on end that are equal to the one `period` before them."""
    longest = run = 0
    for i in range(period, len(words)):
        run = run + 1 if words[i] == words[i - period] else 0
        longest = max(longest, run)
    return longest


def sentences(text: str) -> list[str]:
    """The sentences of a text, in lower case and without their last sign."""
    return [one for part in _END.split(text.casefold()) if (one := part.strip(" .!?;,。！？；，"))]


def other_language(text: str, language: str) -> bool:
    """Is a text surely not in the language asked for ("en" or "zh")? A few foreign words are no fault.

    English: over a fifth of the letters of another script, more little words of other languages than of English, or 30
    words with hardly one of these.
    Chinese: a Latin word counts as two characters, and Chinese characters must be half of all; kana are Japanese.
    """
    words = tokens(text)
    han = sum(bool(re.match(f"[{HAN}]", word)) for word in words)
    other = sum(bool(re.match(f"[{KANA}{HANGUL}]", word)) for word in words)
    latin = [word for word in words if _is_latin(word)]
    if language == "zh":
        strange = sum(not _is_latin(word) and word.isalpha() for word in words) - han
        whole = han + 2 * len(latin) + 2 * strange
        return whole >= 8 and (2 * han < whole or 10 * other > han)
    letters = sum(char.isalpha() for char in text)
    foreign = letters - sum(char.isalpha() for word in latin for char in word)
    if letters >= 8 and 5 * foreign > letters:
        return True
    english, others = (sum(word in known for word in words) for known in (_ENGLISH, _OTHERS))
    if others > english and len(words) >= 12 and others >= len(words) * 0.05:
        return True
    return len(words) >= 30 and english < len(words) * 0.03


def _is_latin(word: str) -> bool:
    """Are a word's letters, of which it has some, all of Latin script?"""
    letters = [char for char in word if char.isalpha()]
    return bool(letters) and all(unicodedata.name(char, "").startswith("LATIN") for char in letters)


def stands_for_nothing(text: str) -> bool:
    """Is a text one of the ways to say that there is nothing to say: "N/A", "...", "-", "unknown", "无"?"""
    said = " ".join(re.sub(r"[\W_]+", " ", text).split()).casefold()
    return bool(text) and (not said or said in _NOTHING)


def refuses(text: str) -> bool:
    """Does a text decline to answer: "I'm sorry, but ...", "As an AI ..."?"""
    return bool(_REFUSAL.match(text))


def has_markup(text: str) -> bool:
    """Are there special tokens of a chat template, tags or JSON in a text?"""
    return bool(_MARKUP.search(text))


def unfenced(text: str) -> str:
    """A plain answer without a thinking model's thoughts, a code fence or quotes around it, on one line, cleaned."""
    text = without_thoughts(text)
    fence = re.fullmatch(r"\s*```[a-z]*\s*\n(.*?)\n?```\s*", text, re.DOTALL)
    text = clean(fence[1] if fence else text)
    pairs = {('"', '"'), ("\u201c", "\u201d"), ("\u300c", "\u300d")}
    quoted = len(text) > 1 and (text[0], text[-1]) in pairs and text[0] not in text[1:-1]
    return text[1:-1].strip() if quoted else text


def without_thoughts(text: str) -> str:
    """What comes after a thinking model's thoughts."""
    return text.rsplit("</think>", 1)[-1]
