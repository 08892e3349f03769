"""The commands of people: review, gate, and labels out and in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.command import RUN, Careful, fault
from jobs.status import FAILED, GATE, NOT_ENOUGH, OK
from review.reasons import GATES

if TYPE_CHECKING:
    from review.reasons import Gate

POOL = click.option("--pool", help="The pool that is judged.")
POOL_OF_GATE = click.option(
    "--pool", help="The pool that is judged; for the gates pretrain and posttrain, and required there."
)
ONE_GATE = click.option(
    "--gate", type=click.Choice(GATES), help="Which gate. Default: the only review there is."
)


@click.command("review", cls=Careful, short_help="Judge a sample of clips on a local page.")
@RUN
@click.option("--gate", type=click.Choice(GATES), default="pretrain", show_default=True, help="Which gate.")
@POOL_OF_GATE
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
@click.option("--reviewer", "reviewers", multiple=True, help="Who reviews; repeatable, a link each.")
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
    several = len(set(reviewers)) > 1
    found = review_commands.begin(made, review_commands.Asked(**asked, several=several))
    click.echo(review_commands.about(found))
    if not plan_only:
        review_commands.serve(made, found, reviewers or ("reviewer",), port, not no_browser)


@click.command(cls=Careful, short_help="Say whether a pool passes its review.")
@RUN
@click.option("--gate", type=click.Choice(GATES), default="pretrain", show_default=True, help="Which gate.")
@POOL_OF_GATE
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


@click.command("review-export", cls=Careful, short_help="Write a review's verdicts to a file.")
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
@click.option(
    "--previews",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the clips as films that Label Studio can serve; with .json.",
)
def review_export(
    run: str, to: Path, gate: Gate | None, pool: str | None, truth: bool, previews: Path | None
) -> None:
    """Write the verdicts of a review to a file, the reasons, notes and corrected captions with them."""
    from jobs import chain, review_commands

    click.echo(review_commands.exported(chain.look(run), gate, pool, to, truth, previews))


@click.command("review-import", cls=Careful, short_help="Take verdicts from elsewhere into a review.")
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
@click.option(
    "--reviewer",
    "reviewers",
    multiple=True,
    help="Who judged the rows that name nobody; NUMBER=NAME of an account of Label Studio, repeatable.",
)
def review_import(
    run: str, source: Path, gate: Gate | None, pool: str | None, reviewers: tuple[str, ...]
) -> None:
    """Take verdicts that were given elsewhere into a review; the same file twice changes nothing."""
    from jobs import chain, review_commands

    sentences, refused = review_commands.imported(chain.look(run), gate, pool, source, reviewers)
    click.echo("\n".join(sentences))
    sys.exit(FAILED if refused else OK)


COMMANDS = (review_run, gate, review_export, review_import)
