"""What a model's text is worth: a caption, or a fault of a known kind. Nothing is believed as it was written.

Spelling is forgiven and noted (a code fence, prose around the one object, "Close-up" for `close_up`, Woman for Human,
"N/A" for an empty string); content is not. A fault's sentence is made of our own words and the schema's names alone, so
that it can be told to the model again: nothing that the model wrote, and so nothing that it read in the picture, comes
back as an instruction.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from captioner.generate import Finish
from captioner.guards import (
    breaks_off,
    has_markup,
    instructs,
    names_no_feeling,
    of_the_task,
    other_language,
    other_script,
    refuses,
    repeated,
    sentences,
    stands_for_nothing,
    tokens,
    without_tags,
)
from captioner.prompt import Template
from captioner.schema import EXPRESSIVE_TYPES, Caption, Subject, Types, clean
from captioner.spelling import VOCABULARIES, bare, term, types

MAX_ANSWER_CHARS = 1 << 16
"""Of a whole answer: the longest released caption has under 4,000 signs. Ours."""
MAX_TEXT_CHARS = 2_048
"""Of one text: three times the longest of the released captions. Ours."""
MAX_DEPTH = 6
"""Of nested brackets; the schema has four."""
SUBJECT_TEXTS = ("appearance", "action", "expression", "position")
CLIP_TEXTS = ("camera_motion", "environment", "lighting")
MAX_NAME_WORDS = 10
"""Of a type or sub-type, two Chinese characters counted as a word. Ours."""
_NAMES = frozenset({*Caption.model_fields, *Subject.model_fields, *Types.model_fields})
_SAID = {
    "missing": "is missing",
    "extra_forbidden": "has a key that the form does not have",
    "literal_error": "is none of the listed words",
    "string_type": "is not a text",
    "bool_type": "is neither true nor false",
    "too_long": "has too many entries",
}
"""Pydantic's kinds of faults in our words."""


class Kind(StrEnum):
    """What is wrong with a model's text."""

    EMPTY = "empty"  # nothing, or a form filled with nothing
    SIZE = "size"  # longer than any caption
    NOT_JSON = "not_json"  # prose, torn JSON, or several objects
    SCHEMA = "schema"  # a JSON object of another form, or against a rule across fields
    TRUNCATED = "truncated"  # it ran into the token limit before the object's end
    REPEATED = "repeated"  # loops, sentences and subjects that come twice
    LANGUAGE = "language"  # not the one that was asked for
    ECHOED = "echoed"  # the prompt's own words in place of an answer, a field's name, or filler
    MARKUP = "markup"  # special tokens, tags, JSON, addresses, or orders within a text
    REFUSED = "refused"  # the model declines


@dataclass(frozen=True)
class Fault:
    """Why a text is no caption."""

    kind: Kind
    sentence: str
    """Our own words: it may be told to the model."""


@dataclass(frozen=True)
class Trusted:
    """A caption, and what was forgiven in the text that it was read from."""

    caption: Caption
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expected:
    """What was asked for."""

    language: str = "en"
    echoes: frozenset[str] = frozenset()
    """The prompt's descriptions of the fields, and its sentences."""

    @classmethod
    def of(cls, template: Template) -> Expected:
        """What a template asks for: its language, and all that it says itself."""
        said = re.sub(r"\$\w+", "\n\n", f"{template.system}\n\n{template.user}")
        told = {one for part in said.split("\n\n") for one in sentences(" ".join(part.split()))}
        return cls(template.language, frozenset({*template.fields.values(), *told}))


def judge(text: str, finish: Finish, expected: Expected) -> Trusted | Fault:
    """The caption in a model's answer, or the first thing that is wrong with it."""
    if len(text) > MAX_ANSWER_CHARS:
        return Fault(Kind.SIZE, f"the answer has more than {MAX_ANSWER_CHARS} characters.")
    if not clean(text):
        return Fault(Kind.EMPTY, "the answer is empty.")
    found = _object(text)
    if isinstance(found, Fault):
        return _cut(text) if finish is Finish.LENGTH and found.kind is Kind.NOT_JSON else found
    plain, notes = found
    if finish is Finish.LENGTH:
        if not text.rstrip().endswith("}"):  # a draft, perhaps: the model was not done
            return _cut(text)
        notes.append("ran on to the token limit")
    read = _caption(plain, notes)
    return read if isinstance(read, Fault) else _content(read, expected) or Trusted(read, tuple(notes))


def _cut(text: str) -> Fault:
    if loop := repeated(text):
        return Fault(Kind.REPEATED, f"the answer loops: {loop}.")
    return Fault(Kind.TRUNCATED, "the answer was cut off at the token limit: be shorter.")


# --- text -> one JSON object


class _NotPlain(ValueError):
    """A number that is none, or a key that comes twice."""


def _object(text: str) -> tuple[dict[str, Any], list[str]] | Fault:
    """The one JSON object of a text, and what stands around it."""
    notes: list[str] = []
    rest = _answer(text)
    if len(rest) < len(text):
        notes.append("thoughts left out")
    if "<think>" in rest.partition("{")[0]:
        return Fault(Kind.NOT_JSON, "there are only thoughts, no answer.")
    spans = list(_spans(rest))
    if any(span.depth > MAX_DEPTH for span in spans):
        return Fault(Kind.SCHEMA, "the JSON is nested deeper than the form.")
    spans = [span for span in spans if not span.closed or _OBJECT.match(rest, span.start)]
    whole = [span for span in spans if span.closed]
    if len({rest[span.start : span.end] for span in whole}) == 1 < len(whole) == len(spans):
        notes.append("the same object again")
        rest, whole, spans = rest[: whole[0].end], whole[:1], spans[:1]
    if len(whole) != 1 or len(spans) != 1:
        torn = "the JSON object does not end." if spans and not whole else ""
        return _declined(rest) or Fault(
            Kind.NOT_JSON, torn or f"there are {len(whole)} JSON objects in the answer, one is wanted."
        )
    (span,) = whole
    try:
        plain = json.loads(
            rest[span.start : span.end], object_pairs_hook=_pairs, parse_constant=_constant, strict=False
        )
    except _NotPlain as error:
        return Fault(Kind.SCHEMA, str(error))
    except ValueError:
        return Fault(Kind.NOT_JSON, "the JSON is not valid.")
    around = clean(rest[: span.start] + " " + rest[span.end :])
    if around:
        fenced = re.fullmatch(r"```\s*(json)?\s*```", around, re.IGNORECASE)
        notes.append("code fence" if fenced else "prose around the JSON")
    return plain, notes


_OBJECT = re.compile(r"\{\s*[\"}]")
"""What begins an object, and not a word in braces."""


def _answer(text: str) -> str:
    """What comes after a thinking model's thoughts; the mark of their end is none within an object, as on a sign."""
    thoughts, mark, after = text.partition("</think>")
    while mark:
        opened = "<think>" not in thoughts and any(not span.closed for span in _spans(thoughts))
        if opened and '"subjects"' not in after:
            return f"{thoughts}{mark}{after}"
        thoughts, mark, after = after.partition("</think>")
    return thoughts


def _declined(text: str) -> Fault | None:
    return Fault(Kind.REFUSED, "an answer is wanted, not an apology.") if refuses(clean(text)) else None


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    depth: int
    closed: bool


def _spans(text: str) -> Iterator[_Span]:
    """The outermost {...} of a text, in one pass; one that is still open at the end is not closed."""
    depth = deepest = start = 0
    in_string = escaped = False
    for place, sign in enumerate(text):
        if in_string:
            if escaped:
                escaped = False
            elif sign == "\\":
                escaped = True
            elif sign == '"':
                in_string = False
        elif sign == '"':
            in_string = depth > 0
        elif sign == "{" or (sign == "[" and depth):
            start = place if not depth else start
            depth += 1
            deepest = max(deepest, depth)
        elif sign in "}]" and depth:
            depth -= 1
            if not depth:
                yield _Span(start, place + 1, deepest, True)
                deepest = 0
    if depth:
        yield _Span(start, len(text), deepest, False)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NotPlain("a key comes twice in one object.")
    return found


def _constant(name: str) -> Any:
    raise _NotPlain("NaN and Infinity are no values.")


# --- object -> Caption


def _caption(plain: Mapping[str, Any], notes: list[str]) -> Caption | Fault:
    """The caption of a JSON object; notes what was respelled."""
    respelled = {key: _respelled(key, value, notes) for key, value in plain.items()}
    listed = respelled.get("subjects")
    if isinstance(listed, list):
        respelled["subjects"] = [_subject(one, notes) if isinstance(one, Mapping) else one for one in listed]
    still = _no_motion(plain.get("camera_motion"))
    if still and any(".TYPES." not in name for name, _ in _texts(respelled)):
        respelled["camera_motion"] = still
        notes[notes.index("camera_motion: a placeholder")] = "camera_motion: none, in a word"
    broken = _broken_rule(respelled)
    if broken is not None:
        return broken
    try:
        # As JSON, for there a list is as good as a tuple; what a text may not hold, `_respelled` has taken out.
        return Caption.model_validate_json(json.dumps(respelled))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part in _NAMES)
        return Fault(Kind.SCHEMA, f"{place or 'the object'} {_SAID.get(first['type'], 'breaks the form')}.")


def _no_motion(value: Any) -> str:
    """A camera's motion of "None" in a sentence: unlike "N/A" it says that there is none. Empty for all else."""
    word = clean(value).strip(" .。").casefold() if isinstance(value, str) else ""
    return {"none": "The camera is static.", "无": "镜头固定不动。", "没有": "镜头固定不动。"}.get(word, "")


def _respelled(key: str, value: Any, notes: list[str]) -> Any:
    """A value as the schema spells it; one that the schema does not know stays as it is."""
    if isinstance(value, Mapping):
        return {name: _respelled(name, one, notes) for name, one in value.items()}
    if isinstance(value, list):
        return [_respelled(key, one, notes) for one in value]
    if key in _NAMES and value is None:
        notes.append(f"{key}: null")
        return ""
    if not isinstance(value, str):
        return value
    text = clean(value)
    if key == "is_main_subject" and text.casefold() in ("true", "false"):
        notes.append(f"{key}: a text")
        return text.casefold() == "true"
    if key in _NAMES and stands_for_nothing(text):
        notes.append(f"{key}: a placeholder")
        return ""
    if key in VOCABULARIES:
        return _word(key, text, notes)
    if key in _NAMES and (bared := without_tags(text)) != text:
        notes.append(f"{key}: markup that the picture shows")
        return clean(bared)
    return text


def _word(key: str, text: str, notes: list[str]) -> str:
    """The vocabulary's own spelling of a word; an unknown one stays as it is."""
    found = term(key, text)
    if found != text:
        same = bare(found) == bare(text)
        notes.append(f"{key}: another {'spelling' if same else 'word'}")
    return found


def _subject(plain: Mapping[str, Any], notes: list[str]) -> Mapping[str, Any]:
    """A subject whose type is one of people or animals under the schema's name for it, and a thing without a face's
    "no expression"; one of another form stays as it is."""
    kind = plain.get("TYPES")
    if not isinstance(kind, Mapping) or not isinstance(kind.get("type"), str):
        return plain
    told = {**plain}
    if isinstance(kind.get("sub_type"), str):
        name, sub_name = types(kind["type"], kind["sub_type"])
        if name != kind["type"]:
            notes.append("type: another word")
            told["TYPES"] = {**kind, "type": name, "sub_type": sub_name}
    face = plain.get("expression")
    faceless = told["TYPES"]["type"].casefold() not in EXPRESSIVE_TYPES
    if faceless and isinstance(face, str) and names_no_feeling(face):
        notes.append("expression: none, of a thing")
        told["expression"] = ""
    return told


def _broken_rule(plain: Mapping[str, Any]) -> Fault | None:
    """The first rule across fields that is broken, as far as the form is there."""
    listed = plain.get("subjects")
    subjects = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    for number, one in enumerate(subjects):
        kind = one.get("TYPES")
        name = kind.get("type") if isinstance(kind, Mapping) else None
        if isinstance(name, str) and not name:
            return Fault(Kind.SCHEMA, f"subjects.{number}.TYPES.type is empty.")
        if one.get("expression") and isinstance(name, str) and name.casefold() not in EXPRESSIVE_TYPES:
            return Fault(
                Kind.SCHEMA,
                f"subjects.{number}.expression must be empty: only a subject of type Human or Animal has one.",
            )
    main = sum(one.get("is_main_subject") is True for one in subjects)
    if subjects and main != 1:
        return Fault(Kind.SCHEMA, f"{main} subjects have is_main_subject true, exactly one must.")
    for name, text in _texts(plain):
        if len(text) > MAX_TEXT_CHARS:
            return Fault(Kind.SIZE, f"{name} has more than {MAX_TEXT_CHARS} characters: be shorter.")
    return None


def _texts(plain: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts of an object of about the schema's form, by their names in it."""
    listed = plain.get("subjects")
    for number, one in enumerate(listed if isinstance(listed, list) else []):
        if not isinstance(one, Mapping):
            continue
        kind = one.get("TYPES")
        inner = kind if isinstance(kind, Mapping) else {}
        for name, value in (
            *((f"TYPES.{key}", inner.get(key)) for key in Types.model_fields),
            *((key, one.get(key)) for key in SUBJECT_TEXTS),
        ):
            if isinstance(value, str) and value:
                yield f"subjects.{number}.{name}", value
    for name in CLIP_TEXTS:
        if isinstance(plain.get(name), str) and plain[name]:
            yield name, plain[name]


# --- Caption -> is it worth anything?


def _content(caption: Caption, expected: Expected) -> Fault | None:
    """What is wrong with what a caption of the right form says."""
    texts = dict(_texts(caption.model_dump(mode="json")))
    prose = {name: text for name, text in texts.items() if ".TYPES." not in name}
    if not prose:
        return Fault(Kind.EMPTY, "the form is filled with nothing.")
    told = {" ".join(words): len(words) for echo in expected.echoes if len(words := tokens(echo)) >= 3}
    for name, text in texts.items():
        if found := _said(name, text, told):
            return found
    return _twice(caption, prose) or _spoken(prose, expected.language)


def _said(name: str, text: str, told: Mapping[str, int]) -> Fault | None:
    """What is wrong with one text."""
    if refuses(text):
        return Fault(Kind.REFUSED, "an answer is wanted, not an apology.")
    if has_markup(text):
        return Fault(Kind.MARKUP, f"{name} holds markup or an address: plain text is wanted.")
    if instructs(text):
        return Fault(Kind.MARKUP, f"{name} gives orders instead of saying what is seen.")
    if _echoes(text, told) or _bare_name(name) == " ".join(tokens(text.replace("_", " "))):
        return Fault(Kind.ECHOED, f"{name} repeats the description of the field instead of an answer.")
    if of_the_task(text):
        return Fault(Kind.ECHOED, f"{name} speaks of the task instead of what is seen.")
    if loop := repeated(text):
        return Fault(Kind.REPEATED, f"{name} repeats itself: {loop}.")
    if ".TYPES." in name and _name_words(text) > MAX_NAME_WORDS:
        return Fault(Kind.SCHEMA, f"{name} has more than {MAX_NAME_WORDS} words.")
    return Fault(Kind.TRUNCATED, f"{name} breaks off.") if breaks_off(text) else None


def _bare_name(name: str) -> str:
    """camera motion, of the field `camera_motion`."""
    return name.rsplit(".", 1)[-1].replace("_", " ")


def _name_words(text: str) -> float:
    return sum(1 if word.isascii() else 0.5 for word in tokens(text))


def _echoes(text: str, told: Mapping[str, int]) -> bool:
    """Is a text, or a sentence of it, one that the prompt tells (three words or more: "light" may be an answer), or
    does it hold one of six? `told` is their words, and how many."""
    said = " ".join(tokens(text))
    spoken = {said, *(" ".join(tokens(one)) for one in sentences(text))}
    return bool(spoken & told.keys()) or any(count >= 6 and words in said for words, count in told.items())


def _twice(caption: Caption, prose: Mapping[str, str]) -> Fault | None:
    """Subjects that are one, a sentence of six words that stands in fields of three kinds, and a text that most kinds
    of fields hold: several subjects may well look the same."""
    seen = [one.model_dump_json(exclude={"is_main_subject"}).casefold() for one in caption.subjects]
    if len(set(seen)) < len(seen):
        return Fault(Kind.REPEATED, "two subjects are the same in every word.")
    numbered = Counter(re.sub(r"\d+", "0", one) for one in seen)
    if max(numbered.values(), default=0) > 3:
        return Fault(Kind.REPEATED, "many subjects are the same in all but a number.")
    said: dict[str, set[str]] = {}
    kinds = {name.rsplit(".", 1)[-1] for name in prose}
    for name, text in prose.items():
        for one in {*sentences(text)}:
            said.setdefault(one, set()).add(name.rsplit(".", 1)[-1])
    for one, names in said.items():
        if len(names) > 2 and (len(tokens(one)) >= 6 or 2 * len(names) > len(kinds)):
            return Fault(Kind.REPEATED, f"one sentence stands in {len(names)} kinds of fields.")
    return None


def _spoken(prose: Mapping[str, str], language: str) -> Fault | None:
    """Whether all of it, and each text, is in the language asked for."""
    wanted = {"en": "English", "zh": "Chinese"}.get(language, language)
    if other_language(" ".join(prose.values()), language):
        return Fault(Kind.LANGUAGE, f"the texts are not in {wanted}.")
    for name, text in prose.items():
        if other_script(text, language):
            return Fault(Kind.LANGUAGE, f"{name} is not in {wanted}.")
    return None
