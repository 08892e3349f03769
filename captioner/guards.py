"""Guards over a model's text that need no schema: loops, language, what stands for nothing. All bounds are ours.

A caption of a real model repeats a word or two and mixes in a foreign name; the bounds lie well beyond that.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from itertools import pairwise

from captioner.schema import clean
from captioner.spelling import word_set

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


_ENGLISH = word_set(
    "the and of is are with to while wearing from by its their in his her for this that as it at into behind a an on or"
    " he she they near over has wears left right against toward towards"
)
"""Words that English prose, even in telegrams, can hardly do without."""
_OTHERS = word_set(
    "de la le les des et une un du est dans sur qui der das und ein eine einen mit ist auf el los las que con una del"
    " il di che per da uma um com em het een van met och som"
)
"""Such words of French, German, Spanish, Italian, Portuguese, Dutch and Swedish that English has not."""
_SEEN = word_set(
    "man woman men women person people boy girl child dog cat car face camera shot static light lights lighting lit"
    " dark bright soft warm black white red blue green brown grey gray yellow blonde long short hair eyes hand hands"
    " shirt dress coat jacket hat wall room window street city sky tree trees grass water table background foreground"
    " center centre middle frame side front back young old day night calm daylight sunlight shadows slowly still"
)
"""Words that captions in English have where they do without the former, as in telegrams."""
_NOTHING = frozenset(
    (
        *("n a", "na", "none", "null", "nil", "unknown", "not visible", "not applicable", "not specified"),
        *("not available", "unspecified", "undefined", "tbd", "string", "no expression"),
        *("无", "未知", "不适用", "没有", "不详", "看不到", "无法判断"),
    )
)
_FACELESS = re.compile(
    r"(?:there is |has |it has |shows )?(?:no|not|none|without|nothing|neutral|n/?a)\b|无|没有|不适用",
    re.IGNORECASE,
)
_WRITING = re.compile(
    r"\b(?:sign(?:s|board|age|post)?|posters?|billboards?|banners?|screens?|monitors?|labels?|logos?|watermarks?"
    r"|subtitles?|titles?|captions?|captioned|text|letters|lettering|words?|writing|written|printed|reads?|reading"
    r"|says|saying|spells?|code|graffiti|tattoos?|plates?|websites?|terminal|inscription)\b"
    r"|写着|写有|字样|标语|招牌|海报|屏幕|文字|字幕|标志|水印|代码|牌子|横幅",
    re.IGNORECASE,
)
"""A sentence about something to read: what it quotes belongs to the picture."""
_QUOTED = re.compile(r"\"[^\"]*\"|\u201c[^\u201c\u201d]*\u201d|\u300c[^\u300c\u300d]*\u300d")
_TASK = (
    r"(?:(?: to)?(?: \w+ly)? (?:access|assist|help|describe|analy[sz]e|caption|identify|recogni[sz]e|watch|view"
    r"|process|provide|generate|create|comply|fulfil+|answer|comment|discuss|do (?:that|this|so)|the ability)\b"
    r"|.*\b(?:videos?|images?|pictures?|photos?|clips?|frames?|footage|files?|content|media|requests?|questions?|tasks?"
    r"|captions?|descriptions?)\b)"
)
"""What a model speaks of that declines: its task. "We cannot see his face" speaks of the picture."""
_REFUSAL = re.compile(
    r"^(?:(?:unfortunately|regrettably|however|but|note that|sadly|it (?:seems|appears)(?: that)?)[, ]+)?"
    r"(?:i(?:'m| am) (?:so |very |really |truly |deeply )?sorry|sorry(?:,? (?:but|i|we|as)\b|$)"
    r"|(?:my |please accept my )?apolog(?:y|ies)\b|(?:i|we) apologi[sz]e"
    r"|(?:as|being) an? (?:large |multimodal |text[- ]based )*(?:ai|artificial|language|vision|assistant|chatbot)\b"
    rf"|(?:i|we) (?:can(?:no|')t|can not|could(?: not|n't)|won't|will not|do(?:n't| not) (?:have|see|know))\b{_TASK}"
    rf"|(?:i(?:'m| am| was)|we(?:'re| are)) (?:not able|unable|not sure|not allowed)\b{_TASK}"
    r"|(?:i(?:'m| am)|we(?:'re| are)) (?:just |only )?an? (?:large )?(?:ai|artificial|language|vision)\b"
    r"|(?:i(?:'m| am)|we(?:'re| are)) (?:just |only )?an? (?:assistant|chatbot)\b"
    rf"|(?:i|we) (?:need|would need|require) (?:more (?:information|details?|context|data)|(?:more|the|a|to)\b{_TASK})"
    r"|(?:no|there (?:is|are|was|were) no) (?:video|image|picture|clip|frame|file)s? "
    r"(?:(?:was|were|is|are|has been|have been) )?"
    r"(?:provided|given|attached|uploaded|supplied|sent|shared|to describe)\b"
    r"|the (?:video|image|picture|clip|frame|file)s? (?:was|were|is|are) not "
    r"(?:provided|given|attached|supplied|shared)\b"
    r"|the (?:video|image|picture|clip|frame|file)s? (?:could not|cannot|can't|can not|did not|failed to) "
    r"(?:be )?(?:load|open|access|process|display|read|analy)"
    r"|(?:it is|it's) (?:not possible|impossible) to (?:describe|analy[sz]e|caption|process|identify)\b"
    rf"|please (?:provide|upload|share|send|attach|ask|try)\b"
    rf"(?:{_TASK}|.*\b(?:again|another|different|else|me|us|information|details?|context)\b)"
    r"|(?:非常|很|十分)?抱歉|对不起|作为(?:一个|一名)?(?:人工智能|ai|语言模型|大语言)"
    r"|我(?:无法|不能|没有办法)(?:查看|看到|识别|描述|观看|分析|提供)|无法(?:查看|识别|描述|分析|加载)(?:该|此|这|图|视频|画面)"
    r"|(?:没有|未)提供(?:任何)?(?:图|视频|画面|帧)|请(?:您)?(?:提供|上传))",
    re.IGNORECASE,
)
_ORDER = re.compile(
    r"^(?:please )?(?:ignore|disregard|forget|override) (?:\w+ ){0,4}?"
    r"(?:instructions?|prompts?|rules|above|previous|messages?)\b"
    r"|\b(?:previous|prior|above|earlier|system) (?:instructions?|prompts?)\b"
    r"|\bnew instructions?:|\b(?:output|print|reveal|repeat) (?:\w+ ){0,2}prompt\b|^you are now\b"
    r"|(?:忽略|无视)(?:以上|之前|所有|前面|上述).{0,6}(?:指令|指示|内容|要求|规则|提示)|系统提示",
    re.IGNORECASE,
)
_OF_THE_TASK = re.compile(
    r"\b(?:in|from|at|by|between|see|to) frames? \d|\b(?:provided|given|supplied) (?:video )?"
    r"(?:frames?|images?|pictures?|videos?|clips?)\b"
    r"|\b(?:frames?|images?|video|clip) (?:you )?(?:provided|sent|shared)\b"
    r"|\blorem ipsum\b|\binsert \w+ here\b",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"<[/!]?[a-z_][^<>]{0,200}>|</[a-z]|[<\u2039\u3008\uff1c]\s*[|\uff5c][^<>]{0,64}>?", re.IGNORECASE
)
_BRACKETED = re.compile(r"\[[^\[\]]{1,100}\]|\{\{|\$\{")
_MARKUP = re.compile(
    r"[{\[]\s*[\"']?\w+[\"']?\s*:|```|\*\*[^*\s]|^#{1,6} |&(?:[a-z]{2,6}|#\d+);|\\[nrtu\"]|\]\("
)
_ADDRESS = re.compile(
    r"\bhttps?:|\bwww\.|\b[\w.+-]+@\w[\w-]*\.\w|\+\d[\d ()-]{7,}",
    re.IGNORECASE,
)
_TURN = re.compile(r"(?:^|[.!?] )(?:user|assistant|system)\s*:", re.IGNORECASE)


def tokens(text: str) -> list[str]:
    """The words of a text in lower case; in Chinese, Japanese and Korean its characters."""
    return _TOKEN.findall(text.casefold())


def repeated(text: str) -> str:
    """How a text repeats itself, as one sentence; empty where it does not.

    Eight times the same signs on end, sixteen where all are digits; a word or pair of words four times on end, or
    longer phrases (up to 64 words) three times, and two times more where commas stand between ("no, no, no, no"); one
    sentence of six words or more twice, of four or five on end or three times; or under half of its triples of words
    distinct, of 40.
    """
    tail = text[-_WINDOW:]
    if any(len(one[0]) >= 16 or not one[0].isdigit() for one in _STUTTER.finditer(tail)):
        return "the same signs come again and again"
    words = tokens(tail)
    apart = _apart(tail)
    for period in range(1, min(_LONGEST_PERIOD, len(words) // 3) + 1):
        times = 4 if period <= 2 else 3
        plain = _longest_run(apart, period) >= period * (times - 1)
        if plain or _longest_run(words, period) >= period * (times + 1):
            return f"the same {'word comes' if period == 1 else f'{period} words come'} again and again"
    if _sentence_twice(sentences(tail)):
        return "a sentence comes twice"
    triples = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    if len(triples) >= 40 and 2 * len(set(triples)) < len(triples):
        return "most of it is said more than once"
    return ""


def _sentence_twice(said: list[str]) -> bool:
    """Does a sentence come again, a short one on end or twice more? He may throw the ball, run, and throw the ball."""
    on_end = {one for one, following in pairwise(said) if one == following}
    return any(
        count > 1 and (len(tokens(one)) >= 6 or (len(tokens(one)) >= 4 and (count > 2 or one in on_end)))
        for one, count in Counter(said).items()
    )


def _apart(text: str) -> list[str]:
    """The words of a text, each that has a comma after it like no other: there a run of repetitions ends."""
    plain = text.casefold()
    return [
        f"{one[0]},{one.start()}" if plain[one.end() : one.end() + 1] in (",", "\uff0c", "\u3001") else one[0]
        for one in _TOKEN.finditer(plain)
    ]


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

    English: over a fifth of the letters of another script, more little words of other languages than of English, 30
    words with hardly one of these, or 12 with hardly one of these or of the words that captions are made of.
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
    if len(words) >= 30 and english < len(words) * 0.03:
        return True
    looks = english + sum(word in _SEEN or word.endswith(("ing", "ed", "ly")) for word in words)
    return len(words) >= 12 and looks < len(words) * 0.07


def other_script(text: str, language: str) -> bool:
    """Is a text in the main of another script than its language's? What it quotes, or says to be written, may be.

    English: over half of three letters or more. Chinese: eight letters or more without one Chinese character.
    """
    letters = [char for char in _QUOTED.sub("", text) if char.isalpha()]
    if language == "zh":
        return len(letters) >= 8 and not any(re.match(f"[{HAN}]", char) for char in letters)
    strange = sum(not unicodedata.name(char, "").startswith("LATIN") for char in letters)
    return len(letters) >= 3 and 2 * strange > len(letters) and not _WRITING.search(text)


def _is_latin(word: str) -> bool:
    """Are a word's letters, of which it has some, all of Latin script?"""
    letters = [char for char in word if char.isalpha()]
    return bool(letters) and all(unicodedata.name(char, "").startswith("LATIN") for char in letters)


def stands_for_nothing(text: str) -> bool:
    """Is a text one of the ways to say that there is nothing to say: "N/A", "...", "-", "x", "unknown", "无"?"""
    said = " ".join(re.sub(r"[\W_]+", " ", text).split()).casefold()
    return bool(text) and (not said or said in _NOTHING or (len(said) == 1 and said.isascii()))


def names_no_feeling(text: str) -> bool:
    """Does an expression say that there is none: "No visible expression.", "Not applicable to a car.", "无表情"?"""
    return bool(_FACELESS.match(text))


def refuses(text: str) -> bool:
    """Does a sentence of a text decline to answer: "I'm sorry, but ...", "No frames were provided."?

    What stands in quotes is somebody's in the picture.
    """
    return any(
        _REFUSAL.match(one.strip("*_ ")) for one in sentences(_QUOTED.sub("", text).replace("\u2019", "'"))
    )


def instructs(text: str) -> bool:
    """Does a sentence give orders to a model ("Ignore all previous instructions"), and not as something to read?"""
    return any(_ORDER.search(one) and not _WRITING.search(one) for one in sentences(_QUOTED.sub("", text)))


def of_the_task(text: str) -> bool:
    """Does a text speak of the frames that were sent, or hold filler, where it should say what they show?"""
    return any(_OF_THE_TASK.search(one) and not _WRITING.search(one) for one in sentences(text))


def has_markup(text: str) -> bool:
    """Are there special tokens of a chat template, tags, JSON, bold type, roles or addresses in a text?

    In a sentence about something to read, square brackets and addresses are a part of the picture.
    """
    if _TAG.search(text) or _MARKUP.search(text) or _TURN.search(text):
        return True
    return any(
        (_BRACKETED.search(one) or _ADDRESS.search(one)) and not _WRITING.search(one)
        for one in sentences(text)
    )


def has_address(text: str) -> bool:
    """Is there an address of the web, of mail or of a telephone in a text?"""
    return bool(_ADDRESS.search(text))


def without_tags(text: str) -> str:
    """The text without the brackets of tags and tokens, where all of them stand in sentences about something to read.

    "A sign reads <|OPEN|>" says OPEN; what no sign could say stays as it is, for `has_markup` to see.
    """
    found = [one for one in sentences(text) if _TAG.search(one)]
    if not found or not all(_WRITING.search(one) for one in found):
        return text
    return _TAG.sub(lambda tag: re.sub(r"[<>|\u2039\u203a\u3008\u3009\uff1c\uff1e\uff5c]", "", tag[0]), text)


def breaks_off(text: str) -> bool:
    """Does an English text end in the middle: with "a", "and", "of the"?"""
    return bool(re.search(r"\b(?:a|an|the|and|or|of|with|his|its|their)$", text))


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
