"""The closed English phrases of the embedded captioner and the experts, in Chinese: camera, place, light, faces.

They are put together from few words (captioner.experts.camera_words, captioner.experts.expression, captioner.subjects,
captioner.embedded), so that a table translates them; a text with any other word is not touched.
"""

from __future__ import annotations

import re

_DONE = {
    "is static": "固定不动",
    "holds still": "保持静止",
    "stays in place": "停在原处",
    "jolts": "突然抖动",
}
_MOVES = {
    "pans": {"to the left": "向左摇", "to the right": "向右摇"},
    "tilts": {"up": "向上摇", "down": "向下摇"},
    "zooms": {"in": "变焦推近", "out": "变焦拉远"},
    "trucks": {"to the left": "向左横移", "to the right": "向右横移"},
    "pedestals": {"up": "升起", "down": "下降"},
    "dollies": {"in": "向前推进", "out": "向后拉远"},
    "rolls": {"clockwise": "顺时针旋转", "counterclockwise": "逆时针旋转"},
    "whips": {"to the left": "甩向左侧", "to the right": "甩向右侧", "up": "甩向上方", "down": "甩向下方"},
    "moves": {
        **{"to the left": "向左移动", "to the right": "向右移动", "up": "向上移动", "down": "向下移动"},
        **{"in": "向前移动", "out": "向后移动"},
    },
}
_SPEEDS = {"": "", "slowly": "缓慢", "quickly": "快速"}
_MOVE = re.compile(
    r"(?:abruptly )?(?:(?P<verb>[a-z]+) )?(?:(?P<speed>slowly|quickly) )?"
    r"(?P<way>to the left|to the right|up|down|in|out|clockwise|counterclockwise)"
)
_PLACES = {
    "on the left": "左侧",
    "on the right": "右侧",
    "in the center": "中央",
    "in the foreground": "前景",
    "in the background": "背景",
}
_LIGHTS = {
    "dark": "昏暗",
    "bright": "明亮",
    "low contrast": "低对比度",
    "high contrast": "高对比度",
    "cool tones": "冷色调",
    "warm tones": "暖色调",
}
_FACES = {
    "angry": "愤怒",
    "disgusted": "厌恶",
    "afraid": "恐惧",
    "happy": "高兴",
    "sad": "悲伤",
    "surprised": "惊讶",
    "neutral": "平静",
}


def in_chinese(field: str, text: str) -> str:
    """A field's text in Chinese; empty where it is not made of the known phrases."""
    plain = text.strip().rstrip(".").lower()
    if field == "camera_motion":
        return _camera(plain)
    if field == "position":
        places = [_PLACES.get(part, "") for part in plain.split(", ")]
        return f"画面{''.join(places)}" if all(places) else ""
    if field == "lighting":
        lights = [_LIGHTS.get(part, "") for part in plain.split(", ")]
        return f"光线：{'，'.join(lights)}" if all(lights) else ""
    if field == "expression":
        return _expression(plain)
    return ""


def _expression(plain: str) -> str:
    looks = re.fullmatch(r"(?:the person )?looks (slightly )?(.*)", plain)
    faces = [_FACES.get(part, "") for part in looks[2].split(", then ")] if looks else []
    if not looks or not all(faces):
        return ""
    return f"表情{'略显' if looks[1] else ''}{'，然后'.join(faces)}"


def _camera(plain: str) -> str:
    subject = next((one for one in ("the handheld camera ", "the camera ") if plain.startswith(one)), "")
    phases = [_phase(part) for part in plain[len(subject) :].split(", then ")] if subject else []
    if not phases or not all(phases):
        return ""
    return f"{'手持' if 'handheld' in subject else ''}镜头{'，然后'.join(phases)}"


def _phase(plain: str) -> str:
    """One phase: a thing done, or moves by commas and `and`; a verb holds for the ways that follow without one."""
    told: list[str] = []
    verb = ""
    for part in re.split(r", and | and |, ", plain):
        sudden = "突然" if part.startswith("abruptly ") else ""
        if part.removeprefix("abruptly ") in _DONE:
            told.append(sudden + _DONE[part.removeprefix("abruptly ")])
            continue
        move = _MOVE.fullmatch(part)
        verb = (move["verb"] or verb) if move else ""
        way = _MOVES.get(verb, {}).get(move["way"], "") if move else ""
        if not move or not way:
            return ""
        told.append(sudden + _SPEEDS[move["speed"] or ""] + way)
    return "并".join(told)
