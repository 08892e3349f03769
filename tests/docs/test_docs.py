"""The pages say what is there: commands, options, settings, reasons, tables, links; and their lines run."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pytest

from balance.resample import BALANCED
from filters.dedup import DUPLICATES, Dedup
from jobs import cli
from jobs.config import Config, Table
from jobs.pools import VERDICTS
from jobs.run import all_stages, caption_names
from jobs.words import EXPLAINED
from pipeline.annotate import schema
from pipeline.clip import BOUNDARIES, CLIPS, SHOTS, VIDEOS
from pipeline.encode import EncodedClip
from pipeline.frames import Limits
from pipeline.reasons import Reason
from pipeline.scan import PROXIES, SIGNALS
from pipeline.segment import DROPPED, Segment
from pipeline.shards import Manifest, ShardFile, ShardRow, write_shard

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ABOVE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
PAGES = [ROOT / name for name in ABOVE] + sorted(DOCS.glob("*.md"))
GROUPS = ("source", "settings", "execution", "weight")
CODE = re.compile(r"`([^`]+)`")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def read(page: Path | str) -> str:
    return (page if isinstance(page, Path) else DOCS / page).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """By heading, the text below it and above the next heading of any level; code blocks hold no headings."""
    found = {"": ""}
    heading, fenced = "", False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            heading = line.lstrip("#").strip()
            found[heading] = ""
        else:
            found[heading] += line + "\n"
    return found


def rows(text: str) -> list[list[str]]:
    """The cells of a text's table rows, headers and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rule = [i for i, row in enumerate(cells) if set("".join(row)) <= set("-: ")]
    return [row for i, row in enumerate(cells) if i not in rule and i + 1 not in rule]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language, or of none."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for name, block in fenced if name == language]


# --- commands


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name, `weights list` and the like included."""
    for name, command in sorted(group.commands.items()):
        yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")


COMMANDS = dict(commands(cli.cli))


def documented(name: str) -> str:
    """The section of one command on the page of commands."""
    pattern = re.compile(rf"`rushes {re.escape(name)}( [A-Z\[-].*)?`")
    (text,) = (text for heading, text in sections(read("commands.md")).items() if pattern.fullmatch(heading))
    return text


def options(text: str) -> set[str]:
    return {name for row in rows(text) if row[0].startswith("`-") for name in CODE.findall(row[0])}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_documented_with_exactly_its_options(name: str) -> None:
    text, page = documented(name), sections(read("commands.md"))
    said = options(text)
    for group in GROUPS:
        if f"(#{group}-options)" in text:
            said |= options(page[f"{group.capitalize()} options"])
    real = {opt for p in COMMANDS[name].params if isinstance(p, click.Option) for opt in p.opts}
    assert said == real


def test_no_command_is_documented_that_is_not_there() -> None:
    names = [
        re.match(r"`rushes ([a-z -]+?)( [A-Z\[-].*)?`$", heading) for heading in sections(read("commands.md"))
    ]
    assert {match[1] for match in names if match} == set(COMMANDS)


def test_the_exit_statuses_are_those_of_the_program() -> None:
    said = [int(row[0]) for row in rows(sections(read("commands.md"))["Exit status"])]
    assert said == [cli.OK, cli.USAGE, cli.FAILED, cli.GATE, cli.NOT_ENOUGH, cli.AGAIN]


def shell_lines(text: str) -> Iterator[list[str]]:
    for block in blocks(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            yield shlex.split(line, comments=True)


def rushes_arguments(words: list[str]) -> list[str] | None:
    """The arguments of `rushes` in a line that calls it by name or as a module; None for other lines."""
    if "jobs.cli" in words:
        return words[words.index("jobs.cli") + 1 :]
    return words[1:] if words[:1] == ["rushes"] else None


def parse(command: click.Command, arguments: list[str]) -> None:
    """Parses a command line as click would, and runs nothing. Raises click.UsageError."""
    if isinstance(command, click.Group):
        name, found, rest = command.resolve_command(click.Context(command), arguments)
        assert found is not None, name
        parse(found, rest)
    else:
        command.make_context(command.name, arguments)


@each_page
def test_every_command_line_of_a_page_parses(page: Path) -> None:
    with chdir(ROOT):  # files that a line names are those of the repository
        for words in shell_lines(read(page)):
            arguments = rushes_arguments(words)
            if arguments is not None:
                parse(cli.cli, arguments)


def test_a_line_with_an_unknown_option_does_not_parse() -> None:
    with pytest.raises(click.UsageError, match="no-such"):
        parse(cli.cli, ["run", "films/", "--out", "my-run", "--no-such"])


@each_page
def test_every_make_target_of_a_page_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    for words in shell_lines(read(page)):
        if words[:1] == ["make"]:
            assert set(words[1:]) <= targets


def test_the_check_runs_the_lines_that_the_readme_says() -> None:
    (lines,) = blocks(sections(read(ROOT / "README.md"))["Test"], "sh")
    run = [line.strip() for line in read(ROOT / ".ci" / "run").splitlines()]
    assert lines.strip().splitlines() == [line for line in run if line.startswith("make ")]


# --- settings


def defaults() -> dict[str, Any]:
    """Every key of a settings file and its default; None: unset."""
    known = dict(of_table(Config(), ""))
    for prefix, fields in (("ingest.limits", Limits()), ("segment", Segment()), ("dedup", Dedup())):
        known |= of_fields(fields, prefix)
    for stage in (*all_stages(), *all_stages("vllm")):
        known |= of_fields(stage, f"stage.{stage.name}")
    return known


def of_table(table: Table, prefix: str) -> Iterator[tuple[str, Any]]:
    for name in type(table).model_fields:
        value = getattr(table, name)
        if isinstance(value, Table):
            yield from of_table(value, f"{prefix}{name}.")
        elif not isinstance(value, Mapping):  # the fields of a mapping are those of a dataclass
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def of_fields(holder: Any, prefix: str) -> dict[str, Any]:
    values = {f"{prefix}.{f.name}": getattr(holder, f.name) for f in dataclasses.fields(holder)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def test_every_setting_is_documented_with_its_default() -> None:
    said = {}
    for cells in rows(read("settings.md")):
        key, default = CODE.findall(cells[0])[0], CODE.findall(cells[1])
        said[key] = tomllib.loads(f"value = {default[0]}")["value"] if default else cells[1]
        assert cells[2], key
    known = defaults()
    assert set(said) == set(known)
    for key, value in known.items():
        if value is None:
            assert said[key] == "unset", key
        elif isinstance(value, float):
            assert said[key] == pytest.approx(value, rel=1e-4), key
        else:
            assert (said[key], type(said[key])) == (value, type(value)), key


def test_the_example_of_settings_is_accepted() -> None:
    (example,) = blocks(read("settings.md"), "toml")
    found = Config.model_validate(tomllib.loads(example))
    assert found.segmenter().min_clip_s == 3.0
    assert found.max_failed.videos == 10


# --- failures


def test_every_reason_is_documented_as_the_report_words_it() -> None:
    table = rows(read("failures.md"))
    assert {CODE.findall(row[0])[0]: row[1] for row in table} == dict(EXPLAINED)
    assert set(EXPLAINED) == {str(reason) for reason in Reason}
    assert all(row[2] for row in table)


# --- the run directory

TABLES: Mapping[str, pa.Schema] = {
    "videos": VIDEOS,
    "signals": SIGNALS,
    "proxies": PROXIES,
    "boundaries": BOUNDARIES,
    "shots": SHOTS,
    "clips": CLIPS,
    "dropped": DROPPED,
    "dedup": DUPLICATES,
    "verdicts": VERDICTS,
    "balance": BALANCED,
}


@pytest.mark.parametrize("name", TABLES)
def test_every_column_of_a_table_is_documented_in_order(name: str) -> None:
    text = sections(read("run-directory.md"))[name]
    table = [row[0] for row in rows(text)]
    listing = ", ".join(table) if table else text.split("\n\n")[0] + text
    said = [word for word in CODE.findall(listing) if word.isidentifier()]
    assert [word for word in dict.fromkeys(said) if word in TABLES[name].names] == TABLES[name].names
    assert not table or set(said) == set(TABLES[name].names)


def test_the_columns_that_every_annotation_has_are_documented() -> None:
    stage = all_stages()[0]
    own = set(stage.columns.names)
    said = CODE.findall(", ".join(row[0] for row in rows(sections(read("run-directory.md"))["annotations"])))
    assert said == [name for name in schema(stage).names if name not in own]


# --- all pages


def test_every_stage_is_on_its_page() -> None:
    pages = {True: read("captions.md") + read("settings.md"), False: read("filters.md")}
    for stage in (*all_stages(), *all_stages("vllm")):
        page = pages[stage.name in caption_names()]
        assert f"`{stage.name}`" in page or f"`stage.{stage.name}." in page, stage.name


def test_the_index_lists_every_page() -> None:
    listed = set(re.findall(r"\]\(([a-z-]+\.md)\)", read("index.md")))
    assert listed == {page.name for page in DOCS.glob("*.md")} - {"index.md"}


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings get where it is shown."""
    names = (re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in sections(text))
    return set(names)


@each_page
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", read(page), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(read(file)), target


def test_the_readme_shows_pictures_of_a_report_and_a_review_of_reasonable_size() -> None:
    pictures = re.findall(r"!\[.+\]\((.+\.png)\)", read(ROOT / "README.md"))
    assert [Path(picture).stem for picture in pictures] == ["report", "review"]
    for picture in pictures:
        data = (ROOT / picture).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) < 400_000


def test_the_tree_of_the_readme_is_the_tree() -> None:
    (tree,) = (block for block in blocks(read(ROOT / "README.md"), "") if "the core:" in block)
    said = {line.split()[0] for line in tree.splitlines() if not line.startswith(" ")}
    folders = {f"{path.parts[0]}/" for path in tracked() if len(path.parts) > 1}
    assert said == {name for name in folders if not name.startswith(".")}
    inner = [line.split()[0] for line in tree.splitlines() if line.startswith("  ")]
    assert all((ROOT / "pipeline" / name).is_file() for name in inner)


def tracked() -> list[Path]:
    """The files of the repository; what git ignores is none of it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [Path(line) for line in done.stdout.splitlines()]


def test_every_dependency_is_accounted_for() -> None:
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    page = sections(read("dependencies.md"))
    needed = {CODE.findall(row[0])[0] for row in rows(page["Dependencies"])}
    assert needed == {bare(spec) for spec in project["dependencies"]}
    extras = {CODE.findall(row[0])[0]: set(CODE.findall(row[1])) for row in rows(page["Extras"])}
    assert extras == {
        name: {bare(spec) for spec in specs} for name, specs in project["optional-dependencies"].items()
    }


def bare(spec: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", spec)
    assert found is not None, spec
    return found[0]


def test_the_licences_are_those_that_the_packages_state() -> None:
    for cells in rows(sections(read("dependencies.md"))["Dependencies"]):
        about = importlib.metadata.metadata(CODE.findall(cells[0])[0])
        stated = str([about.get_all(key) for key in ("License-Expression", "License", "Classifier")])
        first = re.split(r"[- ;]", cells[4])[0]
        assert first in stated, (cells[0], cells[4])


# --- the README's code


@pytest.fixture
def make_pool() -> Callable[[Path], None]:
    """Writes a pool of one bucket with two clips into a folder."""

    def write(folder: Path) -> None:
        made = []
        for number in range(2):
            data = bytes([number]) * 100
            digest = hashlib.sha256(data).hexdigest()
            clip = EncodedClip(data, "video/mp4", digest, 96, 96, 9, 24, None, None, 0, 8)
            made.append(ShardRow(f"clip-{number}", "v", "v.mp4", 0.0, 0.375, clip, "t009-ar1x1", "256p"))
        data = write_shard(made)
        (folder / "t009-ar1x1").mkdir(parents=True)
        (folder / "t009-ar1x1" / "part.parquet").write_bytes(data)
        file = ShardFile("t009-ar1x1/part.parquet", hashlib.sha256(data).hexdigest(), len(data), 2)
        (folder / "manifest.json").write_bytes(Manifest("256p", "r", {}, (file,)).to_json())

    return write


def test_the_readme_reads_shards_with_pyarrow_alone(
    tmp_path: Path, make_pool: Callable[[Path], None]
) -> None:
    (block,) = blocks(read(ROOT / "README.md"), "python")
    make_pool(tmp_path / "demo-run" / "shards" / "256p")
    command = [sys.executable, "-W", "error", "-c", block]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"t009-ar1x1 clip-{number} 9 24 100 None" for number in range(2)]
    imported = set(re.findall(r"^(?:import|from) (\w+)", block, re.MULTILINE))
    assert imported == {"json", "pathlib", "pyarrow"}
