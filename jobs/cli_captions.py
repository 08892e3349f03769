"""The commands about captions as a whole: how right they are, a set to learn from, what people should see."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from jobs.command import RUN, Careful
from jobs.status import FAILED, OK


@click.command("caption-eval", cls=Careful, short_help="Show how right captions are, field by field.")
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


@click.command("caption-export", cls=Careful, short_help="Write a set to train a captioner on.")
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
@click.option("--seed", default=0, show_default=True, help="Seed of the choice and of the split.")
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


@click.command("caption-pick", cls=Careful, short_help="List clips on which experts and model disagree.")
@RUN
@click.option(
    "--to", required=True, type=click.Path(path_type=Path), metavar="FILE", help="A .csv or .jsonl file."
)
@click.option("-n", "most", type=click.IntRange(1), default=200, show_default=True, help="At most so many.")
@click.option("--seed", default=0, show_default=True, help="Seed that breaks ties.")
def caption_pick(run: str, to: Path, most: int, seed: int) -> None:
    """List the clips on which experts and model disagree, for `rushes review --clips`."""
    from jobs import chain, pick

    found = pick.picked(chain.look(run), most, seed)
    pick.write(found, to)
    for line in pick.told(found, most, to):
        click.echo(line)


COMMANDS = (caption_eval, caption_export, caption_pick)
