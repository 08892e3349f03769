"""The report's page: complete, escaped, self-contained, and its marks where the numbers say."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from jobs.report import (
    Card,
    Counts,
    CropView,
    Distribution,
    FailureView,
    GateView,
    Histogram,
    PoolView,
    ReportData,
    RuleView,
    ShardView,
    Timing,
    render,
    side_by_side,
    works,
)

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """A page's tags, attributes and texts; a tag that is closed wrongly or not at all is an error."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} repeats an attribute: {names}"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def named(self, tag: str, css_class: str = "") -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag and css_class in attrs.get("class", "")]


def picture(number: int, width: int = 192, height: int = 108) -> bytes:
    """A JPEG of a sky, a hill and a sun whose place tells the frame's number."""
    import cv2

    rows = np.linspace(0, 1, height)[:, None, None]
    image = (np.array([200, 150, 90]) * (1 - rows) + np.array([120, 190, 235]) * rows).astype(np.uint8)
    image = np.ascontiguousarray(np.broadcast_to(image, (height, width, 3)))
    cv2.circle(image, (20 + number * 37 % (width - 40), 34), 13, (90, 210, 250), -1)
    cv2.ellipse(image, (width // 2 - number * 6, height), (width // 2, 50), 0, 180, 360, (70, 105, 60), -1)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert done
    return bytes(data)


def card(number: int, kept: bool, why: tuple[str, ...] = (), frames: int = 4) -> Card:
    said = (
        ("subjects", "Human > Woman"),
        ("shot_type", "medium_shot"),
        ("camera_motion", "pans slowly right"),
    )
    return Card(
        clip_id=f"{number:020x}",
        source=f"films/reel {number % 4 + 1}.mp4",
        start_s=number * 7.3,
        end_s=number * 7.3 + 4.2,
        images=tuple(picture(number * 5 + frame) for frame in range(frames)),
        kept=kept,
        why=why,
        caption=said if number % 3 else (),
        caption_engine="rushes-embedded/1" if number % 3 else "",
    )


def pool(name: str, kept: int, rules: tuple[RuleView, ...], shards: ShardView | None = None) -> PoolView:
    clips = Counts(112, kept, 112 - kept - 3, 2, 1)
    seconds = Counts(588.4, kept * 5.1, 588.4 - kept * 5.1 - 14.0, 9.5, 4.5)
    return PoolView(name, clips, seconds, rules, balanced_out=9 if shards else 0, shards=shards)


def sample() -> ReportData:
    """A run of fourteen videos as they come: two refused, three pools, one of them sharded."""
    rng = np.random.default_rng(7)
    base = (
        RuleView("256p.short_side_px", "short_side_px", ">= 256", 256, None, 4, 4),
        RuleView("256p.black_ratio", "black_ratio", "<= 0.2", None, 0.2, 9, 6),
        RuleView("256p.static_ratio", "static_ratio", "<= 0.9", None, 0.9, 7, 5),
        RuleView("256p.duplicate", "duplicate", "= false", None, None, 0, 0),
    )
    middle = (
        *base,
        RuleView("360p.motion_score", "motion_score", "0.01 to 0.6", 0.01, 0.6, 15, 8),
        RuleView("360p.text_area_ratio", "text_area_ratio", "<= 0.05", None, 0.05, 11, 9),
    )
    top = (*middle, RuleView("540p.clean_area_ratio", "clean_area_ratio", ">= 0.8", 0.8, None, 22, 17))
    buckets = (
        ("t017-ar16x9", 12, 14.2),
        ("t049-ar16x9", 31, 99.1),
        ("t097-ar16x9", 28, 170.0),
        ("t097-ar9x16", 9, 54.6),
    )
    pools = (
        pool("256p", 89, base, ShardView(5, 80, 48_123_456, buckets)),
        pool("360p", 63, middle),
        pool("540p", 41, top),
    )
    histograms = (
        Histogram(
            "black_ratio",
            "share of frames",
            "black",
            "",
            rng.beta(0.4, 7, 110),
            2,
            tuple((p, None, 0.2) for p in ("256p", "360p", "540p")),
        ),
        Histogram(
            "motion_score",
            "short sides a second",
            "motion",
            "dis-ultrafast",
            rng.gamma(1.6, 0.12, 110),
            2,
            (("360p", 0.01, 0.6), ("540p", 0.03, 0.6)),
        ),
        Histogram(
            "text_area_ratio",
            "share of the picture",
            "text",
            "rapidocr",
            rng.beta(0.5, 20, 109),
            3,
            (("360p", None, 0.05), ("540p", None, 0.02)),
        ),
        Histogram("sharpness", "", "blur", "", rng.lognormal(5, 1.1, 112), 0, ()),
        Histogram("face_count", "faces", "faces", "yunet", rng.poisson(0.8, 112).astype(float), 0, ()),
        Histogram(
            "short_side_px",
            "px",
            "clip",
            "",
            rng.choice([240.0, 360.0, 720.0, 1080.0], 112),
            0,
            (("256p", 256, None), ("540p", 540, None)),
        ),
    )
    reels = (
        tuple((f"reel {n}.mp4", 14 - n) for n in range(14)),
        tuple((f"reel {n}.mp4", 12 - n) for n in range(11)),
    )
    concepts = (
        (("Human", 71), ("Scenery", 14), ("Animal", 12), ("Vehicles", 8), ("Unknown", 7)),
        (("Human", 41), ("Scenery", 13), ("Animal", 12), ("Vehicles", 8), ("Unknown", 6)),
    )
    durations = (
        (("under 2 s", 18), ("2 to 4 s", 40), ("4 to 6 s", 34), ("over 6 s", 20)),
        (("2 to 4 s", 36), ("4 to 6 s", 28), ("over 6 s", 16)),
    )
    distributions = (
        Distribution("Concept", *concepts, "256p"),
        Distribution("Duration", *durations, "256p"),
        Distribution("Aspect", (("16:9", 98), ("9:16", 10), ("4:3", 4)), (("16:9", 71), ("9:16", 9)), "256p"),
        Distribution("Source", *reels, "256p"),
    )
    failures = (
        FailureView(
            "films/broken tail.mp4", "ingest", "truncated", "212 of the 300 frames that it claims", 1
        ),
        FailureView("films/notes.mp4", "ingest", "not_media", "the first bytes are those of a text file", 1),
        FailureView("6f1c0a9be2d14e5a7b30", "text", "not_finite", "text_area_ratio is nan", 2),
    )
    decoded = {"videos": 12, "frames": 14710, "video_s": 613.0}
    first = {"flow": 12.1, "text": 31.5, "blur": 1.9, "faces": 4.4, "objects": 7.0}
    second = {"flow": 4.0, "text": 12.0, "blur": 0.6, "faces": 1.4, "objects": 2.1}
    timings = (
        Timing("ingest", 1.4, 2, {"probe": 1.9}, {"in": 14, "refused": 2}),
        Timing("scan", 48.2, 2, {"decode": 52.1, "transnet": 30.4, "proxy": 8.8}, decoded),
        Timing("annotate", 30.0, 2, first, {"clips": 80, "failed": 2}),
        Timing("annotate", 10.5, 2, second, {"clips": 32, "failed": 0}),
        Timing("caption", 2.2, 2, {"caption": 3.9}, {"clips": 112}),
        Timing("shard", 22.0, 2, {"decode": 11.0, "encode": 29.2}, {"rows": 80, "video_s": 338.0}),
    )
    why = ("text_area_ratio 0.081, 360p wants <= 0.05", "motion_score 0.004, 360p wants >= 0.01")
    return ReportData(
        run="runs/festival",
        sources=1,
        videos=Counts(14, 12, 0, 2, 0),
        clips=Counts(119, 112, 7, 0, 0),
        seconds=Counts(628.4, 588.4, 24.8, 15.2, 0),
        pools=pools,
        histograms=histograms,
        distributions=distributions,
        cards_kept=tuple(card(number, True) for number in range(6)),
        cards_rejected=tuple(card(number, False, why[: number % 2 + 1]) for number in range(6, 10)),
        failures=failures,
        timings=timings,
        engines=(("caption", "rushes-embedded/1"), ("text", "rapidocr ppocr-v4"), ("decoder", "pyav 18.1")),
        licences=(("films/", "CC BY 3.0, Blender Foundation"), ("phone/", "CC0")),
        settings_toml='sources = ["films/"]\nseed = 0\n\n[segment]\nmin_clip_s = 1.0\nmax_clip_s = 10.0\n',
        cards_pool="360p",
        crops=(
            CropView("c1", "film.mkv", picture(3), 1920, 1080, (0.0, 0.13, 1.0, 0.87), ("border",)),
            CropView("c2", "talk.mp4", picture(5), 1280, 720, (0.0, 0.1, 1.0, 0.85), ("subtitle", "logo")),
        ),
    )


def empty() -> ReportData:
    none = Counts(0, 0, 0, 0, 0)
    return ReportData("new", 0, none, none, none, (), (), (), (), (), (), (), (), (), "")


def test_the_page_is_well_formed_and_says_what_happened() -> None:
    page = Page(render(sample()))
    assert "12 of 14 videos gave 119 clips; 256p keeps 89, 360p keeps 63, 540p keeps 41;" in page.text
    assert "80 clips of 256p are in 5 shard files (48.1 MB); 3 failures can be retried." in page.text
    for part in ("funnel", "rules", "scores", "balance", "clips", "failures", "time", "settings"):
        assert [attrs for attrs in page.named("section") if attrs["id"] == part]
    assert len(page.named("img")) == 40
    assert all(attrs["alt"] for attrs in page.named("img"))
    assert "text_area_ratio 0.081, 360p wants <= 0.05" in page.text


def test_what_the_gates_say_stands_by_the_funnel() -> None:
    data = sample()
    judged = dataclasses.replace(
        data.pools[0], gates=(GateView("pretrain", "fail: <b>more</b> than 15 % are bad"),)
    )
    text = Page(render(dataclasses.replace(data, pools=(judged, *data.pools[1:])))).text
    assert (
        "What people's review says of 256p gate answer pretrain fail: <b>more</b> than 15 % are bad" in text
    )
    assert "What people's review says" not in Page(render(data)).text


def test_a_crop_is_shown_before_and_after() -> None:
    page = Page(render(sample()))
    assert "film.mkv · c1 · keeps 74 %, without border" in page.text
    assert "talk.mp4 · c2 · keeps 75 %, without subtitle and logo" in page.text
    views = [
        attrs["viewbox"]
        for attrs in page.named("svg")
        if attrs.get("aria-label", "").startswith("What is kept")
    ]
    assert views == ["0.00 140.40 1920.00 799.20", "0.00 72.00 1280.00 540.00"]
    pictures, kept = page.named("image"), page.named("use")
    assert [f"#{attrs['id']}" for attrs in pictures] == [attrs["href"] for attrs in kept]
    assert all(attrs["href"].startswith("data:image/jpeg;base64,") for attrs in pictures)


@pytest.mark.parametrize(
    "counts", [(3, 1, 1, 0, 0), (1, 2, -1, 0, 0), (float("nan"), 0, 0, 0, 0), (1, 1, 1, 0, 0)]
)
def test_counts_that_do_not_add_up_are_refused(counts: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"accounted for|not negative"):
        Counts(*counts)


def test_seconds_may_differ_by_rounding() -> None:
    parts = [0.1] * 7
    assert Counts(0.7, sum(parts), 0, 0, 0).kept == pytest.approx(0.7)


def test_the_funnel_is_drawn_to_scale_and_closed() -> None:
    page = Page(render(sample()))
    videos = [
        float(a["width"].rstrip("%")) for a in page.named("rect") if a.get("height") == "30" and "x" in a
    ]
    assert videos[:2] == [pytest.approx(100 * 12 / 14, abs=1e-3), pytest.approx(100 * 2 / 14, abs=1e-3)]
    label = "360p: 112 in, 63 kept, 46 rejected, 2 failed, 1 pending"
    assert label in [attrs.get("aria-label") for attrs in page.named("svg")]
    label = "256p shards: 89 in, 80 written, 9 balanced out, 0 failed, 0 not written"
    assert label in [attrs.get("aria-label") for attrs in page.named("svg")]
    assert "Clips 119 112 7 0 0" in page.text


HOSTILE = (
    '</pre></style><script>alert(1)</script><img src=x onerror=alert(1)>"\' onload="x {{ 7*7 }} &lt;'
    "\x00\x1b[31m\udcff\u202e"
)


def hostile() -> ReportData:
    """Every text of the sample is an attack."""
    data = sample()
    clip = dataclasses.replace(
        data.cards_kept[1],
        clip_id=HOSTILE,
        source=HOSTILE,
        caption=((HOSTILE, HOSTILE),),
        caption_engine=HOSTILE,
    )
    rule = dataclasses.replace(data.pools[0].rules[1], name=HOSTILE, column=HOSTILE, text=HOSTILE)
    idle = dataclasses.replace(rule, dropped=0)
    shards = ShardView(1, 1, 1, ((HOSTILE, 1, 1.0),))
    first = dataclasses.replace(data.pools[0], name=HOSTILE, rules=(rule, idle), shards=shards)
    score = dataclasses.replace(
        data.histograms[0],
        column=HOSTILE,
        unit=HOSTILE,
        stage=HOSTILE,
        engine=HOSTILE,
        thresholds=((HOSTILE, 0.1, 0.2),),
    )
    return dataclasses.replace(
        data,
        run=HOSTILE,
        pools=(first, *data.pools[1:]),
        histograms=(score,),
        distributions=(Distribution(HOSTILE, ((HOSTILE, 1),), ((HOSTILE, 1),), HOSTILE),),
        cards_kept=(clip,),
        cards_rejected=(
            dataclasses.replace(clip, kept=False, why=(HOSTILE,)),
            dataclasses.replace(clip, why=(HOSTILE,) * 2),
        ),
        failures=(FailureView(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1),),
        timings=(Timing(HOSTILE, 1.0, 1, {HOSTILE: 1.0}, {HOSTILE: 1.0}),),
        engines=((HOSTILE, HOSTILE),),
        licences=((HOSTILE, HOSTILE),),
        settings_toml=HOSTILE,
        cards_pool=HOSTILE,
        crops=(dataclasses.replace(data.crops[0], clip_id=HOSTILE, source=HOSTILE, away=(HOSTILE,)),),
    )


def test_hostile_texts_stay_texts() -> None:
    html = render(hostile())
    page, plain = Page(html), Page(render(sample()))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in plain.tags}
    assert not {name for _, attrs in page.tags for name in attrs if name.startswith("on")}
    assert all(attrs["src"].startswith("data:image/jpeg;base64,") for attrs in page.named("img"))
    assert "{{ 7*7 }}" in page.text
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202e]", html)
    assert "\\u0000\\u001b[31m\\udcff\\u202e" in page.text
    html.encode("utf-8")


def test_the_page_loads_nothing() -> None:
    for data in (sample(), hostile(), empty()):
        html = render(data)
        page = Page(html)
        assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {
            tag for tag, _ in page.tags
        }
        assert not re.search(r"https?://|@import|//cdn", html)
        assert set(re.findall(r"url\(([^)]*)\)", html)) <= {"#hatch", "#cross", "#dots", "#veil"}
        assert [attrs["href"][0] for attrs in page.named("a")] == ["#"] * 8
        policy = [attrs["content"] for attrs in page.named("meta") if "http-equiv" in attrs]
        assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_same_data_gives_the_same_text() -> None:
    assert render(sample()) == render(sample())


def test_an_empty_run_and_a_run_of_one_clip() -> None:
    html = render(empty())
    assert "This run has no videos yet." in Page(html).text
    assert "Nothing failed." in Page(html).text
    assert not re.search(r"\bnan\b|\binf\b", html, re.IGNORECASE)
    one = Counts(1, 1, 0, 0, 0)
    single = dataclasses.replace(
        empty(),
        videos=one,
        clips=one,
        seconds=Counts(4.2, 4.2, 0, 0, 0),
        pools=(
            PoolView(
                "256p",
                one,
                Counts(4.2, 4.2, 0, 0, 0),
                (),
                0,
                ShardView(1, 1, 999, (("t097-ar16x9", 1, 4.2),)),
            ),
        ),
        histograms=(Histogram("black_ratio", "", "black", "", np.array([0.5]), 0, (("256p", None, 0.5),)),),
        distributions=(Distribution("Concept", (("Human", 1),), (), "256p"),),
        cards_kept=(card(1, True, frames=1),),
        timings=(Timing("ingest", 0.0, 0, {}, {}),),
    )
    html = render(single)
    assert (
        "The one video gave 1 clip; 256p keeps 1; 1 clip of 256p is in 1 shard file (999 bytes); nothing failed."
        in Page(html).text
    )
    assert not re.search(r"\bnan\b|\binf\b", html, re.IGNORECASE)


def test_nothing_is_cut_silently() -> None:
    failures = tuple(FailureView(f"clip {n}", "black", "stage_error", "no frames", 1) for n in range(100_000))
    licences = tuple((f"film {n}", "CC0") for n in range(1_000))
    settings = dataclasses.replace(
        empty(), failures=failures, licences=licences, engines=(("a", "x" * 5_000),), run="my run"
    )
    html = render(settings)
    page = Page(html)
    assert (
        "These are the first 200 of 100,000 failures. rushes report 'my run' --json prints them all."
        in page.text
    )
    assert "rushes retry 'my run'" in page.text
    assert "100,000 stage_error" in page.text
    assert "clip 199" in page.text
    assert "clip 200" not in page.text
    assert "800 more" in page.text
    assert "(3,000 more characters)" in page.text
    assert len(html) < 300_000


def test_the_page_is_not_much_more_than_its_pictures() -> None:
    data = sample()
    pictures = sum(len(image) for clip in (*data.cards_kept, *data.cards_rejected) for image in clip.images)
    assert len(render(data)) < pictures * 4 / 3 + 120_000


def test_thresholds_are_drawn_where_they_are() -> None:
    values = np.linspace(0, 1, 101)
    score = Histogram("score", "", "s", "", values, 0, (("256p", None, 0.2), ("540p", 0.05, None)))
    page = Page(render(dataclasses.replace(empty(), histograms=(score,))))
    # The axis is the values' range and 3 % on both sides; the leftmost label comes first.
    at = [(value + 0.03) / 1.06 * 320 for value in (0.05, 0.2)]
    assert [float(line["x1"]) for line in page.named("line", "threshold")] == [
        pytest.approx(x, abs=0.01) for x in at
    ]
    shades = [(float(shade["x"]), float(shade["width"])) for shade in page.named("rect", "shade")]
    assert shades == [pytest.approx((0, at[0]), abs=0.01), pytest.approx((at[1], 320 - at[1]), abs=0.01)]
    assert "540p ≥ 0.05 256p ≤ 0.2" in page.text


def test_labels_beyond_the_cap_are_added_up() -> None:
    many = tuple((f"c{n:02d}", 100 - n) for n in range(30))
    sides = side_by_side(Distribution("Concept", many, (*many[:2], ("new", 5)), "256p"))
    assert [row.label for row in sides.rows] == [*(f"c{n:02d}" for n in range(11)), "20 others"]
    assert sum(row.before for row in sides.rows) == sides.before == sum(count for _, count in many)
    assert sum(row.after for row in sides.rows) == sides.after == 100 + 99 + 5


def test_sittings_of_a_step_add_up() -> None:
    first = Timing("annotate", 10.0, 2, {"flow": 4.0, "text": 12.0}, {"clips": 30, "failed": 1})
    second = Timing("annotate", 5.0, 4, {"flow": 2.0}, {"clips": 10})
    (work,) = works([first, second])
    assert (work.wall_s, work.capacity_s, work.cpu_s, work.unit, work.units) == (
        15.0,
        40.0,
        18.0,
        "clips",
        40.0,
    )
    assert work.cpu == (("text", 12.0), ("flow", 6.0))
    page = Page(render(dataclasses.replace(empty(), timings=(first, second))))
    assert "2.67 clips/s" in page.text
    assert "3.33 clips a core second" in page.text
    assert "45 % busy" in page.text


def test_what_an_engine_did_stands_by_its_step() -> None:
    told = {"answers": 300.0, "output_tokens": 45_000.0, "busy_s": 8.0, "idle_s": 2.0}
    waited = {"stage_s": 10.0, "frames_wait_s": 0.5}
    sittings = (Timing("vlm", 10.0, 1, {}, {"clips": 150}, told), Timing("vlm", 5.0, 1, {}, {}, waited))
    (work,) = works(sittings)
    assert work.flow == ("20 answers/s", "3,000 tokens/s", "engine idle 20 %", "waited for frames 5 %")
    page = Page(render(dataclasses.replace(empty(), timings=sittings)))
    assert "3,000 tokens/s" in page.text
    assert "engine idle 20 %" in page.text
