"""A structured caption's fields as Chinese sentences."""

from __future__ import annotations

from collections.abc import Sequence

from captioner.schema import Caption

SHOTS = {
    "long_shot": "远景",
    "full_shot": "全景",
    "medium_shot": "中景",
    "close_up": "特写",
    "extreme_close_up": "大特写",
}
ANGLES = {"eye_level": "平视", "high_angle": "高角度俯拍", "low_angle": "低角度仰拍"}
POSITIONS = {
    "front_view": "正面视角",
    "back_view": "背面视角",
    "side_view": "侧面视角",
    "over_the_shoulder": "过肩视角",
    "overhead_view": "正上方视角",
    "point_of_view": "第一人称视角",
    "aerial_view": "航拍视角",
    "overlooking_view": "俯瞰视角",
}
NOUNS = {
    "woman": "女子",
    "man": "男子",
    "girl": "女孩",
    "boy": "男孩",
    "child": "孩子",
    "baby": "婴儿",
    "person": "人物",
    "people": "人群",
    "human": "人物",
    "animal": "动物",
    "dog": "狗",
    "cat": "猫",
    "bird": "鸟",
    "horse": "马",
    "cow": "牛",
    "sheep": "羊",
    "elephant": "大象",
    "bear": "熊",
    "vehicle": "车辆",
    "vehicles": "车辆",
    "car": "汽车",
    "bus": "公交车",
    "truck": "卡车",
    "train": "火车",
    "boat": "船",
    "airplane": "飞机",
    "bicycle": "自行车",
    "motorcycle": "摩托车",
    "food": "食物",
    "plant": "植物",
    "flower": "花",
    "tree": "树",
    "building": "建筑",
    "architecture": "建筑",
    "scenery": "风景",
    "sport": "运动器材",
    "furniture": "家具",
    "chair": "椅子",
    "electronics": "电子设备",
}
"""Chinese noun by English type or sub-type, in lower case."""
_MEASURED = {
    **dict.fromkeys(("女子", "男子"), "一名"),
    **dict.fromkeys(("女孩", "男孩", "孩子", "婴儿", "人物"), "一个"),
    **dict.fromkeys(("狗", "猫", "鸟", "羊"), "一只"),
    **dict.fromkeys(("汽车", "公交车", "卡车", "自行车", "摩托车"), "一辆"),
    **{
        "马": "一匹",
        "牛": "一头",
        "大象": "一头",
        "熊": "一头",
        "火车": "一列",
        "船": "一艘",
        "飞机": "一架",
    },
    **{"花": "一朵", "树": "一棵", "椅子": "一把"},
}
"""One of a noun; nouns of things that come in masses have none."""
_PLACED = ("位于", "在", "处于", "坐", "站", "居")
_ORDINALS = ("", "另", "第三", "第四", "第五", "第六")


def shot(caption: Caption) -> str:
    """`特写镜头，平视，正面视角。`, as much of it as is said; `other` says nothing."""
    size = SHOTS.get(caption.shot_type, "")
    parts = [
        size if size.endswith("特写") or not size else f"{size}镜头",
        ANGLES.get(caption.shot_angle, ""),
        POSITIONS.get(caption.shot_position, ""),
    ]
    return sentence("，".join(filter(None, parts)))


def subject(noun: str, nth: int, texts: Sequence[tuple[str, str]]) -> list[str]:
    """The sentences of one subject: one a field of `texts` (name, text); nothing said gives the bare mention."""
    one = _MEASURED.get(noun, "一个" if nth else "")
    who = (
        f"{_ORDINALS[min(nth, len(_ORDINALS) - 1)]}{one.removeprefix('一') if nth > 1 else one}{noun}"
        if nth
        else noun
    )
    sentences = [sentence(_phrase(field, text, noun, who)) for field, text in texts]
    if noun not in "".join(sentences):
        sentences.insert(0, sentence(f"画面中有{who if nth else one + noun}"))
    return sentences


def _phrase(field: str, text: str, noun: str, who: str) -> str:
    if noun in text[: len(noun) + 6] or text.startswith(("她", "他", "它", "一", "这", "该", "两")):
        return text
    if field == "position" and not text.startswith(_PLACED):
        return f"{who}位于{text}"
    if field == "expression" and "表情" not in text and "神" not in text:
        return f"{who}的表情：{text}"
    return f"{who}，{text}" if field == "appearance" else f"{who}{text}"


def environment(text: str) -> str:
    """The place, as it stands."""
    return sentence(text)


def lighting(text: str) -> str:
    """The light: a text that names it as it stands, words that only describe it after its name."""
    return sentence(text if any(char in text for char in "光灯影照亮暗") else f"光线：{text}")


def camera(text: str) -> str:
    """The camera's motion as a sentence about the camera."""
    return sentence(text if "镜头" in text or "摄" in text or "相机" in text else f"镜头{text}")


def sentence(text: str) -> str:
    """The text with a full stop at its end; empty stays empty."""
    text = text.strip().rstrip(".,，、；")
    return text if not text or text.endswith(("。", "！", "？", "…", "”", "!", "?")) else f"{text}。"
