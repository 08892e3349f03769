"""What every command is made of: its options, the run it works on, and faults as one sentence and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from jobs.status import AGAIN, GATE, USAGE

if TYPE_CHECKING:
    from jobs.config import Config
    from jobs.run import Run

F = TypeVar("F", bound=Callable[..., Any])


class Careful(click.Command):
    """A command that refuses a URL with a key in it wherever it is given, by its place: nothing repeats the key."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from pipeline.credentials import WAY_OUT, carries_credentials

        for number, (before, text) in enumerate(zip(["", *args], args, strict=False), 1):
            if carries_credentials(text):
                option = (text if text.startswith("-") else before).partition("=")[0]
                place = f"after {option}" if option.startswith("-") else f"in argument {number}"
                raise click.UsageError(f"the URL {place} {WAY_OUT}", ctx)
        return super().parse_args(ctx, args)


class Rushes(click.Group):
    """The command group; turns every expected fault into one sentence and its exit status."""

    command_class = Careful
    group_class = type

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are written: the chain's."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            fault("stopped; run the same command again to go on", AGAIN)
        except Exception as error:
            status = status_of(error)
            if status is None:
                raise
            fault(str(error), status)


def fault(sentence: str, status: int) -> None:
    from jobs.progress import printable
    from pipeline.credentials import redacted

    click.echo(f"rushes: {printable(redacted(sentence))}", err=True)
    sys.exit(status)


def status_of(error: BaseException) -> int | None:
    """The exit status of an expected fault; None for a bug, which shows its traceback."""
    from captioner.prompt import PromptError
    from jobs.config import ConfigError
    from jobs.review import GateFailed
    from jobs.run import NotReady
    from pipeline.cluster import ClusterError
    from pipeline.recipe import RecipeError
    from pipeline.runner import WorkerError
    from pipeline.shards import ShardError
    from pipeline.sources import FULL, SourceError
    from pipeline.stage import StageDied
    from pipeline.store import StorageError, Unreachable
    from pipeline.weights import WeightError
    from review.plan import PlanError
    from review.store import ReviewError

    if isinstance(error, GateFailed):
        return GATE
    if isinstance(error, PlanError | ReviewError):
        return USAGE
    if isinstance(error, WorkerError) and error.__cause__ is not None:
        return status_of(error.__cause__)
    if isinstance(error, ConfigError | NotReady | PromptError | RecipeError | SourceError | WeightError):
        return USAGE
    full = isinstance(error, OSError) and error.errno in FULL  # of a scratch folder, say
    again = StorageError | Unreachable | ShardError | StageDied | WorkerError | ClusterError
    return AGAIN if full or isinstance(error, again) else None


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A cluster's address, which may stand in the environment and need not have a scheme."""
    from pipeline.credentials import WAY_OUT, carries_credentials

    if value is not None and carries_credentials(value if "://" in value else f"ray://{value}"):
        raise click.BadParameter(f"the address {WAY_OUT}")
    return value


RUN = click.argument("run", type=click.Path(path_type=str))


@dataclass(frozen=True)
class How:
    """What every command that does work is told beside what to do: other settings, and where to work."""

    config: Path | None
    overrides: tuple[str, ...]
    workers: int | None
    ray: str | None
    quiet: bool

    @contextmanager
    def opened(self, out: str, found: Config) -> Iterator[Run]:
        """The run directory with these settings, held for this process."""
        from jobs import chain

        with chain.opened(out, found, self.workers, self.ray, self.quiet) as made:
            yield made

    @contextmanager
    def reopened(self, out: str, flags: Mapping[str, Any] | None = None) -> Iterator[Run]:
        """A run that exists, with its own settings but for those given here."""
        from jobs import chain

        with self.opened(out, chain.reopened(out, self.config, self.overrides, flags or {})) as made:
            yield made


def working(command: F) -> F:
    """The options of every command that does work, handed over together as `how`."""

    @wraps(command)
    def told(**given: Any) -> Any:
        how = How(**{field.name: given.pop(field.name) for field in fields(How)})
        return command(how=how, **given)

    options: Any = told
    for option in (
        click.option("--quiet", is_flag=True, help="Show no progress."),
        click.option(
            "--ray",
            "ray",
            callback=_address,
            envvar="RAY_ADDRESS",
            help="Address of a running Ray cluster, or 'auto'.",
        ),
        click.option(
            "--workers", type=click.IntRange(0), help="Workers; 0 is this process. Default: one a CPU."
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="One setting, such as segment.min_clip_s=3.0; repeatable.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="Settings file (TOML).",
        ),
    ):
        options = option(options)
    return cast(F, options)


def sourced(command: F) -> F:
    """The arguments of the two commands that take sources."""
    for option in (
        click.option(
            "--root",
            "roots",
            multiple=True,
            help="A folder or URL prefix that manifests may name files under; repeatable.",
        ),
        click.option(
            "--out",
            type=click.Path(path_type=str),
            required=True,
            metavar="RUN",
            help="Run directory or URL.",
        ),
        click.argument("sources", nargs=-1, metavar="SOURCE..."),
    ):
        command = option(command)
    return command
