from __future__ import annotations

import numpy as np
import pytest

from filters.descriptors.imagenet import LABELS, MOST, likeliest


def test_every_class_has_a_name_of_its_own_in_the_order_of_the_networks():
    assert len(LABELS) == len(set(LABELS)) == 1000
    places = {
        0: "tench",
        207: "golden retriever",
        281: "tabby",
        497: "church",
        954: "banana",
        978: "seashore",
    }
    assert {place: LABELS[place] for place in places} == places
    assert all(name == name.strip() and name for name in LABELS)


def test_probabilities_are_means_over_the_frames_that_are_not_flat():
    frames = np.zeros((3, 1000), np.float32)
    frames[0, 5], frames[1, 5], frames[2, 5] = 0.2, 0.6, 1.0
    frames[0, 7] = 0.5
    labels, scores = likeliest(frames, [False, False, True])
    assert (labels[:2], scores[:2]) == (["electric ray", "cock"], pytest.approx([0.4, 0.25]))
    assert len(labels) == len(scores) == MOST
    # Equals keep the order of the classes.
    assert labels[2:4] == ["tench", "goldfish"]


def test_nothing_is_said_of_flat_frames_or_by_a_network_without_classes():
    assert likeliest(np.ones((2, 1000), np.float32), [True, True]) is None
    assert likeliest(None, [False]) is None
