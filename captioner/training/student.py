"""A checkpoint of the Qwen2.5-VL family that learns: loaded, lent a LoRA, asked, and kept."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioner.engines.checkpoint import COUNTED, Checkpoint
from captioner.training.course import Course, TrainingError
from captioner.training.eyes import Eyes, View
from captioner.training.lessons import Lesson
from captioner.training.tokens import Marks, Prepared, prepared, taught_loss
from pipeline.weights import WeightError

if TYPE_CHECKING:
    import torch

FAMILY = "qwen2_5_vl"
"""SkyCaptioner-V1's. Others number the times of a video in another way."""
INSTALL = "install them by `pip install '.[finetune]'`"


@dataclass(frozen=True)
class Student:
    """The model at work, and what makes lessons fit it."""

    model: Any
    tokenizer: Any
    eyes: Eyes
    marks: Marks
    device: str
    most_tokens: int

    @classmethod
    def load(cls, base: Checkpoint, course: Course, device: str) -> Student:
        """The checkpoint, ready to learn: with a LoRA, or whole. TrainingError: of another family, no such layers, no
        transformers or peft. WeightError: it cannot be loaded.

        What learns is in float32: in bfloat16 a step of 1e-5 is rounded away. What rests is in float32 on a CPU and in
        bfloat16 elsewhere, and so are products.
        """
        import torch

        if base.family != FAMILY:
            raise TrainingError(f"'{base.folder}' is a {base.family}: this trains {FAMILY} alone")
        if device == "cpu":
            torch.set_num_threads(1)  # sums in one order, whatever the machine
        kind = torch.bfloat16 if course.rank and device != "cpu" else torch.float32
        model, tokenizer = _opened(base.folder, kind)
        model = model.to(device)
        marks = Marks(model.config.image_token_id, model.config.video_token_id, tokenizer.eos_token_id)
        eyes = Eyes.of(base.folder, course.frame_px)
        student = cls(model, tokenizer, eyes, marks, device, course.most_tokens)
        return student._lent(course)

    def _lent(self, course: Course) -> Student:
        import torch

        model = self.model
        if course.rank:
            LoraConfig, get_peft_model = _peft()
            config = LoraConfig(
                r=course.rank,
                lora_alpha=course.alpha,
                lora_dropout=course.dropout,
                target_modules=course.targets,
                modules_to_save=list(course.whole) or None,
            )
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(course.seed)
                try:
                    model = get_peft_model(model, config)
                except ValueError as error:  # no layer of these names
                    raise TrainingError(f"no LoRA can be put on this checkpoint: {error}") from None
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()
        if course.recompute:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.eval()
        return replace(self, model=model)

    def weights(self) -> dict[str, torch.nn.Parameter]:
        """What learns, by name."""
        return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}

    def prepared(self, lesson: Lesson, views: Sequence[View]) -> Prepared:
        """See captioner.training.tokens."""
        return prepared(lesson, views, self.tokenizer, self.eyes, self.marks, self.most_tokens)

    def loss(self, lesson: Prepared) -> torch.Tensor:
        """The summed loss of the answer's tokens, in nats."""
        import torch

        given = self._given(lesson, len(lesson.ids))
        with self._products():
            found = self.model(**given, use_cache=False, logits_to_keep=lesson.taught + 1)
        return taught_loss(found.logits[0], torch.from_numpy(lesson.ids).to(self.device), lesson.taught)

    def answer(self, lesson: Prepared, most: int) -> str:
        """What it writes, the likeliest token each time."""
        import torch
        from transformers import GenerationConfig

        known = self.model.generation_config.eos_token_id
        ends = sorted({self.marks.end, *(known if isinstance(known, list) else [known])} - {None})
        how = GenerationConfig(
            max_new_tokens=most, do_sample=False, eos_token_id=ends, pad_token_id=self.marks.end
        )
        asked = len(lesson.ids) - lesson.taught
        with torch.no_grad(), self._products():
            found = self.model.generate(**self._given(lesson, asked), generation_config=how)
        return str(self.tokenizer.decode(found[0, asked:], skip_special_tokens=True))

    def _given(self, lesson: Prepared, length: int) -> dict[str, torch.Tensor]:
        import torch

        ids = torch.from_numpy(lesson.ids[:length])[None]
        kinds = torch.from_numpy(lesson.kinds[:length])[None]
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": kinds}
        given |= {name: torch.from_numpy(value) for name, value in lesson.seen.items()}
        return {name: value.to(self.device) for name, value in given.items()}

    def _products(self) -> AbstractContextManager[Any]:
        import torch

        return torch.autocast(self.device, torch.bfloat16, enabled=self.device != "cpu")

    def keep(self, base: Checkpoint, to: Path, whole: bool) -> None:
        """Writes `adapter/` (of a LoRA), and `merged/` where it is wanted or all weights were trained.

        `merged/` is a checkpoint like the base, in its precision, with its other files. The student is spent then.
        """
        model = self.model
        lora = hasattr(model, "merge_and_unload")
        if lora:
            # "auto" would look for the base's vocabulary on a hub
            model.save_pretrained(to / "adapter", save_embedding_layers=False)
            (to / "adapter" / "README.md").unlink(missing_ok=True)  # a form that nobody has filled in
        if whole or not lora:
            model = model.merge_and_unload() if lora else model
            model.to(_precision(base)).save_pretrained(to / "merged")
            for path in sorted(base.folder.iterdir()):
                ours = path.suffix in COUNTED and not path.name.startswith("model.safetensors")
                if ours and path.suffix != ".safetensors" and not (to / "merged" / path.name).exists():
                    shutil.copyfile(path, to / "merged" / path.name)


def _opened(folder: Path, kind: torch.dtype) -> tuple[Any, Any]:
    """The model and its tokenizer; nothing is fetched, unpickled or run."""
    try:
        from safetensors import SafetensorError
        from transformers import AutoModelForImageTextToText, AutoTokenizer
    except ImportError as error:
        raise TrainingError(f"{error}: {INSTALL}") from None
    try:
        model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=kind, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
        return model, AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, RuntimeError, SafetensorError, ValueError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightError(f"the checkpoint '{folder}' cannot be loaded: {said[0][:300]}") from None


def _peft() -> tuple[Any, Any]:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise TrainingError(f"{error}: {INSTALL}") from None
    return LoraConfig, get_peft_model


def _precision(base: Checkpoint) -> torch.dtype:
    """The base's own."""
    import torch

    name = base.config.get("dtype") or base.config.get("torch_dtype") or "float32"
    found = getattr(torch, str(name), torch.float32)
    return found if isinstance(found, torch.dtype) else torch.float32
