"""The `rushes` command. Heavy imports wait until a command runs, so that `--help` answers at once."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import click

from jobs import cli_captions, cli_review, cli_weights
from jobs.command import RUN, How, Rushes, fault, sourced, working
from jobs.status import AGAIN as AGAIN
from jobs.status import FAILED as FAILED
from jobs.status import GATE as GATE
from jobs.status import NOT_ENOUGH as NOT_ENOUGH
from jobs.status import OK as OK
from jobs.status import USAGE as USAGE


@click.group(cls=Rushes, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rushes")
def cli() -> None:
    """Raw video to bucketed training shards.

    \b
      rushes run SOURCE... --out RUN    the whole chain
      rushes report RUN                 what became of every item

    Exit status: 0 all well, 2 wrong use, 3 failures above the run's limit or nothing kept, 4 a gate
    failed, 5 a gate cannot tell yet, 75 try again.
    """


@cli.command(short_help="Do everything, from sources to shards and report.")
@sourced
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    help="A pool to select: a packaged name or a TOML file; repeatable. Default: 256p, 360p, 540p, sft_540p.",
)
@click.option("--pool", "pools", multiple=True, help="A pool to write shards of; repeatable. Default: 540p.")
@click.option("--seed", type=int, help="Seed of every random choice. Default: 0.")
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
    """Do everything: ingest, segment, annotate, caption, dedup, select, balance, shard, report.

    A SOURCE is a folder, a file, a pattern, a manifest (.csv, .jsonl, .parquet), or a URL of any of these.
    """
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


@cli.command(short_help="Probe and hash the sources.")
@sourced
@working
def ingest(
    sources: tuple[str, ...],
    out: str,
    roots: tuple[str, ...],
    how: How,
) -> None:
    """Probe and hash the sources; refuse what cannot be used, with its reason.

    A SOURCE is a folder, a file, a pattern, a manifest (.csv, .jsonl, .parquet), or a URL of any of these.
    """
    from jobs import chain

    flags = {"sources": sources, "ingest.roots": roots}
    found = chain.resolve(out, how.config, how.overrides, flags, need_sources=True)
    with how.opened(out, found) as made:
        status = chain.step(made, "ingest")
    sys.exit(status)


def add_step(name: str, summary: str, sentence: str) -> None:
    """A command that does one step of a run that exists."""

    @cli.command(name, short_help=summary, help=sentence)
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


add_step(
    "segment",
    "Find shots and clips in one decode pass.",
    "Find shots and clips, in one decode pass that also keeps the stages' frames.",
)
add_step("annotate", "Run the filters over every clip.", "Run the filters over every clip.")


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


@cli.command(short_help="Find copies among the clips and earlier runs.")
@RUN
@click.option(
    "--against",
    multiple=True,
    metavar="RUN",
    help="An earlier run: copies of its clips are duplicates here; repeatable.",
)
@working
def dedup(run: str, against: tuple[str, ...], how: How) -> None:
    """Find copies among the clips, and of clips that earlier runs have."""
    from jobs import chain

    with how.reopened(run, {"dedup.against": against}) as made:
        status = chain.step(made, "dedup")
    sys.exit(status)


add_step(
    "select",
    "Judge every clip by every recipe.",
    "Judge every clip by every recipe: seconds, and no media is touched.",
)


@cli.command(short_help="Even out subjects where a recipe says so.")
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


@cli.command(short_help="Write the bucketed shards of the run's pools.")
@RUN
@click.option("--despite-gate", is_flag=True, help="Write a pool whose gate failed; its manifest says so.")
@working
def shard(run: str, despite_gate: bool, how: How) -> None:
    """Cut, encode and write the bucketed shards of the run's pools."""
    from jobs import chain

    with how.reopened(run) as made:
        status = chain.step(made, "shard", despite_gate)
    sys.exit(status)


@cli.command(short_help="Try again what failed, and what follows from it.")
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


@cli.command(short_help="Write report.html: what became of every item.")
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


@cli.command(short_help="Show why a clip is in a pool or not.")
@RUN
@click.argument("clip_id")
def explain(run: str, clip_id: str) -> None:
    """Show why a clip is in a pool or not: value, stage, engine and threshold of every rule."""
    from jobs import chain

    click.echo(chain.explain(chain.look(run), clip_id))


@cli.command(short_help="Show what another recipe would keep.")
@RUN
@click.option("--recipe", required=True, help="The recipe to try: a packaged name or a TOML file.")
@click.option("--against", help="The pool to compare it with. Default: the run's pool of the same name.")
def whatif(run: str, recipe: str, against: str | None) -> None:
    """Show what another recipe would keep, without touching media or the run."""
    from jobs import chain

    click.echo(chain.whatif(chain.look(run), recipe, against))


@cli.command(short_help="Suggest thresholds that labels support.")
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


@cli.command(short_help="Prove every file of a run whole.")
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


for _command in (*cli_captions.COMMANDS, *cli_review.COMMANDS, cli_weights.weights):
    cli.add_command(_command)


@cli.command(short_help="Check what this machine can run and promise.")
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
