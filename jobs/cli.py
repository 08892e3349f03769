"""The `rushes` command. Heavy imports wait until a command runs, so that `--help` answers at once."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from jobs.status import AGAIN as AGAIN
from jobs.status import FAILED as FAILED
from jobs.status import GATE as GATE
from jobs.status import NOT_ENOUGH as NOT_ENOUGH
from jobs.status import OK as OK
from jobs.status import USAGE as USAGE
from review.reasons import GATES

if TYPE_CHECKING:
    from jobs.config import Config
    from jobs.run import Run
    from review.reasons import Gate

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
            help="One setting: segment.min_clip_s=3.0",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="Settings file (TOML).",
        ),
    ):
        options = option(options)
    return cast(F, options)


@click.group(cls=Rushes, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rushes")
def cli() -> None:
    """Raw video to bucketed training shards.

    \b
      rushes run VIDEO... --out RUN     the whole chain
      rushes report RUN                 what became of every item

    Exit status: 0 all well, 2 wrong use, 3 failures above the run's limit or nothing kept, 4 a gate
    failed, 5 a gate cannot tell yet, 75 try again.
    """


def sourced(command: F) -> F:
    """The arguments of the two commands that take sources."""
    for option in (
        click.option("--root", "roots", multiple=True, help="A folder that manifests may name files under."),
        click.option(
            "--out",
            type=click.Path(path_type=str),
            required=True,
            metavar="RUN",
            help="Run directory or URL.",
        ),
        click.argument("sources", nargs=-1),
    ):
        command = option(command)
    return command


@cli.command()
@sourced
@click.option("--recipe", "recipes", multiple=True, help="A pool to select: a packaged name or a TOML file.")
@click.option("--pool", "pools", multiple=True, help="A pool to write shards of.")
@click.option("--seed", type=int, help="Seed of every random choice.")
@click.option("--dry-run", is_flag=True, help="Print the plan and do nothing.")
@working
def run(
    sources: tuple[str, ...],
    out: str,
    roots: tuple[str, ...],
    recipes: tuple[str, ...],
    pools: tuple[str, ...],
    seed: int | None,
    dry_run: bool,
    how: How,
) -> None:
    """Do everything: ingest, segment, annotate, caption, dedup, select, balance, shard, report."""
    from jobs import chain

    flags = {
        "sources": sources,
        "recipes": recipes,
        "seed": seed,
        "ingest.roots": roots,
        "shard.pools": pools,
    }
    found = chain.resolve(out, how.config, how.overrides, flags, need_sources=True)
    if dry_run:
        click.echo(chain.plan(out, found))
        return
    with how.opened(out, found) as made:
        status = chain.everything(made)
    sys.exit(status)


@cli.command()
@sourced
@working
def ingest(
    sources: tuple[str, ...],
    out: str,
    roots: tuple[str, ...],
    how: How,
) -> None:
    """Probe and hash the sources; refuse what cannot be used, with its reason."""
    from jobs import chain

    flags = {"sources": sources, "ingest.roots": roots}
    found = chain.resolve(out, how.config, how.overrides, flags, need_sources=True)
    with how.opened(out, found) as made:
        status = chain.step(made, "ingest")
    sys.exit(status)


def add_step(name: str, sentence: str) -> None:
    """A command that does one step of a run that exists."""

    @cli.command(name, help=sentence)
    @RUN
    @working
    def command(
        run: str,
        how: How,
    ) -> None:
        from jobs import chain

        with how.reopened(run) as made:
            status = chain.step(made, name)
        sys.exit(status)


for _name, _sentence in (
    ("segment", "Find shots and clips, in one decode pass that also keeps the stages' frames."),
    ("annotate", "Run the filters over every clip."),
    ("select", "Judge every clip by every recipe: seconds, and no media is touched."),
    ("shard", "Cut, encode and write the bucketed shards of the run's pools."),
):
    add_step(_name, _sentence)


@cli.command()
@RUN
@click.option(
    "--show", metavar="CLIP_ID", help="Print what the captioner is asked for this clip, and do nothing."
)
@click.option(
    "--to",
    "sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help="With --show: where its frames go, side by side. Default: CLIP_ID.png here.",
)
@click.option("--try", "attempt", is_flag=True, help="With --show: ask the engine, and print its answer.")
@working
def caption(run: str, show: str | None, sheet: Path | None, attempt: bool, how: How) -> None:
    """Write a structured caption for every clip."""
    from jobs import chain

    if show is None:
        if sheet is not None or attempt:
            raise click.UsageError("--to and --try go with --show CLIP_ID")
        with how.reopened(run) as made:
            status = chain.step(made, "caption")
        sys.exit(status)
    for text in chain.show_request(run, how.config, how.overrides, show, sheet, attempt):
        click.echo(text)


@cli.command()
@RUN
@click.option(
    "--unmapped",
    is_flag=True,
    help="Only list the words of captions that the taxonomy lacks, the most frequent first.",
)
@working
def balance(run: str, unmapped: bool, how: How) -> None:
    """Balance each pool by concept and other axes, where its recipe says so, and say what was not reached."""
    from jobs import chain

    if unmapped:
        click.echo(chain.unmapped(chain.look(run)))
        return
    with how.reopened(run) as made:
        status = chain.step(made, "balance")
    sys.exit(status)


@cli.command()
@RUN
@click.option(
    "--against", multiple=True, metavar="RUN", help="An earlier run: copies of its clips are duplicates here."
)
@working
def dedup(run: str, against: tuple[str, ...], how: How) -> None:
    """Find copies among the clips, and of clips that earlier runs have."""
    from jobs import chain

    with how.reopened(run, {"dedup.against": against}) as made:
        status = chain.step(made, "dedup")
    sys.exit(status)


@cli.command()
@RUN
@click.option("--despite-gate", is_flag=True, help="Write a pool whose gate failed; its manifest says so.")
@working
def shard(run: str, despite_gate: bool, how: How) -> None:
    """Cut, encode and write the bucketed shards of the run's pools."""
    from jobs import chain

    with how.reopened(run) as made:
        status = chain.step(made, "shard", despite_gate)
    sys.exit(status)


@cli.command()
@RUN
@working
def retry(
    run: str,
    how: How,
) -> None:
    """Try again what failed, and only that; then do what follows from it."""
    from jobs import chain

    with how.reopened(run) as made:
        status = chain.everything(made, retry=True)
    sys.exit(status)


@cli.command()
@RUN
@click.option(
    "--json", "as_json", is_flag=True, help="Print the funnel as JSON instead of writing report.html."
)
def report(run: str, as_json: bool) -> None:
    """Write report.html: the funnel, scores, samples, failures, times."""
    import json

    from jobs import chain
    from jobs.account import funnel

    account = chain.account_of(chain.look(run))
    if as_json:
        click.echo(json.dumps(funnel(account), indent=1, ensure_ascii=False))
    else:
        click.echo(chain.write_report(account))


@cli.command()
@RUN
@click.argument("clip_id")
def explain(run: str, clip_id: str) -> None:
    """Show why a clip is in a pool or not: value, stage, engine and threshold of every rule."""
    from jobs import chain

    click.echo(chain.explain(chain.look(run), clip_id))


@cli.command()
@RUN
@click.option("--recipe", required=True, help="The recipe to try: a packaged name or a TOML file.")
@click.option("--against", help="The pool to compare it with. Default: the run's pool of the same name.")
def whatif(run: str, recipe: str, against: str | None) -> None:
    """Show what another recipe would keep, without touching media or the run."""
    from jobs import chain

    click.echo(chain.whatif(chain.look(run), recipe, against))


@cli.command()
@RUN
@click.option("--recipe", required=True, help="The recipe whose thresholds are tuned: a name or a TOML file.")
@click.option(
    "--labels",
    required=True,
    type=click.Path(path_type=Path),
    help="Reviewers' labels: .csv, .jsonl or .parquet with clip_id and verdict (good or bad).",
)
@click.option("--column", help="Only the rules about this column, with every threshold that was tried.")
@click.option(
    "--limit",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.03,
    show_default=True,
    help="Share of bad clips that may be among the kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def tune(run: str, recipe: str, labels: Path, column: str | None, limit: float, as_json: bool) -> None:
    """Suggest thresholds that reviewers' labels support, with their bounds. Changes nothing."""
    from jobs import chain

    click.echo(chain.tune(chain.look(run), recipe, labels, column, limit, as_json))


POOL = click.option("--pool", help="The pool that is judged; for the gates pretrain and posttrain.")
ONE_GATE = click.option(
    "--gate", type=click.Choice(GATES), help="Which gate. Default: the only review there is."
)


@cli.command("review")
@RUN
@click.option("--gate", type=click.Choice(GATES), default="pretrain", show_default=True, help="Which gate.")
@POOL
@click.option("--limit", type=float, help="Share of bad clips that may pass. Default: 0.15, posttrain 0.03.")
@click.option(
    "--expected", type=float, help="Share of bad clips to be expected. Default: a third of the limit."
)
@click.option("--power", type=float, help="Chance to pass with so many. Default: 0.9.")
@click.option("-n", "n", type=click.IntRange(1), help="Clips to draw, in place of what the limit asks for.")
@click.option("--strata", type=click.IntRange(1), help="Strata at most. Default: 6.")
@click.option("--readers", type=click.IntRange(1, 2), help="People who must call a clip bad. Default: 2.")
@click.option("--rule", type=click.Choice(("fixed", "sequential")), help="How it is decided. Default: fixed.")
@click.option("--seed", type=int, help="Seed of the draw. Default: the run's.")
@click.option("--anew", is_flag=True, help="Set the plan that is there aside and draw another sample.")
@click.option(
    "--clips",
    type=click.Path(path_type=Path),
    help="Review exactly the clips of this file (.csv, .jsonl, .parquet with clip_id): no sample, no gate.",
)
@click.option("--plan", "plan_only", is_flag=True, help="Freeze the plan and print it; serve nothing.")
@click.option("--reviewer", "reviewers", multiple=True, help="Who reviews; several get a link each.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of 127.0.0.1. Default: a free one."
)
@click.option("--no-browser", is_flag=True, help="Print the link only.")
def review_run(
    run: str,
    plan_only: bool,
    reviewers: tuple[str, ...],
    port: int,
    no_browser: bool,
    **asked: Any,
) -> None:
    """Draw a sample of a pool, freeze its plan, and serve a local page on which people judge it."""
    from jobs import chain, review_commands

    made = chain.look(run)
    found = review_commands.begin(made, review_commands.Asked(**asked))
    click.echo(review_commands.about(found))
    if not plan_only:
        review_commands.serve(made, found, reviewers or ("reviewer",), port, not no_browser)


@cli.command()
@RUN
@click.option("--gate", type=click.Choice(GATES), default="pretrain", show_default=True, help="Which gate.")
@POOL
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def gate(run: str, gate: Gate, pool: str | None, as_json: bool) -> None:
    """Say whether a pool passes: exit status 0 pass, 4 fail, 5 not enough is judged yet."""
    from jobs import chain, review_commands

    found, standing = review_commands.conclude(chain.look(run), gate, pool)
    click.echo(found.to_json().decode().rstrip() if as_json else review_commands.show(found))
    if standing.state == "fail" and standing.plan != found.plan:
        fault(
            f"sample {standing.attempt} of the same clips failed, which stands until a later one passes", GATE
        )
    if standing.plan != found.plan:
        fault("stale: the run has changed since this sample was drawn; --anew draws another", NOT_ENOUGH)
    sys.exit({"pass": OK, "fail": GATE, "not_enough": NOT_ENOUGH}[found.state])


@cli.command("review-export")
@RUN
@click.option(
    "--to",
    required=True,
    type=click.Path(path_type=Path),
    help="File: .csv, .jsonl or .parquet for `rushes tune`, .json for Label Studio.",
)
@ONE_GATE
@POOL
@click.option(
    "--truth",
    is_flag=True,
    help="Write the captions that people corrected or called good, for `caption-eval --truth` (.jsonl).",
)
def review_export(run: str, to: Path, gate: Gate | None, pool: str | None, truth: bool) -> None:
    """Write the verdicts of a review to a file, the reasons, notes and corrected captions with them."""
    from jobs import chain, review_commands

    click.echo(review_commands.exported(chain.look(run), gate, pool, to, truth))


@cli.command("review-import")
@RUN
@click.option(
    "--from",
    "source",
    required=True,
    type=click.Path(path_type=Path),
    help="File: .csv, .jsonl or .parquet with clip_id, verdict and reviewer, or Label Studio's .json.",
)
@ONE_GATE
@POOL
@click.option("--reviewer", default="", help="Who judged the rows that name nobody.")
def review_import(run: str, source: Path, gate: Gate | None, pool: str | None, reviewer: str) -> None:
    """Take verdicts that were given elsewhere into a review; the same file twice changes nothing."""
    from jobs import chain, review_commands

    sentences, refused = review_commands.imported(chain.look(run), gate, pool, source, reviewer)
    click.echo("\n".join(sentences))
    sys.exit(FAILED if refused else OK)


@cli.command("caption-eval")
@click.argument("sources", nargs=-1, required=True, metavar="RUN|FILE...")
@click.option(
    "--truth",
    required=True,
    type=click.Path(path_type=Path),
    help="Captions that people have checked: JSON Lines of clip_id and caption.",
)
@click.option("--judge", "url", metavar="URL", help="A server whose language model judges texts.")
@click.option("--judge-model", default="", help="The model's name there.")
@click.option("--judge-key-env", default="", help="Variable of the environment that holds the server's key.")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="With --judge: what was judged before, JSON Lines."
)
@click.option(
    "--words", is_flag=True, help="See by shared words alone which texts are alike: coarse, no weights."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def caption_eval(
    sources: tuple[str, ...],
    truth: Path,
    url: str | None,
    judge_model: str,
    judge_key_env: str,
    cache: Path | None,
    words: bool,
    as_json: bool,
) -> None:
    """Show how right captions are, field by field, in the layout of SkyReels-V2's table; engines side by side."""
    from captioner.engines.server import ServerSettings
    from jobs import captions
    from jobs.progress import printable

    if bool(url) != bool(judge_model):
        raise click.UsageError(
            "--judge and --judge-model belong together: a server's address, and its name of a model"
        )
    if not url and (judge_key_env or cache):
        raise click.UsageError("--judge-key-env and --cache are of a --judge")
    known, engines = captions.read(truth, sources)
    for sentence in (fault for one in (known, *engines) for fault in one.faults):
        click.echo(f"rushes: {printable(sentence)}", err=True)
    server = ServerSettings(url, judge_model, judge_key_env) if url else None
    text, troubles = captions.evaluation(known, engines, captions.judge_by(server, cache, words), as_json)
    click.echo(text if as_json else "\n".join(map(printable, text.splitlines())))
    for sentence in troubles:
        click.echo(f"rushes: {printable(sentence)}", err=True)
    sys.exit(FAILED if troubles else OK)


@cli.command("caption-export")
@RUN
@click.option(
    "--to",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to make: not there yet.",
)
@click.option("-n", "most", type=click.IntRange(1), help="At most so many clips, even over the concepts.")
@click.option(
    "--val",
    type=click.FloatRange(0, 0.5),
    default=0.05,
    show_default=True,
    help="Share of the clips for validation, whole videos each.",
)
@click.option("--pool", help="The pool whose shards are taken. Default: the last that the run shards.")
@click.option("--frames", type=click.IntRange(1, 64), help="So many pictures a clip instead of the clip.")
@click.option(
    "--prompt",
    default="caption_en",
    show_default=True,
    help="What every clip is asked: a packaged prompt, or a file.",
)
@click.option("--seed", default=0, show_default=True, help="Of what is chosen and how it is split.")
@click.option(
    "--without",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Clips to measure with, a row each: neither they nor clips of their videos or copies are taught.",
)
@click.option(
    "--embedded", is_flag=True, help="Teach the embedded captioner's captions too, silent fields and all."
)
def caption_export(
    run: str,
    to: Path,
    most: int | None,
    val: float,
    pool: str | None,
    frames: int | None,
    prompt: str,
    seed: int,
    without: Path | None,
    embedded: bool,
) -> None:
    """Write a set to train a captioner on: for LLaMA-Factory, ms-swift and TRL."""
    from jobs import chain, teach
    from jobs.progress import printable

    made = chain.look(run)
    chosen = pool or made.config.shard.pools[-1]
    teaching = teach.Teaching(made, chosen, most, val, frames, prompt, seed, without, embedded)
    manifest = teaching.write(to)
    for line in teach.told(manifest, to):
        click.echo(printable(line))


@cli.command("caption-pick")
@RUN
@click.option(
    "--to", required=True, type=click.Path(path_type=Path), metavar="FILE", help="A .csv or .jsonl file."
)
@click.option("-n", "most", type=click.IntRange(1), default=200, show_default=True, help="At most so many.")
@click.option("--seed", default=0, show_default=True, help="Decides between equals.")
def caption_pick(run: str, to: Path, most: int, seed: int) -> None:
    """List the clips on which experts and model disagree, for `rushes review --clips`."""
    from jobs import chain, pick

    found = pick.picked(chain.look(run), most, seed)
    pick.write(found, to)
    click.echo(f"{len(found):,} clips of {len({one.video_id for one in found}):,} videos: {to}")


@cli.command()
@RUN
@click.option("--deep", is_flag=True, help="Decode every clip of the shards too.")
def verify(run: str, deep: bool) -> None:
    """Prove every file of a run whole: the ledger's digests, page checksums, and each shard set."""
    from jobs import chain
    from jobs.progress import printable

    problems = chain.verify(run, deep)
    for problem in problems:
        click.echo(printable(problem))
    if problems:
        fault(f"{len(problems)} problems in {run}", FAILED)
    click.echo(f"{run} is whole")


@cli.command()
@click.option(
    "--out",
    default=".",
    metavar="RUN",
    help="Where a run will be. Default: here.",
)
def doctor(out: str) -> None:
    """Check this machine: packages, decoders, weights, Ray, disk, and which promises it cannot keep."""
    from jobs import doctor as examination

    findings = examination.examine(out)
    click.echo(examination.show(findings))
    sys.exit(OK if all(finding.ok is not False or not finding.needed for finding in findings) else USAGE)


@cli.group()
def weights() -> None:
    """The models that stages load: where they are, their licences, their digests."""


CATALOGUE = click.option(
    "--catalogue",
    type=click.Path(path_type=Path, exists=True),
    help="Another catalogue than the packaged one.",
)
INTO = click.option(
    "--into", type=click.Path(path_type=Path), help="Folder to keep them in. Default: the user's cache."
)


@weights.command("list")
@CATALOGUE
@INTO
def list_weights(catalogue: Path | None, into: Path | None) -> None:
    """Show every weight: is it here, its licence, its digest, its places."""
    from jobs import chain

    click.echo(chain.list_weights(catalogue, into))


@weights.command("get")
@click.argument("names", nargs=-1)
@CATALOGUE
@INTO
def get_weights(names: tuple[str, ...], catalogue: Path | None, into: Path | None) -> None:
    """Fetch weights by name (all defaults when none is named), each checked against its digest."""
    from jobs import chain

    for line in chain.get_weights(names, catalogue, into):
        click.echo(line)


@weights.command("verify")
@CATALOGUE
@INTO
def verify_weights(catalogue: Path | None, into: Path | None) -> None:
    """Check the digest of every weight that is here."""
    from jobs import chain

    lines, sound = chain.verify_weights(catalogue, into)
    click.echo("\n".join(lines))
    sys.exit(OK if sound else FAILED)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        cli(prog_name="rushes")
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else int(end.code is not None))


def _leave(status: int) -> None:
    """Ends this process without the farewells of the libraries' own threads, which now and then abort it: a run that is
    done must not end with a signal."""
    atexit._run_exitfuncs()
    with suppress(BrokenPipeError):  # nobody listens any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _stop(number: int, frame: object) -> None:
    """A request to end is taken as Ctrl-C is: what is at work is ended, and one sentence said."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
