"""What `rushes --help` shows: every command once, in the chain's order, no summary cut."""

from __future__ import annotations

from collections.abc import Sequence

import click
import pytest
from click.testing import CliRunner

from jobs import cli
from jobs.config import Config

CHAIN = ["run", "ingest", "segment", "annotate", "caption", "dedup", "select", "balance", "shard", "retry"]
GROUPS = [("--help",), ("weights", "--help")]


def shown(arguments: Sequence[str], width: int = 80) -> str:
    result = CliRunner().invoke(cli.cli, list(arguments), terminal_width=width)
    assert result.exit_code == 0
    return result.output


def listed(text: str) -> list[tuple[str, str]]:
    """The names and the summaries of the commands that a help lists."""
    lines = text.partition("\nCommands:\n")[2].splitlines()
    return [(name, summary.strip()) for name, _, summary in (line.strip().partition("  ") for line in lines)]


@pytest.mark.parametrize("arguments", GROUPS)
def test_no_summary_is_cut_at_80_columns(arguments: Sequence[str]) -> None:
    text = shown(arguments)
    assert max(map(len, text.splitlines())) <= 80
    for name, summary in listed(text):
        assert summary.endswith("."), name
        assert not summary.endswith("..."), name


def test_a_summary_too_long_is_seen_to_be_cut() -> None:
    group = click.Group(commands=[click.Command("long", help="word " * 30 + "end.")])
    text = CliRunner().invoke(group, ["--help"], terminal_width=80).output
    assert [summary.endswith("...") for _, summary in listed(text)] == [True]


def test_every_command_is_listed_once_in_the_order_of_the_chain() -> None:
    names = [name for name, _ in listed(shown(["--help"]))]
    assert names[: len(CHAIN)] == CHAIN
    assert names[-2:] == ["weights", "doctor"]
    assert sorted(names) == sorted(cli.cli.commands)
    assert len(set(names)) == len(names)


def test_the_help_of_a_run_says_what_a_source_is_and_the_defaults_of_the_settings() -> None:
    text = " ".join(shown(["run", "--help"], width=100).split())
    assert "SOURCE..." in text
    for kind in ("folder", "file", "pattern", ".csv", ".jsonl", ".parquet", "URL"):
        assert kind in text
    settings = Config()
    for names in (settings.recipes, settings.shard.pools):
        assert f"Default: {', '.join(names)}." in text
    assert f"Default: {settings.seed}." in text


def options() -> list[tuple[str, click.Option]]:
    found = []
    for name, command in cli.cli.commands.items():
        found += [(name, option) for option in command.params if isinstance(option, click.Option)]
    return found


@pytest.mark.parametrize(
    "option",
    [pytest.param(option, id=f"{name} {option.opts[0]}") for name, option in options() if option.multiple],
)
def test_an_option_that_repeats_says_so(option: click.Option) -> None:
    assert "repeatable" in (option.help or "")
