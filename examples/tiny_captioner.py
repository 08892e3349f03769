"""Makes a tiny Qwen-VL checkpoint: the whole captioning path in half a minute, without a GPU or a hub.

    python examples/tiny_captioner.py FOLDER [qwen2_5_vl | qwen3_vl [STEPS [WIDTH LAYERS]]]

Under a million parameters in the published architecture, with a tokenizer, a processor and a chat template of the same
kinds as the real ones. It has learnt a few made-up captions by heart and looks at nothing: what it writes has the form
of captions and says nothing of the clip. The same versions of torch and transformers on one kind of processor give the
same bytes; with 0 steps its weights are random, and a larger one of those, such as 1024 wide with 10 layers, is slow
enough to measure an engine with. Needs transformers (`pip install '.[scorers]'`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FAMILIES = ("qwen2_5_vl", "qwen3_vl")
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Qwen2-VL's special tokens, in their order."""
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How a Qwen2 tokenizer cuts text before it joins bytes."""
WHO = (
    (
        "Human",
        "Woman",
        "Long dark hair, a red coat and a grey scarf.",
        "She walks across a wet street.",
        "Calm.",
    ),
    (
        "Human",
        "Man",
        "A short beard and a blue shirt.",
        "He turns a wheel with both hands.",
        "Surprised at first.",
    ),
    ("Animal", "Dog", "A small brown dog with white paws.", "It runs along the shore.", ""),
    ("Vehicles", "Truck", "An old green truck with a cracked lamp.", "It rolls down the hill.", ""),
)
WHERE = ("In the middle of the frame.", "On the left, near the camera.", "Lower right, partly hidden.")
SHOT = (("medium_shot", "eye_level", "front_view"), ("long_shot", "high_angle", "side_view"))
CAMERA = ("The camera pans slowly to the right.", "The camera is static.", "The camera moves closer.")
PLACE = (
    ("A narrow street in a town at dusk.", "Soft light from shop windows."),
    ("An open field under grey clouds.", "Even daylight."),
)
"""What the made-up captions are put together from."""
VOCABULARY = 1_000
STEPS, STEP_TOKENS, RATE = 160, 2_400, 4e-3
"""Of the learning: steps, tokens a step, and the highest step size."""
BEFORE = (4, 11)
"""Powers of two between which lies the number of tokens, of any kind, that stand before a caption as it is learnt."""
MIN_PIXELS, MAX_PIXELS = 56 * 56, 4 * 56 * 56
"""Of a picture: 16 frames make a prompt of some 170 tokens."""
WIDTH, LAYERS, HEAD = 128, 2, 32
"""Of the part that writes: how wide it is, how deep, and how wide a head."""
TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content -%}
{%- if part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>
{%- elif part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>
{%- else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor -%}
{% if add_generation_prompt %}<|im_start|>assistant
{% endif -%}
"""


def make(
    folder: Path, family: str = FAMILIES[0], steps: int = STEPS, width: int = WIDTH, layers: int = LAYERS
) -> Path:
    """Writes the checkpoint into the folder and gives it back; without `steps` it has learnt nothing.

    `width` is a multiple of 64. ValueError: there is no such family.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family '{family}'; known are {', '.join(FAMILIES)}")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(folder)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    model = _model(family, len(tokenizer), ids, width, layers)
    if steps:
        _learn(model, tokenizer, steps)
    model.generation_config.update(
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]],
        pad_token_id=ids["<|endoftext|>"],
    )
    model.save_pretrained(folder)
    for name, page in _processors(family).items():
        (folder / name).write_text(json.dumps(page, indent=1) + "\n")
    return folder


def captions() -> list[str]:
    """The made-up captions, as canonical JSON in SkyCaptioner's form."""
    made = []
    for number in range(24):
        kind, sub, looks, does, face = WHO[number % len(WHO)]
        environment, lighting = PLACE[number // 3 % len(PLACE)]
        kinds = dict(
            zip(("shot_type", "shot_angle", "shot_position"), SHOT[number // 2 % len(SHOT)], strict=True)
        )
        subject = {
            "TYPES": {"type": kind, "sub_type": sub},
            "appearance": looks,
            "action": does,
            "expression": face,
            "position": WHERE[number % len(WHERE)],
            "is_main_subject": True,
        }
        caption = {"subjects": [subject], **kinds, "camera_motion": CAMERA[number % len(CAMERA)]}
        caption |= {"environment": environment, "lighting": lighting}
        made.append(json.dumps(caption, separators=(",", ":")))
    return made


def _tokenizer(folder: Path) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    learnt = Tokenizer(models.BPE())
    learnt.normalizer = normalizers.NFC()
    learnt.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learnt.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    learnt.train_from_iterator(captions(), trainer)
    page = json.loads(learnt.to_str())["model"]
    merges = [tuple(pair) for pair in page["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=page["vocab"], merges=merges, additional_special_tokens=list(SPECIAL))
    tokenizer.chat_template = TEMPLATE
    tokenizer.model_max_length = 32768
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.save_pretrained(folder)
    return tokenizer


def _model(family: str, vocabulary: int, ids: dict[str, int], width: int, layers: int) -> Any:
    import torch
    import transformers

    text = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // HEAD,
        "num_key_value_heads": width // HEAD // 2,
        "max_position_embeddings": 32768,
        "initializer_range": 0.05,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "out_hidden_size": width,
        "initializer_range": 0.08,
    }
    tokens = {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }
    if family == "qwen3_vl":
        text |= {"head_dim": HEAD, "rope_parameters": {"rope_type": "default", "rope_theta": 5e6}}
        text["rope_parameters"] |= {"mrope_section": [6, 5, 5], "mrope_interleaved": True}
        vision |= {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
        kind, config = "Qwen3VL", transformers.Qwen3VLConfig
    else:
        text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]}}
        vision |= {"fullatt_block_indexes": [1]}
        kind, config = "Qwen2_5_VL", transformers.Qwen2_5_VLConfig
    torch.manual_seed(0)
    built = config(text_config=text, vision_config=vision, **tokens, tie_word_embeddings=False)
    return getattr(transformers, f"{kind}ForConditionalGeneration")(built).float().eval()


def _learn(model: Any, tokenizer: Any, steps: int) -> None:
    """Teaches the made-up captions by heart, whatever stands before them."""
    import torch

    torch.set_num_threads(1)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    start = tokenizer("<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
    answers = [[*start, *tokenizer(text)["input_ids"], end] for text in captions()]
    letters = len(tokenizer) - len(SPECIAL)
    chance = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    model.train()
    for _ in range(steps):
        before = int(2 ** (BEFORE[0] + (BEFORE[1] - BEFORE[0]) * float(torch.rand((), generator=chance))))
        count = max(1, STEP_TOKENS // (before + len(answers[0])))
        rows = [answers[i] for i in torch.randint(len(answers), (count,), generator=chance)]
        length = before + max(map(len, rows))
        tokens = torch.full((count, length), end)
        labels = torch.full((count, length), -100)
        tokens[:, :before] = torch.randint(letters, (count, before), generator=chance)
        for number, row in enumerate(rows):
            tokens[number, before : before + len(row)] = torch.tensor(row)
            labels[number, before + len(start) : before + len(row)] = torch.tensor(row[len(start) :])
        loss = model(input_ids=tokens, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
    model.eval()


def _processors(family: str) -> dict[str, dict[str, Any]]:
    """The files that say how pictures are prepared."""
    patch = 16 if family == "qwen3_vl" else 14
    shared = {
        "patch_size": patch,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "rescale_factor": 1 / 255,
        "resample": 3,
        "image_mean": [0.5] * 3 if family == "qwen3_vl" else [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.5] * 3 if family == "qwen3_vl" else [0.26862954, 0.26130258, 0.27577711],
        "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
    }
    name = "Qwen3VLProcessor" if family == "qwen3_vl" else "Qwen2_5_VLProcessor"
    frames = 16 if family == "qwen3_vl" else 1  # a Qwen3-VL's budget is the whole video's
    size = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS * frames}
    video = "Qwen3VLVideoProcessor" if family == "qwen3_vl" else "Qwen2VLVideoProcessor"
    return {
        "preprocessor_config.json": {
            **shared,
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "processor_class": name,
        },
        "video_preprocessor_config.json": {
            **shared,
            "size": size,
            "video_processor_type": video,
            "processor_class": name,
        },
        "chat_template.json": {"chat_template": TEMPLATE},
    }


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 6:
        sys.exit(__doc__)
    print(make(Path(sys.argv[1]), *sys.argv[2:3], *map(int, sys.argv[3:])))
