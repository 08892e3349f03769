"""SkyCaptioner's type of each label that the packaged object detector knows (the 80 of COCO)."""

from __future__ import annotations

_LABELS = {
    "Human": ("person",),
    "Animal": ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    "Vehicles": ("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    "Food": (
        *("banana", "apple", "sandwich", "orange", "broccoli"),
        *("carrot", "hot dog", "pizza", "donut", "cake"),
    ),
    "Sport": (
        *("frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat"),
        *("baseball glove", "skateboard", "surfboard", "tennis racket"),
    ),
    "Plant": ("potted plant",),
    "Accessory": ("backpack", "umbrella", "handbag", "tie", "suitcase"),
    "Furniture": ("bench", "chair", "couch", "bed", "dining table", "toilet"),
    "Electronics": (
        *("tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
        *("microwave", "oven", "toaster", "refrigerator", "hair drier"),
    ),
    "Kitchenware": ("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl"),
    "Street": ("traffic light", "fire hydrant", "stop sign", "parking meter"),
    "Household": ("sink", "book", "clock", "vase", "scissors", "teddy bear", "toothbrush"),
}

TYPE_OF = {label: kind for kind, labels in _LABELS.items() for label in labels}
"""Type by COCO label. Human to Plant are types seen in SkyCaptioner-V1's released captions; the rest are ours."""
