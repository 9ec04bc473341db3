"""Which faces of FaceScrub a run takes: the paper's study, and its parts."""

from __future__ import annotations

from collections import Counter

import pytest

from semshard.errors import SourceError
from semshard.sources.facescrub import FaceScrub
from tests.support.faces import bare, faces, labelled, names, write_lists


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """14 people: twelve with 125 images, two with 119."""
    root = tmp_path_factory.mktemp("many")
    actors = faces([f"Actor {letter}" for letter in "ABCDEFGHIJKL"], 125, 1)
    actresses = faces(["Actress M", "Actress N"], 119, 9000)
    write_lists(root, actors, actresses)
    for face in actors + actresses:
        bare(root, face)
    return str(root)


def test_the_study_is_ten_people_with_120_images_each_of_which_18_are_the_test(many):
    train, test, both = (FaceScrub(many, study="7", part=part) for part in ("", "test", "all"))
    assert (len(train), len(test), len(both)) == (1020, 180, 1200)
    assert len(both.classes) == 10
    assert train.classes == test.classes == both.classes
    assert names(train) | names(test) == names(both)
    assert not names(train) & names(test)
    assert set(Counter(labelled(test).values()).values()) == {18}
    assert set(Counter(labelled(train).values()).values()) == {102}
    assert not set(both.classes) & {"Actress M", "Actress N"}


def test_the_study_is_chosen_by_its_seed_alone(many):
    first, again, other = (FaceScrub(many, study=seed) for seed in ("7", "7", "8"))
    assert first.digest == again.digest != other.digest
    assert first.classes != other.classes
    longhand = FaceScrub(many, people="10", images="120", seed="7")
    assert longhand.digest == first.digest
    assert longhand.spec == first.spec == f"facescrub:{many},study=7"


def test_a_person_who_leaves_the_collection_changes_the_images_of_no_other(many, tmp_path):
    chosen = labelled(FaceScrub(many, people="12", images="120", part="all"))
    rows = faces([f"Actor {letter}" for letter in "ABCDEFGHIJKL"], 125, 1)
    rows = [face for face in rows if face.name != "Actor C"]
    write_lists(tmp_path, rows)
    for face in rows:
        bare(tmp_path, face)
    left = labelled(FaceScrub(str(tmp_path), people="11", images="120", part="all"))
    assert left == {name: person for name, person in chosen.items() if person != "Actor C"}


def test_too_few_people_is_an_error_that_says_how_many_there_are(many):
    with pytest.raises(SourceError, match="12 people with at least 120 images each, not 13"):
        FaceScrub(many, people="13", images="120")
    assert len(FaceScrub(many, people="13", images="119").classes) == 13


@pytest.mark.parametrize(("part", "share"), [("test", 0.15), ("train", 0.85)])
def test_without_a_study_the_parts_are_of_all_images_of_each_person(many, part, share):
    source = FaceScrub(many, part=part)
    assert len(source.classes) == 14
    counts = Counter(labelled(source).values())
    test = {"Actor A": round(0.15 * 125), "Actress M": round(0.15 * 119)}
    for person, count in test.items():
        assert counts[person] == (count if part == "test" else (125 if person == "Actor A" else 119) - count)
    assert abs(len(source) / (12 * 125 + 2 * 119) - share) < 0.01
    assert source.spec == f"facescrub:{many},part={part}"


def test_the_parts_follow_the_seed(many):
    zero, one = (names(FaceScrub(many, part="test", seed=seed)) for seed in ("", "1"))
    assert zero != one
    assert len(zero) == len(one)
