"""What may be taught: nothing that the prompt itself forbids, and silence only when it is asked for."""

from __future__ import annotations

import pytest

from captioner.embedded import ENGINE
from captioner.schema import Caption, dumps
from captioner.targets import Untaught, target_of

WHOLE = Caption.model_validate(
    {
        "subjects": (
            {
                "TYPES": {"type": "Human", "sub_type": "Woman"},
                "appearance": "Long black hair and a red coat.",
                "action": "She walks along the pavement.",
                "expression": "Calm.",
                "position": "In the centre of the frame.",
                "is_main_subject": True,
            },
        ),
        "shot_type": "long_shot",
        "shot_angle": "low_angle",
        "shot_position": "back_view",
        "camera_motion": "The camera pans left.",
        "environment": "A city street with shops at night.",
        "lighting": "Soft light from the windows.",
    }
)
SILENT = WHOLE.model_copy(
    update=dict.fromkeys(("shot_type", "shot_angle", "shot_position", "environment"), "") | {"subjects": ()}
)
NOTHING = SILENT.model_copy(update={"camera_motion": "", "lighting": ""})


def text(**changes: str) -> str:
    return dumps(WHOLE.model_copy(update=changes))


def test_a_whole_caption_is_its_own_target_whoever_wrote_it() -> None:
    for engine in ("vllm m", f"human:ann over {ENGINE}", ""):
        assert target_of(dumps(WHOLE), engine, "en") == dumps(WHOLE)
    assert target_of(text(lighting="N/A"), "m", "en") == text(lighting="")


@pytest.mark.parametrize(
    ("caption", "why"),
    [
        (text(shot_angle=""), "vocabulary"),
        (dumps(NOTHING), "empty"),
        ("{}", "unreadable"),
        (text(environment="街上有许多商店和行人，灯火通明。"), "language"),
        (text(environment="```json"), "markup"),
        (text(environment="I'm sorry, I can't help with that."), "refused"),
    ],
)
def test_what_the_prompt_forbids_is_not_taught(caption: str, why: str) -> None:
    if why == "language":
        caption = caption.replace("Long black hair and a red coat.", "黑色的长发，红色的外套，个子很高。")
        caption = caption.replace("She walks along the pavement.", "她沿着人行道慢慢地走。")
        caption = caption.replace("Soft light from the windows.", "窗户里透出柔和的灯光。")
    for engine in ("vllm m", f"human:ann over {ENGINE}"):
        assert target_of(caption, engine, "en") == Untaught(why)


def test_the_embedded_captioner_teaches_only_when_asked_and_only_what_says_anything() -> None:
    assert target_of(dumps(SILENT), ENGINE, "en") == Untaught("embedded")
    assert target_of(dumps(SILENT), ENGINE, "en", embedded=True) == dumps(SILENT)
    assert target_of(dumps(NOTHING), ENGINE, "en", embedded=True) == Untaught("empty")
    assert target_of(dumps(SILENT), "vllm m", "en", embedded=True) == Untaught("vocabulary")
