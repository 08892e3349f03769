"""The language model's part of fusion: notes out, one paragraph in, checked; the camera's motion never passes it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captioner import chinese, english
from captioner.generate import Answer, Finish, Generator, Prompt
from captioner.guards import unfenced, without_thoughts
from captioner.prompt import Template, load, quoted
from captioner.prose import fault
from captioner.schema import Caption
from captioner.serialize import (
    ENGINE,
    OF_SUBJECT,
    Kind,
    Language,
    draw,
    in_language,
    noun,
    ordered,
    said,
    tidy,
    write,
)
from pipeline.reasons import Reason
from pipeline.stage import ClipError

_SAYS = {"action": "does", "appearance": "looks", "expression": "face shows", "position": "is where"}


@dataclass(frozen=True)
class Wanted:
    """One prompt to be written."""

    clip_id: str
    caption: Caption
    kind: Kind
    language: Language
    variant: int
    attempt: int = 1
    """Over 1 where the run asks again for what was at fault: at the repair's temperature, with other seeds."""

    @property
    def key(self) -> str:
        return f"{self.clip_id}/{self.kind}/{self.language}/{self.variant}"


@dataclass(frozen=True)
class Fused:
    """One prompt that was written: who wrote it, and the caption's fields that it leaves out."""

    text: str
    engine: str
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class Fuser:
    """Asks a generator for the prompts of captions."""

    generator: Generator
    templates: Mapping[tuple[Kind, Language], Template]
    dropout: float = 0.1
    seed: int = 0
    temperature: float = 0.1
    """SkyReels-V2's fusion script samples at 0.1 ..."""
    repair_temperature: float = 0.5
    """... and after a refused answer, where the same again would be of no use. Ours."""
    max_tokens: int = 2048
    """Of an answer with a thinking model's thoughts; `captioner.prose` bounds the text itself."""
    attempts: int = 2

    def fuse(self, jobs: Sequence[Wanted]) -> dict[str, Fused | ClipError]:
        """What became of each job, by its key. GeneratorDied passes."""
        done: dict[str, Fused | ClipError] = {}
        faults: dict[str, str] = {}
        failed: set[str] = set()
        for job in jobs:
            if not self._telling(job):
                found = write(
                    job.caption, job.clip_id, job.kind, job.language, job.variant, self.seed, self.dropout
                )
                done[job.key] = Fused(found.text, ENGINE, found.dropped)
            else:
                faults[job.key] = ""
        for attempt in range(1, self.attempts + 1):
            open_jobs = {
                f"{job.key}#{(job.attempt - 1) * self.attempts + attempt}": job
                for job in jobs
                if job.key in faults
            }
            if not open_jobs:
                break
            for answer in self.generator.generate([self._prompt(k, j, faults) for k, j in open_jobs.items()]):
                self._take(answer, open_jobs, faults, failed, done)
            for job in open_jobs.values():
                faults[job.key] = "it gave no answer"
                failed.add(job.key)
        name = self.generator.name
        for key, why in faults.items():
            said_so = (
                f"{name} wrote no usable prompt {key.partition('/')[2]} in {self.attempts} attempts: {why}"
            )
            done[key] = ClipError(said_so, Reason.ENGINE_FAILED if key in failed else Reason.CAPTION_INVALID)
        return done

    def _take(
        self,
        answer: Answer,
        waiting: dict[str, Wanted],
        faults: dict[str, str],
        failed: set[str],
        done: dict[str, Fused | ClipError],
    ) -> None:
        """One answer: kept when it is sound, noted as a fault when not, passed over when nobody waits for it."""
        if answer.key not in waiting or answer.frames_sha256:
            return
        job = waiting.pop(answer.key)
        paragraph = _paragraph(answer.text)
        notes = " ".join(text for _, text in said(job.caption, job.kind))
        subjects = [subject for _, subject in ordered(job.caption)]
        why = _unfinished(answer) or fault(paragraph, job.language, subjects, notes)
        (failed.add if answer.finish is Finish.ERROR else failed.discard)(job.key)
        if why:
            faults[job.key] = why
            return
        del faults[job.key]
        chosen = self._chosen(job)
        label = f"{self.generator.name} {self.templates[job.kind, job.language].label}"
        dropped = tuple(name for name, _ in said(job.caption, job.kind) if name not in chosen)
        done[job.key] = Fused(_with_camera(unfenced(paragraph), job, chosen), label, dropped)

    def _prompt(self, key: str, job: Wanted, faults: Mapping[str, str]) -> Prompt:
        template = self.templates[job.kind, job.language]
        system, user = template.render({"notes": quoted(self._notes(job))})
        why = faults[job.key]
        return Prompt(
            key=key,
            user=f"{user}\n\n{template.repaired(why)}" if why else user,
            system=system,
            temperature=self.repair_temperature if why or job.attempt > 1 else self.temperature,
            max_tokens=self.max_tokens,
            seed=int.from_bytes(hashlib.sha256(f"{self.seed}\n{key}".encode()).digest()[:4], "big") >> 1,
        )

    def _chosen(self, job: Wanted) -> set[str]:
        """The fields that the prompt tells: what is not dropped, and the camera's motion in this language alone."""
        return {
            name
            for name, text in said(job.caption, job.kind)
            if draw(self.seed, job.clip_id, job.variant, name) >= self.dropout
            and (name != "camera_motion" or in_language(text, job.language, name))
        }

    def _telling(self, job: Wanted) -> bool:
        """Whether there is anything for a model to write about."""
        return bool(job.caption.subjects) or bool(self._chosen(job) - {"camera_motion"})

    def _notes(self, job: Wanted) -> dict[str, Any]:
        """What the model is told, without the camera's motion: its own words for that are wrong too often."""
        chosen, caption = self._chosen(job), job.caption
        shown = caption.model_copy(
            update={name: "" for name in ("shot_type", "shot_angle", "shot_position") if name not in chosen}
        )
        wording = english if job.language == "en" else chinese
        subjects = [
            {"is": noun(subject, job.language)}
            | {
                _SAYS[name]: tidy(getattr(subject, name))
                for name in OF_SUBJECT[job.kind]
                if f"subjects.{number}.{name}" in chosen
            }
            for number, subject in ordered(caption)
        ]
        notes = {
            "framing": wording.shot(shown) if job.kind == "t2v" else "",
            "subjects": subjects,
            "place": tidy(caption.environment) if "environment" in chosen else "",
            "light": tidy(caption.lighting) if "lighting" in chosen else "",
        }
        return {name: value for name, value in notes.items() if value}


def _unfinished(answer: Answer) -> str:
    if answer.finish is Finish.ERROR:
        return answer.message or "it failed"
    return "it ran into the limit of its length" if answer.finish is Finish.LENGTH else ""


def _paragraph(text: str) -> str:
    """The answer up to its first blank line, without a model's thoughts and a fence around it, its lines as they are.

    Nothing stops the model there: a thinking one has blank lines among its thoughts.
    """
    bare = re.sub(r"^```[a-z]*\s*|\s*```$", "", without_thoughts(text).strip())
    return re.split(r"\n\s*\n", bare, maxsplit=1)[0]


def _with_camera(text: str, job: Wanted, chosen: Iterable[str]) -> str:
    wording = english if job.language == "en" else chinese
    parts = [wording.sentence(text)]
    if "camera_motion" in chosen:
        told = in_language(job.caption.camera_motion, job.language, "camera_motion")
        parts.append(wording.camera(told))
    return (" " if job.language == "en" else "").join(parts)


def packaged(languages: Iterable[Language]) -> dict[tuple[Kind, Language], Template]:
    """The templates that come with the program, for these languages."""
    kinds: tuple[Kind, ...] = ("t2v", "i2v")
    return {(k, one): load(f"fusion_{k}_{one}", {"notes"}) for k in kinds for one in languages}
