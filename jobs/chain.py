"""What the commands do: settings resolved, a run opened, the steps in order, and the exit status."""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from filters import dedup
from jobs import balancing
from jobs import config as settings
from jobs import labels as reviewing
from jobs import tune as tuning
from jobs.account import Account, PoolAccount, funnel
from jobs.axes import balance_of, lacking
from jobs.config import Config, ConfigError
from jobs.crops import CLEAN
from jobs.outputs import put
from jobs.pools import DUPLICATE_COLUMNS, Pools, by_clip
from jobs.progress import Progress, printable
from jobs.proof import Proof
from jobs.review import ABSENT, GateFailed
from jobs.run import NotReady, Run, caption_names, chosen_stages
from jobs.shards import Shards
from jobs.status import FAILED
from jobs.tables import origins, schema
from pipeline import recipe as recipes
from pipeline import weights as weighing
from pipeline import whatif as comparing
from pipeline.cluster import disconnect
from pipeline.credentials import WAY_OUT, carries_credentials
from pipeline.runner import Pool
from pipeline.scratch import FETCHED, sweep
from pipeline.sources import Sources
from pipeline.store import Failure, Store
from pipeline.transnet import native_precision

CAUSES = 3
"""That a pool without clips is explained by, those that drop the most first."""
STEPS = ("ingest", "segment", "annotate", "caption", "dedup", "select", "balance", "shard", "report")


def resolve(
    out: str,
    file: Path | None,
    overrides: Sequence[str],
    flags: Mapping[str, Any],
    need_sources: bool = False,
) -> Config:
    """The settings of a run: RUN/run.toml as it stands, else the defaults; over them the file, --set, and flags."""
    plain: dict[str, Any] = {}
    if file is not None:
        plain = settings.load(file).model_dump(mode="json", exclude_unset=True)
    elif is_run(out):
        plain = settings.loads(store_at(out).read("run.toml"), f"{out}/run.toml")
    for override in overrides:
        _put(plain, *_assignment(override))
    for key, value in flags.items():
        if value not in (None, (), []):
            _put(plain, key.split("."), list(value) if isinstance(value, tuple) else value)
    where = "the settings given" if overrides or any(flags.values()) else f"{out}/run.toml"
    found = settings.absolute(settings.parse(plain, str(file) if file is not None else where), Path.cwd())
    if need_sources and not found.sources:
        raise ConfigError("no SOURCE given: name a folder, a file, a pattern or a manifest")
    if found.precision == "auto" and is_run(out):
        found = found.model_copy(update={"precision": _precision_of(out)})
    check(found)
    return found


def _precision_of(out: str) -> str:
    """What a run that exists is computed in: `auto` was settled when it began."""
    where = f"{out}/run.toml"
    plain = settings.loads(store_at(out).read("run.toml"), where)
    return settings.parse({"precision": plain.get("precision", "auto")}, where).precision


def check(config: Config) -> None:
    """Looks at every setting that is not a plain value, so that a fault is said before any work is done."""
    config.limits()
    config.segmenter()
    config.deduplicator()
    config.taxonomy()
    known = pa.schema(
        [*schema(chosen_stages(config)), *(dedup.DUPLICATES.field(n) for n in DUPLICATE_COLUMNS)]
    )
    names = []
    for name in config.recipes:
        recipe = recipes.load(name)
        recipes.check(recipe, known)
        names.append(recipe.name)
        if recipe.crop == "clean" and not set(CLEAN) <= set(known.names):
            raise ConfigError(
                f"{name} crops to the clean rectangle: the run's stages must have 'crop' among them"
            )
        lacks = lacking(balance_of(recipe, config.taxonomy()), known.names) if recipe.balance else ""
        if lacks:
            raise ConfigError(f"{name} {lacks}")
    if len(set(names)) < len(names):
        raise ConfigError(f"recipes: two of them make a pool of the same name: {', '.join(names)}")
    for pool in config.shard.pools:
        if pool not in names:
            raise ConfigError(
                f"shard.pools has '{pool}', which is none of the run's recipes: {', '.join(names)}"
            )


def _assignment(text: str) -> tuple[list[str], Any]:
    key, sign, value = text.partition("=")
    if not sign or carries_credentials(key):
        raise ConfigError(
            "--set takes KEY=VALUE, one setting of the settings file: there is no such key here"
        )
    try:
        return key.strip().split("."), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip().split("."), value.strip()  # a bare word is a string


def _put(plain: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        plain = plain.setdefault(key, {})
        if not isinstance(plain, dict):
            raise ConfigError(f"{'.'.join(keys)}: '{key}' is a value, not a table")
    plain[keys[-1]] = value


def store_at(root: str) -> Store:
    """The run directory of this name; ConfigError when it is a URL with a key in it."""
    if carries_credentials(root):
        raise ConfigError(f"the URL of RUN {WAY_OUT}")
    return Store(root if "://" in root else os.path.abspath(root))


def is_run(root: str) -> bool:
    return store_at(root).size("run.toml") is not None


@contextmanager
def opened(
    out: str, config: Config, workers: int | None, ray_address: str | None, quiet: bool
) -> Iterator[Run]:
    """The run directory with these settings written into it, held for this process; nothing runs on afterwards."""
    if workers is None and ray_address is None:
        workers = len(os.sched_getaffinity(0))
    store = store_at(out)
    if config.precision == "auto":
        config = config.model_copy(update={"precision": native_precision()})
    with store.locked():
        sweep(FETCHED)  # a film, perhaps, that a killed command has left
        store.put_text("run.toml", settings.dump(config))
        try:
            yield Run(store, config, Pool(workers, ray_address), Progress(quiet=quiet))
        finally:
            disconnect()


def plan(out: str, config: Config) -> str:
    """What a run with these settings would do, in words."""
    items = Sources(config.sources, config.ingest.roots, config.ingest.path_column).list()
    refused = sum(item.refused is not None for item in items)
    stages = chosen_stages(config)
    lines = [
        f"run       {out}",
        f"ingest    {len(items)} items, {sum(i.bytes for i in items) / 2**20:.1f} MiB"
        + (f"; {refused} cannot be used" if refused else ""),
        "segment   TransNetV2 and PySceneDetect in one decode pass, keeping a proxy for the stages",
    ]
    for stage in stages:
        step = "caption " if stage.name in caption_names() else "annotate"
        lines.append(f"{step}  {stage.name}: {', '.join(stage.columns.names)}")
    lines.append("dedup     copies: equal, near, cut or shifted in time, by hashes and embeddings")
    for name in config.recipes:
        found = recipes.load(name)
        lines.append(f"select    {found.name}: " + "; ".join(f"{r.column} {r.threshold}" for r in found.own))
    balanced = [found.name for found in map(recipes.load, config.recipes) if found.balance]
    lines.append(f"balance   {', '.join(balanced) or 'no recipe asks for it'}")
    lines.append(f"shard     {', '.join(config.shard.pools)}")
    lines.append("report    report.html")
    return "\n".join(map(printable, lines))


def annotate_names(config: Config) -> list[str]:
    """The stages that `rushes annotate` runs."""
    return [stage.name for stage in chosen_stages(config) if stage.name not in caption_names()]


# --- the steps


def reopened(
    root: str, file: Path | None, overrides: Sequence[str], flags: Mapping[str, Any] | None = None
) -> Config:
    """The settings of a run that exists, with what is given over them."""
    if not is_run(root):
        raise NotReady(f"{root} is no run directory: make one with `rushes run SOURCE... --out {root}`")
    return resolve(root, file, overrides, flags or {})


def look(root: str) -> Run:
    """A run that exists, to be looked at: nothing is written, so it may be at work meanwhile."""
    return Run(store_at(root), reopened(root, None, ()))


def account_of(run: Run) -> Account:
    return Account(Shards(Pools(run)))


def do(run: Run, name: str, retry: bool = False, despite: bool = False) -> None:
    """One step, all that it builds on being done; `despite` writes shards though a gate failed."""
    shards = Shards(Pools(run))
    recipes = shards.pools.recipes
    if name == "ingest":
        run.ingest(retry)
    elif name == "segment":
        run.segment(retry)
    elif name == "annotate":
        run.annotate(annotate_names(run.config), "annotate", retry)
    elif name == "caption":
        run.annotate(caption_names(), "caption", retry)
    elif name == "dedup":
        shards.pools.dedup()
    elif name == "select":
        for recipe in recipes:
            shards.pools.select(recipe)
    elif name == "balance":
        for recipe in recipes:
            shards.pools.balance(recipe)
    elif name == "shard":
        write_shards(shards, retry, despite)


def write_shards(shards: Shards, retry: bool, despite: bool) -> None:
    """The shards of every pool that its gates let through. GateFailed, when those are done: one of them did not."""
    refused: list[GateFailed] = []
    for pool in shards.run.config.shard.pools:
        try:
            shards.write(shards.plan(shards.pools.recipe(pool)), retry, despite)
        except GateFailed as error:
            refused.append(error)
    if refused:
        raise refused[0]


def step(run: Run, name: str, despite: bool = False) -> int:
    """One step by itself; the exit status. `despite` is of the shards: written though a gate failed."""
    if name in ("annotate", "caption"):
        run.ready(annotate_names(run.config) if name == "annotate" else caption_names())
    do(run, name, despite=despite)
    account = account_of(run)
    if name == "balance":
        for found in outcomes(account):
            for line in balancing.lines(found):
                run.progress.say(printable(line))
    return status(account)


def outcomes(account: Account) -> list[balancing.Outcome]:
    """What the balances of a run's pools did, as far as they are made."""
    found = (balancing.outcome(account.pools, recipe) for recipe in account.pools.recipes)
    return [one for one in found if one is not None]


def everything(run: Run, retry: bool = False) -> int:
    """The whole chain; the exit status. GateFailed, once all else is done: reviewers refused a pool."""
    run.ready([*annotate_names(run.config), *caption_names()])
    refused: GateFailed | None = None
    for name in STEPS[:-1]:
        try:
            do(run, name, retry)
        except GateFailed as error:
            refused = error
    account = account_of(run)
    summary(account, write_report(account))
    if refused is not None:
        raise refused
    return status(account)


def summary(account: Account, report: str) -> None:
    """The funnel in a few lines, where the shards and the report are."""
    run = account.run
    found = funnel(account)
    say = run.progress.say
    say("")
    if not run.did:
        say("everything was done already; nothing changed")
    for name in ("videos", "clips", "seconds"):
        say(f"{name:<8} " + ", ".join(f"{key} {value:,}" for key, value in found[name].items()))
    for name, pool in found["pools"].items():
        say(f"  {name:<10} {pool['kept']:,} of {pool['in']:,} clips, {pool['seconds']['kept']:,} s")
        judged = [f"{gate} {state}" for gate, state in pool["gates"].items() if state != ABSENT]
        if judged:
            say(f"             gates: {', '.join(judged)}")
    for name, shards in found["shards"].items():
        folder = f"{run.store.root}/shards/{name}"
        say(
            f"shards   {folder}: {shards['rows']:,} clips in {shards['files']} files, {shards['bytes'] / 2**20:.1f} MiB"
        )
    for balanced in outcomes(account):
        say(f"balance  {balanced.pool}: {balanced.after:,} of {balanced.before:,} clips stay")
        for sentence in balancing.unreached(balanced):
            say(printable(f"         {sentence}"))
    if found["failures"]:
        say(
            f"failed   {len(found['failures'])} items: see the report; `rushes retry {run.store.root}` tries them again"
        )
    say(f"report   {report}")


def status(account: Account) -> int:
    """0, or 3 when more failed than the run allows or no clip was kept by the pools that were judged."""
    run = account.run
    videos = account.videos()
    clips, _ = account.clips()
    limits = run.config.max_failed
    if not videos.entered:
        run.progress.warn(
            "rushes: nothing to do: there is no media in " + (", ".join(run.config.sources) or "no sources")
        )
        return FAILED
    if videos.failed > limits.videos:
        run.progress.warn(
            f"rushes: {int(videos.failed)} videos failed, the run allows {limits.videos}"
            f" (max_failed.videos); the first: {first(account.video_causes)}"
        )
        return FAILED
    broken = len({failure.item for failure in account.clip_causes})
    if broken > limits.clips:
        run.progress.warn(
            f"rushes: {broken} clips failed a stage, the run allows {limits.clips} (max_failed.clips);"
            f" the first: {first(account.clip_causes)}"
        )
        return FAILED
    if not videos.pending and not clips.pending and not clips.kept:
        widest = [pool for pool in account.accounts if pool.recipe.parent is None]
        run.progress.warn(f"rushes: nothing was kept{_why_empty(account, widest)}")
        return FAILED
    sharded = [pool for pool in account.accounts if pool.manifest is not None]
    rows = sum(pool.manifest.totals["rows"] for pool in sharded if pool.manifest is not None)
    if sharded and not rows and not videos.pending:
        why = _why_empty(account, sharded)
        others = [pool for pool in account.accounts if pool.manifest is None and pool.clips.kept]
        way_out = ", ".join(f"{pool.recipe.name} keeps {pool.clips.kept:,.0f}" for pool in others)
        way_out = f"; {way_out} (--pool {others[0].recipe.name})" if others else ""
        run.progress.warn(f"rushes: the shards are empty{why}{way_out}")
        return FAILED
    return 0


def _why_empty(account: Account, pools: Sequence[PoolAccount]) -> str:
    """What drops the most clips of these pools, and where the rest stands."""
    if not any(pool.clips.entered for pool in pools) and "shot" in account.dropped()["kind"].to_pylist():
        least = account.run.config.segmenter().min_clip_s
        return f": no shot is long enough for a clip of {least:g} s (segment.min_clip_s)"
    told = []
    for pool in pools:
        failed = account.pools.verdicts(pool.recipe).column("failed").combine_chunks().flatten()
        counts = Counter({row["values"]: row["counts"] for row in failed.value_counts().to_pylist()})
        if pool.fate is not None:
            counts += Counter({"balance": pool.fate.balanced_out}) + Counter(pool.fate.misfits)
        causes = ", ".join(f"{name} ({clips:,})" for name, clips in counts.most_common(CAUSES))
        told += [f"{pool.recipe.name} drops clips for {causes}"] if causes else []
    return f": {'; '.join(told)}; `rushes report` shows all" if told else "; `rushes report` says why"


def first(failures: Sequence[Failure]) -> str:
    """The first of them, in words."""
    failure = failures[0]
    return f"{failure.item}: {failure.message} ({failure.reason}); `rushes report` shows all"


# --- looking


def write_report(account: Account) -> str:
    """Writes report.html and gives its path."""
    from jobs.gather import Gather
    from jobs.report import render

    store = account.run.store
    store.put_text("report.html", render(Gather(account).data()))
    return f"{store.root}/report.html"


def show_request(
    root: str, file: Path | None, overrides: Sequence[str], clip_id: str, sheet: Path | None, attempt: bool
) -> Iterator[str]:
    """What the captioner is asked for a clip, where its frames were written, and (on an attempt) what it answers."""
    from jobs.caption import asked

    found = asked(Run(store_at(root), reopened(root, file, overrides)), clip_id)
    yield found.text()
    to = sheet or Path(f"{found.clip.clip_id}.png")
    put(to, found.sheet())
    yield f"--- the frames are in {to}"
    if attempt:
        generator = found.stage.generator()
        try:
            yield found.tried(generator)
        finally:
            generator.close()


def explain(run: Run, clip_id: str) -> str:
    """Every rule of every pool and how this clip came through it."""
    pools = Pools(run)
    found = next(((r, batch.schema) for batch in pools.measured() if (r := by_clip(batch, clip_id))), None)
    if found is None:
        raise NotReady(
            f"{run.store.root} has no clip {clip_id}: its ids are in the clips@*/ tables and the report"
        )
    row, kinds = found
    clip = pa.Table.from_pylist([row], kinds)
    video = run.used[row["video_id"]]
    lines = [
        f"clip {clip_id}: {row['start_s']:.3f}-{row['end_s']:.3f} s of {video['path']}",
        f"{row['width']}x{row['height']}, {row['fps']:.3f} fps, frames {row['start_frame']}-{row['end_frame']}",
    ]
    if row["failed_stages"]:
        lines.append(f"stages that failed for it: {', '.join(row['failed_stages'])}")
    known = origins(run.planned) | pools.duplicate_origins
    told: set[str] = set()
    for recipe in pools.recipes:
        answers = recipes.explain(recipe, clip, known)
        lines.append(f"{recipe.name}: {'kept' if all(answer.passed for answer in answers) else 'rejected'}")
        if any(answer.rule in told for answer in answers):
            above = sum(answer.rule in told and not answer.passed for answer in answers)
            lines.append(
                f"  of the rules above, which hold here too, {above} {'fails' if above == 1 else 'fail'}"
            )
        lines += [explained(answer) for answer in answers if answer.rule not in told]
        told |= {answer.rule for answer in answers}
    return "\n".join(map(printable, lines))


def explained(answer: recipes.Explained) -> str:
    """One rule's line: passed or failed, the value, the threshold, and who measured it."""
    origin = answer.origin
    source = f"{origin.stage}@{origin.fingerprint}" if origin else "the clip itself"
    source += f" by {origin.engine}" if origin and origin.engine else ""
    mark = "passes" if answer.passed else "FAILS "
    return f"  {mark} {answer.rule:<34} {shown(answer.value):<12} wanted {answer.threshold:<20} {source}"


def shown(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def whatif(run: Run, name: str, against: str | None) -> str:
    """What another recipe would keep, beside what the run's recipe keeps."""
    pools = Pools(run)
    after = recipes.load(name)
    before = recipes.load(against) if against else pools.recipe(after.name)
    columns = tuple(dict.fromkeys((*before.columns, *after.columns)))
    found = comparing.whatif(before, after, pools.measured(columns))
    lines = [f"{found.total.clips:,} clips, {found.total.seconds:,.1f} s"]
    for pool in found.pools:
        lines.append(
            f"{pool.pool:<12} {pool.before.clips:,} -> {pool.after.clips:,} clips"
            f" (+{pool.gained.clips:,} -{pool.lost.clips:,}), {pool.before.seconds:,.1f} -> {pool.after.seconds:,.1f} s"
        )
    for rule in found.rules:
        if rule.before_threshold != rule.after_threshold:
            lines.append(
                f"  {rule.rule}: {rule.before_threshold or 'no rule'} fails {rule.before.clips:,}"
                f" -> {rule.after_threshold or 'no rule'} fails {rule.after.clips:,}"
            )
    return "\n".join(lines)


def tune(run: Run, name: str, labels: Path, column: str | None, limit: float, as_json: bool) -> str:
    """The thresholds of a recipe that reviewers' labels support."""
    recipe = recipes.load(name)
    known = reviewing.read(labels)
    found = tuning.propose(recipe, Pools(run).measured(recipe.columns), known, column, limit)
    return tuning.as_json(found) if as_json else tuning.show(found, every=column is not None)


def unmapped(run: Run) -> str:
    """The words of the captions that the taxonomy lacks, the most frequent first."""
    return "\n".join(map(printable, balancing.unmapped_lines(Pools(run).unmapped())))


def verify(root: str, deep: bool) -> list[str]:
    """Everything that is wrong with the files that a run as it now stands is made of; an empty list proves it whole."""
    return Proof(account_of(look(root)).shards, deep).problems()


# --- weights


def list_weights(catalogue: Path | None, into: Path | None) -> str:
    """One line a weight: is it here, its licence, and its role."""
    known = weighing.load_catalogue(catalogue)
    found = weighing.verify(known, into or weighing.default_cache())
    lines = []
    for name, weight in known.items():
        state = "here   " if found[name].path else "missing"
        lines.append(f"{name:<20} {state} {weight.size / 2**20:7.1f} MiB  {weight.licence:<24} {weight.role}")
    return "\n".join(lines)


def get_weights(names: Sequence[str], catalogue: Path | None, into: Path | None) -> Iterator[str]:
    """Fetches weights; one line each."""
    known = weighing.load_catalogue(catalogue)
    for name in names or [name for name, weight in known.items() if weight.default]:
        path = weighing.get(name, known, into or weighing.default_cache())
        yield f"{name}: {path} ({known[name].licence})"


def verify_weights(catalogue: Path | None, into: Path | None) -> tuple[list[str], bool]:
    """One line a weight, and whether every default is here and sound."""
    known = weighing.load_catalogue(catalogue)
    found = weighing.verify(known, into or weighing.default_cache())
    lines = [f"{name}: {one.path or one.problem}" for name, one in found.items()]
    return lines, all(one.path is not None for name, one in found.items() if known[name].default)
