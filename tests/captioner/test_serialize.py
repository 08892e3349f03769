"""The serializer: golden prompts, order, dropping, silence, two languages, and nothing heavy behind it."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner import chinese
from captioner.concepts import TYPE_OF
from captioner.experts import camera_words
from captioner.experts.expression import WORDS, of_subject
from captioner.phrases import in_chinese
from captioner.schema import Caption, Subject, Types, dumps
from captioner.serialize import KINDS, Kind, Language, draw, in_language, parts, prompt, said, tidy, write

CAPTIONER = Path(__file__).parents[2] / "captioner"


def subject(kind: str, sub_type: str, main: bool = True, **texts: str) -> Subject:
    said = {"appearance": "", "action": "", "expression": "", "position": ""} | texts
    return Subject(TYPES=Types(type=kind, sub_type=sub_type), is_main_subject=main, **said)


def caption(*subjects: Subject, **fields: str) -> Caption:
    names = ("shot_type", "shot_angle", "shot_position", "camera_motion", "environment", "lighting")
    return Caption(subjects=subjects, **(dict.fromkeys(names, "") | fields))  # type: ignore[arg-type]


FULL = caption(
    subject("Animal", "Dog", main=False, action="Runs across the lawn", position="Left side of the frame"),
    subject(
        "Human",
        "Woman",
        appearance="Long, straight black hair with bangs.",
        action="Walking along the beach. She turns to the left",
        expression="Neutral, then a slight smile",
        position="Foreground, slightly left of center",
    ),
    shot_type="medium_shot",
    shot_angle="low_angle",
    shot_position="side_view",
    camera_motion="pans slowly to the right",
    environment="A beach at dusk",
    lighting="Dark, warm tones.",
)
GOLDEN: dict[tuple[Kind, Language], str] = {
    ("t2v", "en"): (
        "A medium shot from a low angle, seen from the side. The woman is walking along the beach. She turns to the"
        " left. She has long, straight black hair with bangs. Her expression is neutral, then a slight smile. She is"
        " in the foreground, slightly left of center. The dog runs across the lawn. It is on the left side of the"
        " frame. A beach at dusk. The lighting is dark, with warm tones. The camera pans slowly to the right."
    ),
    ("i2v", "en"): (
        "The woman is walking along the beach. She turns to the left. Her expression is neutral, then a slight smile."
        " The dog runs across the lawn. The camera pans slowly to the right."
    ),
    ("t2v", "zh"): "中景镜头，低角度仰拍，侧面视角。画面中有一名女子。画面中有一只狗。光线：昏暗，暖色调。",
    ("i2v", "zh"): "画面中有一名女子。画面中有一只狗。",
}
CHINESE = caption(
    subject(
        "Human",
        "女人",
        action="沿着海滩行走。",
        appearance="黑色长发",
        expression="微笑",
        position="画面左侧",
    ),
    camera_motion="向右平移",
    lighting="柔和",
    environment="黄昏的海滩",
    shot_type="close_up",
)


@pytest.mark.parametrize(("kind", "language"), GOLDEN)
def test_the_prompt_of_a_full_caption_is_exactly_this(kind: Kind, language: Language) -> None:
    assert prompt(FULL, kind, language).encode() == GOLDEN[kind, language].encode()


def test_a_chinese_caption_is_told_in_chinese() -> None:
    assert prompt(CHINESE, "t2v", "zh") == (
        "特写。女人沿着海滩行走。女人，黑色长发。女人的表情：微笑。女人位于画面左侧。黄昏的海滩。光线：柔和。镜头向右平移。"
    )
    assert prompt(CHINESE, "i2v", "zh") == "女人沿着海滩行走。女人的表情：微笑。镜头向右平移。"
    assert prompt(CHINESE, "t2v", "en") == "A close-up. There is a woman."


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        (
            "camera_motion",
            "The camera pans slowly to the right, then zooms in.",
            "镜头缓慢向右摇，然后变焦推近",
        ),
        (
            "camera_motion",
            "The handheld camera trucks quickly to the left and pedestals up.",
            "手持镜头快速向左横移并升起",
        ),
        (
            "camera_motion",
            "The camera moves slowly to the left, up and in.",
            "镜头缓慢向左移动并向上移动并向前移动",
        ),
        ("camera_motion", "The camera holds still, and whips to the right.", "镜头保持静止并甩向右侧"),
        ("camera_motion", "The camera is static, then abruptly tilts down.", "镜头固定不动，然后突然向下摇"),
        ("camera_motion", "The camera follows the man.", ""),
        ("camera_motion", "The camera pans up.", ""),
        ("camera_motion", "Pans left", ""),
        ("position", "On the left, in the background.", "画面左侧背景"),
        ("position", "On the left of the car.", ""),
        ("lighting", "Dark, low contrast, warm tones.", "光线：昏暗，低对比度，暖色调"),
        ("lighting", "Dark, moody.", ""),
        ("environment", "On the left.", ""),
        ("expression", "Looks happy.", "表情高兴"),
        ("expression", "The person looks slightly sad.", "表情略显悲伤"),
        ("expression", "Looks neutral, then surprised.", "表情平静，然后惊讶"),
        ("expression", "Looks tired.", ""),
        ("expression", "Happy", ""),
    ],
)
def test_the_phrases_of_the_embedded_captioner_are_told_in_chinese(field: str, text: str, told: str) -> None:
    assert in_chinese(field, text) == told
    assert in_language(text, "zh", f"subjects.0.{field}") == told
    assert in_language(text, "en", field) == tidy(text)


def test_every_expression_that_the_expert_can_name_is_told_in_chinese() -> None:
    for word in WORDS.values():
        assert in_chinese("expression", of_subject(f"The person looks {word}.")), word


def test_every_label_of_the_detector_and_its_type_has_a_chinese_noun() -> None:
    assert [word for word in {*TYPE_OF, *TYPE_OF.values()} if word.lower() not in chinese.NOUNS] == []


@pytest.mark.parametrize(
    ("kind", "sub_type", "told"),
    [
        ("Human", "Person", "画面中有一个人物。"),
        ("Human", "", "画面中有一个人物。"),
        ("Human", "Crowd", "画面中有人群。"),
        ("Human", "Group of people", "画面中有人群。"),
        ("Human", "Team", "画面中有人群。"),
        ("Human", "People", "画面中有人群。"),
        ("Human", "Children", "画面中有孩子们。"),
        ("Human", "Women", "画面中有女子们。"),
        ("Human", "Couple", "画面中有两人。"),
        ("Human", "Family", "画面中有一个家庭。"),
        ("Human", "Audience", "画面中有观众。"),
        ("Human", "Band", "画面中有一支乐队。"),
        ("Human", "Firefighters", "画面中有人物。"),
        ("Human", "Group of dancers", "画面中有人群。"),
        ("Human", "Young woman", "画面中有一名女子。"),
        ("Human", "Elderly people", "画面中有人群。"),
        ("Human", "Man and woman", "画面中有两人。"),
        ("Human", "Boys and girls", "画面中有人群。"),
        ("Animal", "Dogs and cats", "画面中有动物。"),
        ("Animal", "Black and white cat", "画面中有一只猫。"),
        ("Animal", "Group", "画面中有动物。"),
        ("Animal", "Mouse", "画面中有一只老鼠。"),
        ("Electronics", "Mouse", "画面中有一个鼠标。"),
        ("Human", "女人", "画面中有女人。"),
        ("Animal", "Dogs", "画面中有狗。"),
        ("Animal", "Sparrow", "画面中有动物。"),
        ("Vehicles", "Buses", "画面中有公交车。"),
        ("Kitchenware", "Cup", "画面中有一个杯子。"),
        ("Furniture", "Bed", "画面中有一张床。"),
        ("Plant", "Potted plant", "画面中有一盆盆栽。"),
    ],
)
def test_a_group_is_no_one_person_in_chinese(kind: str, sub_type: str, told: str) -> None:
    assert prompt(caption(subject(kind, sub_type)), "t2v", "zh") == told


def test_others_of_an_unknown_kind_are_others_in_chinese() -> None:
    two = [subject("Human", "Firefighter", main=nth == 0, position="On the left.") for nth in range(2)]
    assert prompt(caption(*two), "t2v", "zh") == "人物位于画面左侧。其他人物位于画面左侧。"
    smiling = subject("Human", "Woman", expression="Looks neutral, then happy.")
    assert prompt(caption(smiling), "t2v", "zh") == "女子表情平静，然后高兴。"


def test_every_motion_that_the_camera_expert_can_name_is_told_in_chinese() -> None:
    for verbs in camera_words._VERBS.values():
        for verb, ways in zip((*verbs, "rolls"), camera_words._WAYS, strict=True):
            for way in ways:
                assert in_chinese("camera_motion", f"The camera {verb} slowly {way}."), (verb, way)


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("action", "Holding a cup.", "The man is holding a cup."),
        ("action", "Walks away", "The man walks away."),
        ("action", "Slowly turns his head", "The man slowly turns his head."),
        ("action", "Stationary", "The man is stationary."),
        ("action", "She waves.", "The man waves."),
        ("action", "Hands on the table", "The man: hands on the table."),
        ("action", "A man waves.", "A man waves."),
        ("action", "Nothing of note", "The man: nothing of note."),
        ("appearance", "Young man in a suit", "The man is a young man in a suit."),
        ("appearance", "An old man", "The man is an old man."),
        ("appearance", "Wearing a hat", "The man is wearing a hat."),
        ("appearance", "Blue eyes", "The man has blue eyes."),
        ("appearance", "Tall and slim", "The man is tall and slim."),
        ("appearance", "Armour of steel", "The man: armour of steel."),
        ("appearance", "Has a beard", "The man has a beard."),
        ("appearance", "Red coat and hat", "The man has a red coat and hat."),
        ("appearance", "Spring dress", "The man has a spring dress."),
        ("appearance", "Interesting hat", "The man has an interesting hat."),
        ("appearance", "Dress shoes", "The man has dress shoes."),
        ("appearance", "Body armour", "The man: body armour."),
        ("appearance", "Uniform", "The man has a uniform."),
        ("appearance", "Braided hair", "The man has braided hair."),
        ("appearance", "Bearded man in a hat", "The man is a bearded man in a hat."),
        ("appearance", "Wearing red trousers", "The man is wearing red trousers."),
        (
            "appearance",
            "Young, blonde hair, wearing a red coat",
            "The man: young, blonde hair, wearing a red coat.",
        ),
        ("appearance", "They wear coats", "The man: they wear coats."),
        ("action", "Tired man sits", "The man: tired man sits."),
        ("expression", "Smiling", "The man is smiling."),
        ("expression", "Smiles faintly", "The man smiles faintly."),
        ("expression", "Calm expression", "The man has a calm expression."),
        ("expression", "A broad grin", "The man has a broad grin."),
        ("expression", "Sad", "The man's expression is sad."),
        ("expression", "Looks neutral, then happy.", "The man looks neutral, then happy."),
        ("expression", "The person looks happy.", "The man looks happy."),
        ("expression", "The person beside him laughs.", "There is a man. The person beside him laughs."),
        ("position", "On the right.", "The man is on the right."),
        ("position", "Center", "The man is in the center."),
        ("position", "Right of the car", "The man is on the right of the car."),
        ("position", "Seated at the back", "The man is seated at the back."),
        ("position", "Stands at the back", "The man stands at the back."),
        ("action", "Is sitting on a bench", "The man is sitting on a bench."),
        ("position", "3 m away", "The man: 3 m away."),
    ],
)
def test_a_field_becomes_a_sentence_about_its_subject(field: str, text: str, told: str) -> None:
    assert prompt(caption(subject("Human", "Man", **{field: text})), "t2v") == told


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("camera_motion", "Static", "The camera is static."),
        ("camera_motion", "Slowly zooming in", "The camera is slowly zooming in."),
        ("camera_motion", "Slow pan left", "Camera motion: slow pan left."),
        ("camera_motion", "Static shot.", "Static shot."),
        ("camera_motion", "Handheld shot, following her", "Handheld shot, following her."),
        ("camera_motion", "Tracking shots", "Tracking shots."),
        ("camera_motion", "Fixed shot!", "Fixed shot!"),
        ("camera_motion", "Panning SHOT.", "Panning SHOT."),
        ("camera_motion", "Steady", "The camera is steady."),
        ("camera_motion", "the camera tilts up", "The camera tilts up."),
        ("environment", "In a kitchen", "The scene is set in a kitchen."),
        ("lighting", "Soft daylight", "Soft daylight."),
        ("lighting", "Dim", "The lighting is dim."),
        ("lighting", "Cool tones.", "The lighting has cool tones."),
        (
            "lighting",
            "Dark, low contrast, cool tones.",
            "The lighting is dark, with low contrast and cool tones.",
        ),
        ("shot_type", "other", ""),
        ("shot_angle", "high_angle", "A shot from a high angle."),
    ],
)
def test_a_field_of_the_clip_becomes_a_sentence(field: str, text: str, told: str) -> None:
    assert prompt(caption(**{field: text}), "t2v") == told


def test_subjects_of_one_name_are_told_apart_and_many_are_many() -> None:
    three = [subject("Human", "Person", main=n == 0) for n in range(3)]
    assert prompt(caption(*three), "t2v") == (
        "There is a person. There is another person. There is a third person."
    )
    for shown, told in (("Looks happy.", "look happy."), ("Has a grin", "have a grin."), ("Cries", "cry.")):
        assert prompt(caption(subject("Human", "People", expression=shown)), "t2v") == f"The people {told}"
    verbs = {
        "Lies": "lie",
        "Gazes": "gaze",
        "Watches": "watch",
        "Uses": "use",
        "Flies": "fly",
        "Mixes": "mix",
    }
    for does, told in verbs.items():
        assert prompt(caption(subject("Human", "People", action=does)), "t2v") == f"The people {told}."
    passing = subject(
        "Human", "Men", action="Walks past", appearance="Wears coats", position="Stays on the left"
    )
    assert prompt(caption(passing), "t2v") == "The men walk past. They wear coats. They stay on the left."
    rushing = subject("Human", "Women", action="Slowly pushes a cart", position="Carries on")
    assert prompt(caption(rushing), "t2v") == "The women slowly push a cart. They carry on."
    people = caption(subject("Human", "People", action="Walking", appearance="Dressed in black"))
    assert prompt(people, "t2v") == "The people are walking. They are dressed in black."
    men = caption(subject("Human", "Men", action="Sit and listen"))
    assert prompt(men, "t2v") == "The men sit and listen."
    police = caption(subject("Human", "Policemen", position="Behind the car", appearance="Blue coat"))
    assert prompt(police, "t2v") == "The policemen: blue coat. They are behind the car."
    specimen = caption(subject("Plant", "Specimen", position="On a table"))
    assert prompt(specimen, "t2v") == "The specimen is on a table."
    men = caption(
        subject("Human", "Man"),
        subject("Human", "Man", main=False, action="Nods", appearance="She wears a coat."),
    )
    assert prompt(men, "t2v") == "There is a man. Another man nods. He wears a coat."
    owl = caption(subject("Animal", "Snowy_Owl"), subject("Vehicles", "", main=False))
    assert prompt(owl, "t2v") == "There is a snowy owl. There are vehicles."


def test_an_expression_is_the_subjects_own() -> None:
    dog = subject("Animal", "Dog", action="Runs")
    woman = subject("Human", "Woman", main=False, action="Throws a ball", expression="Looks happy.")
    assert prompt(caption(dog, woman), "t2v") == "The dog runs. The woman throws a ball. She looks happy."
    several = [
        subject("Human", "Person", main=nth == 0, expression=text, position="On the left.")
        for nth, text in enumerate(("Looks neutral.", "The person looks sad."))
    ]
    assert prompt(caption(*several), "t2v") == (
        "The person looks neutral. The person is on the left."
        " Another person looks sad. The other person is on the left."
    )
    owner = subject("Animal", "Dog", expression="The person looks happy.")
    assert "The dog looks" not in prompt(caption(owner), "t2v")


@pytest.mark.parametrize(
    ("kind", "sub_type", "mentioned", "told"),
    [
        ("Human", "Group of people", "There is a group of people.", "The group of people waits."),
        ("Human", "Crowd", "There is a crowd.", "The crowd waits."),
        ("Human", "Audience", "There is an audience.", "The audience waits."),
        ("Human", "Couple", "There is a couple.", "The couple waits."),
        ("Human", "Children", "There are children.", "The children wait."),
        ("Human", "People", "There are people.", "The people wait."),
        ("Human", "Parents", "There are parents.", "The parents wait."),
        ("Human", "Kids", "There are kids.", "The kids wait."),
        ("Sport", "Skis", "There are skis.", "The skis wait."),
        ("Human", "Man and woman", "There are a man and a woman.", "The man and woman wait."),
        (
            "Animal",
            "Black and white cat",
            "There is a black and white cat.",
            "The black and white cat waits.",
        ),
        ("Animal", "Flock of birds", "There is a flock of birds.", "The flock of birds waits."),
        ("Plant", "Bunch of flowers", "There is a bunch of flowers.", "The bunch of flowers waits."),
    ],
)
def test_groups_are_one_and_plurals_many(kind: str, sub_type: str, mentioned: str, told: str) -> None:
    assert prompt(caption(subject(kind, sub_type)), "t2v") == mentioned
    verb = "Wait" if mentioned.startswith("There are") else "Waits"
    assert prompt(caption(subject(kind, sub_type, action=verb)), "t2v") == told


@pytest.mark.parametrize("nothing", ["", " - ", "N/A", "n/a.", "...", "Unknown", ";", "无", "none"])
def test_fields_that_say_nothing_leave_no_trace(nothing: str) -> None:
    assert tidy(nothing) == ""
    texts = dict.fromkeys(("appearance", "action", "expression", "position"), nothing)
    silent = caption(
        subject("Human", "Man", **texts), camera_motion=nothing, environment=nothing, lighting=nothing
    )
    assert [prompt(silent, kind) for kind in KINDS] == ["There is a man."] * 2
    assert write(silent, "clip", "t2v").dropped == ()
    assert prompt(caption(environment=nothing), "t2v") == ""


def test_dropping_depends_on_clip_seed_variant_and_field_alone() -> None:
    texts = {
        write(FULL, clip, "t2v", variant=v, seed=s).text for clip in "abc" for v in (0, 1) for s in (0, 1)
    }
    assert len(texts) > 4
    assert write(FULL, "a", "t2v") == write(FULL, "a", "t2v")
    assert write(FULL, "a", "t2v", dropout=0).text == GOLDEN["t2v", "en"]
    golden = write(FULL, "0123456789abcdef0123", "t2v", variant=1, seed=7, dropout=0.3)
    assert golden.dropped == (
        "subjects.1.expression",
        "subjects.1.position",
        "subjects.0.action",
        "camera_motion",
    )
    fields = [name for name, _ in said(FULL, "t2v") if name not in golden.dropped]
    assert golden.text == prompt(FULL, "t2v", "en", fields)


def test_a_tenth_of_the_fields_is_dropped() -> None:
    clips = [f"{number:020x}" for number in range(600)]
    dropped = sum(len(write(FULL, clip, "t2v").dropped) for clip in clips)
    fields = len(said(FULL, "t2v")) * len(clips)  # 6,000 and more: three deviations are 0.0116
    assert abs(dropped / fields - 0.1) < 0.0116
    assert all(0 <= draw(0, clip, 0, "x") < 1 for clip in clips)


def test_both_kinds_drop_the_same_fields() -> None:
    for clip in map(str, range(50)):
        dense, sparse = (write(FULL, clip, kind, dropout=0.4).dropped for kind in KINDS)
        assert set(sparse) == {name for name in dense if name in dict(said(FULL, "i2v"))}


def test_dropping_never_leaves_a_prompt_empty() -> None:
    only = caption(lighting="Soft daylight")
    for clip in map(str, range(50)):
        assert write(only, clip, "t2v", dropout=0.9).text == "Soft daylight."


TEXTS = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["N/A", "-", "Walking", "她在走", "A. B."]
)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(["Human", "Car", "人"]), TEXTS, TEXTS, TEXTS), max_size=3),
    TEXTS,
    TEXTS,
)
def test_any_text_gives_one_clean_line(subjects: list[Any], place: str, camera: str) -> None:
    listed = [
        subject(kind, sub_type, n == 0, action=action, position=where)
        for n, (kind, sub_type, action, where) in enumerate(subjects)
    ]
    made = caption(*listed, environment=place, camera_motion=camera)
    for kind in KINDS:
        for language in ("en", "zh"):
            text = prompt(made, kind, language)  # type: ignore[arg-type]
            assert text == " ".join(text.split())
            assert not text or any(char.isalnum() for char in text)
            assert all(one.strip() for one in parts(made, kind, language))  # type: ignore[arg-type]
            assert text == prompt(made, kind, language)  # type: ignore[arg-type]


def test_the_serializer_needs_the_schema_and_words_alone() -> None:
    """A trainer imports this module and nothing of the pipeline."""
    ours = {"captioner", "pipeline", "filters", "balance", "jobs"}
    found = set()
    for name in ("serialize", "english", "chinese", "phrases", "schema"):
        for node in ast.walk(ast.parse((CAPTIONER / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert {name for name in found if name.split(".")[0] in ours} <= {
        "captioner.english",
        "captioner.chinese",
        "captioner.phrases.in_chinese",
        "captioner.schema.Caption",
        "captioner.schema.Subject",
    }
    assert {name.split(".")[0] for name in found} - set(sys.stdlib_module_names) == {"captioner", "pydantic"}


def test_another_process_writes_the_same_bytes() -> None:
    code = (
        "import sys; from captioner.schema import loads; from captioner.serialize import write;"
        "print(write(loads(sys.argv[1]), 'clip', 't2v', 'en', 3, 5).text, end='')"
    )
    command = [sys.executable, "-X", "utf8", "-c", code, dumps(FULL)]
    done = subprocess.run(command, capture_output=True, check=True, cwd=CAPTIONER.parent)
    assert done.stdout == write(FULL, "clip", "t2v", "en", 3, 5).text.encode()


def test_the_page_shows_what_its_example_prints() -> None:
    text = (CAPTIONER.parent / "docs" / "fusion.md").read_text(encoding="utf-8")
    code, shown = text.partition("```python\n")[2].split("```")[0], text.split("```\n")[2].split("\n```")[0]
    found = io.StringIO()
    with redirect_stdout(found):
        exec(code, {})
    assert found.getvalue().strip() == shown.strip()
