from __future__ import annotations

import cv2
import numpy as np

from filters.phash import PHash

NO_BARS = {f"border_{side}_ratio": 0.0 for side in ("left", "right", "top", "bottom")}


def measure(studio, images, seconds=None):
    stage = PHash()
    clip = studio.clip(seconds or len(images), upstream={"border": NO_BARS})
    return stage.measure(stage.load(), clip, studio.batch(images))


def bits(one, two):
    return (one ^ two).bit_count()


def test_edits_stay_near_and_other_pictures_are_far(studio):
    picture = studio.colour(640, 360)
    small = cv2.resize(cv2.resize(picture, (160, 90), interpolation=cv2.INTER_AREA), (640, 360))
    lighter = np.clip(picture * 0.9 + 25, 0, 255).astype(np.uint8)
    coded = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_COLOR)
    other = studio.colour(640, 360, seed=5)
    first, *edits, far = measure(studio, [picture, small, lighter, coded, other])["phash"]
    assert max(bits(first, edit) for edit in edits) <= 6
    assert bits(first, far) >= 18


def test_the_mirrored_hash_is_the_hash_of_the_mirror_image(studio):
    picture = studio.colour(640, 360)
    row = measure(studio, [picture, picture[:, ::-1]])
    assert bits(row["phash_mirrored"][0], row["phash"][1]) <= 2
    assert bits(row["phash"][0], row["phash"][1]) >= 18


def test_flat_frames_are_marked(studio):
    flat = np.full((360, 640, 3), 40, np.uint8)
    assert measure(studio, [flat, studio.colour(640, 360)])["phash_flat"] == [True, False]


def test_at_most_so_many_frames_evenly_spread(studio):
    images = [studio.colour(64, 36, seed) for seed in range(40)]
    row = measure(studio, images)
    assert len(row["phash"]) == len(row["phash_mirrored"]) == len(row["phash_flat"]) == 16
    assert len(set(row["phash"])) == 16


def test_the_content_is_that_of_every_frame_and_of_the_length(studio):
    images = [studio.colour(64, 36, seed) for seed in range(20)]
    first = measure(studio, images)["content_hash"]
    assert len(first) == 20
    assert measure(studio, [image.copy() for image in images])["content_hash"] == first
    other = [*images]
    other[7] = other[7] ^ np.uint8(1)
    assert measure(studio, other)["content_hash"] != first
    assert measure(studio, images, seconds=20.5)["content_hash"] != first
    flat = np.full((36, 64, 3), 40, np.uint8)
    assert measure(studio, [flat, flat])["content_hash"] is None
    assert measure(studio, [flat, images[0]])["content_hash"] is not None


def test_bars_are_no_part_of_the_hash(studio):
    image = studio.colour(320, 180)
    boxed = cv2.copyMakeBorder(image, 60, 60, 0, 0, cv2.BORDER_CONSTANT)
    stage = PHash()
    border = NO_BARS | {"border_top_ratio": 0.2, "border_bottom_ratio": 0.2}
    row = stage.measure(stage.load(), studio.clip(1, upstream={"border": border}), studio.batch([boxed]))
    assert row["phash"] == measure(studio, [image])["phash"]
    # Bars that leave nothing are not believed.
    border = dict.fromkeys(NO_BARS, 0.5)
    row = stage.measure(stage.load(), studio.clip(1, upstream={"border": border}), studio.batch([image]))
    assert row["phash"] == measure(studio, [image])["phash"]
