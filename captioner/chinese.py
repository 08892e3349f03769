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
    **dict.fromkeys(("crowd", "team", "group", "group of people", "crowd of people"), "人群"),
    "women": "女子们",
    "men": "男子们",
    "girls": "女孩们",
    "boys": "男孩们",
    "children": "孩子们",
    "babies": "婴儿们",
    "couple": "两人",
    "family": "家庭",
    "audience": "观众",
    "band": "乐队",
    "animal": "动物",
    "dog": "狗",
    "cat": "猫",
    "bird": "鸟",
    "horse": "马",
    "cow": "牛",
    "sheep": "羊",
    "elephant": "大象",
    "bear": "熊",
    "zebra": "斑马",
    "giraffe": "长颈鹿",
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
    "banana": "香蕉",
    "apple": "苹果",
    "sandwich": "三明治",
    "orange": "橙子",
    "broccoli": "西兰花",
    "carrot": "胡萝卜",
    "hot dog": "热狗",
    "pizza": "披萨",
    "donut": "甜甜圈",
    "cake": "蛋糕",
    "plant": "植物",
    "potted plant": "盆栽",
    "flower": "花",
    "tree": "树",
    "building": "建筑",
    "architecture": "建筑",
    "scenery": "风景",
    "sport": "运动器材",
    "frisbee": "飞盘",
    "skis": "滑雪板",
    "snowboard": "单板滑雪板",
    "sports ball": "球",
    "kite": "风筝",
    "baseball bat": "棒球棒",
    "baseball glove": "棒球手套",
    "skateboard": "滑板",
    "surfboard": "冲浪板",
    "tennis racket": "网球拍",
    "accessory": "随身物品",
    "backpack": "背包",
    "umbrella": "雨伞",
    "handbag": "手提包",
    "tie": "领带",
    "suitcase": "行李箱",
    "furniture": "家具",
    "bench": "长椅",
    "chair": "椅子",
    "couch": "沙发",
    "bed": "床",
    "dining table": "餐桌",
    "toilet": "马桶",
    "electronics": "电子设备",
    "tv": "电视",
    "laptop": "笔记本电脑",
    "mouse": "鼠标",
    "remote": "遥控器",
    "keyboard": "键盘",
    "cell phone": "手机",
    "microwave": "微波炉",
    "oven": "烤箱",
    "toaster": "烤面包机",
    "refrigerator": "冰箱",
    "hair drier": "吹风机",
    "kitchenware": "餐具",
    "bottle": "瓶子",
    "wine glass": "酒杯",
    "cup": "杯子",
    "fork": "叉子",
    "knife": "刀",
    "spoon": "勺子",
    "bowl": "碗",
    "street": "街道设施",
    "traffic light": "交通信号灯",
    "fire hydrant": "消防栓",
    "stop sign": "停车标志",
    "parking meter": "停车计时器",
    "household": "家居用品",
    "sink": "水槽",
    "book": "书",
    "clock": "时钟",
    "vase": "花瓶",
    "scissors": "剪刀",
    "teddy bear": "泰迪熊",
    "toothbrush": "牙刷",
}
"""Chinese noun by English type or sub-type, in lower case: those of the packaged detector, and common ones."""


OF_ANIMALS = {name: word for name, word in NOUNS.items() if word != NOUNS["crowd"]} | {"mouse": "老鼠"}
"""The same where the subject is an animal."""


def _each(measure: str, nouns: str) -> dict[str, str]:
    return dict.fromkeys(nouns.split(), measure)


_MEASURED = {
    **_each("一名", "女子 男子"),
    **_each(
        "一个", "女孩 男孩 孩子 婴儿 人物 家庭 球 飞盘 风筝 棒球手套 背包 手提包 行李箱 马桶 鼠标 遥控器 键盘"
    ),
    **_each(
        "一个",
        "苹果 三明治 橙子 热狗 甜甜圈 蛋糕 烤箱 瓶子 酒杯 杯子 碗 交通信号灯 消防栓 停车标志 停车计时器",
    ),
    **_each("一个", "水槽 时钟 花瓶"),
    **_each("一只", "狗 猫 鸟 羊 长颈鹿 老鼠 泰迪熊"),
    **_each("一辆", "汽车 公交车 卡车 自行车 摩托车"),
    **_each("一匹", "马 斑马"),
    **_each("一头", "牛 大象 熊"),
    **_each("一列", "火车"),
    **_each("一艘", "船"),
    **_each("一架", "飞机"),
    **_each("一支", "乐队"),
    **_each("一朵", "花"),
    **_each("一棵", "树"),
    **_each("一盆", "盆栽"),
    **_each("一根", "香蕉 胡萝卜 棒球棒"),
    **_each("一块", "披萨 滑板 冲浪板 单板滑雪板"),
    **_each("一把", "椅子 长椅 雨伞 叉子 刀 勺子 剪刀 牙刷"),
    **_each("一张", "床 沙发 餐桌"),
    **_each("一条", "领带"),
    **_each("一台", "电视 笔记本电脑 微波炉 烤面包机 冰箱 吹风机"),
    **_each("一部", "手机"),
    **_each("一副", "网球拍"),
    **_each("一本", "书"),
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


def subject(noun: str, nth: int, texts: Sequence[tuple[str, str]], one_of: bool = True) -> list[str]:
    """The sentences of one subject: one a field of `texts` (name, text); nothing said gives the bare mention.

    Without `one_of` it may be several, and has no measure word.
    """
    one = _MEASURED.get(noun, "一个" if nth else "") if one_of else ""
    who = noun
    if nth:
        ordinal = _ORDINALS[min(nth, len(_ORDINALS) - 1)] if one_of else "其他"
        who = f"{ordinal}{one.removeprefix('一') if nth > 1 else one}{noun}"
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
