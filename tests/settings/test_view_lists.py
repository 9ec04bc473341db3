"""Lists of views: written in any form, kept in one, refused where they mean nothing."""

import pytest

from semshard import SettingError
from semshard.settings import format_radius, normal, parse_view
from tests.support.views import views_of


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("paper", ("crop-flip",)),
        ("crop-flip", ("crop-flip",)),
        ("grey", ("crop-flip", "grey=0.5")),
        ("jpeg=0.25,grey=1,crop-flip", ("crop-flip", "jpeg=0.25", "grey=1")),
        (["grey=0.125", "blur"], ("crop-flip", "grey=0.125", "blur=0.5")),
        ("resized-crop,grey", ("resized-crop", "grey=0.5")),
    ],
    ids=str,
)
def test_a_list_of_views_is_kept_in_one_form(given, meant):
    config = views_of(views=given, crop=16)
    assert config.views == meant == normal(meant, "crop-flip")
    assert config.families == meant[1:] == config.noise_families


def test_photographs_keep_their_crop():
    assert views_of(None, views="grey").views == ("resized-crop", "grey=0.5")
    assert views_of(None, views="paper").views == ("resized-crop",)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"views": "gray"}, "'gray' is unknown; choose from: paper, hardened, crop-flip"),
        ({"views": "grey=0"}, r"lies in \(0, 1\]"),
        ({"views": "grey=1.5"}, r"lies in \(0, 1\]"),
        ({"views": "grey=nan"}, r"lies in \(0, 1\]"),
        ({"views": "grey=half"}, r"lies in \(0, 1\]"),
        ({"views": "crop-flip=0.5"}, "takes no probability"),
        ({"views": "crop-flip,resized-crop", "crop": 16}, "choose one of crop-flip and resized-crop"),
        ({"views": "grey,grey=0.2"}, "grey is listed twice"),
        ({"views": "paper,grey"}, "'paper' is unknown"),
        ({"views": "same"}, "'same' is unknown"),
        ({"views": ""}, "is unknown"),
        ({"noise_views": "resized-crop"}, "its crop is not crop-flip"),
        ({"noise_views": "same,grey"}, "'same' is unknown"),
    ],
    ids=str,
)
def test_lists_that_mean_nothing_are_refused(given, word):
    with pytest.raises(SettingError, match=word):
        views_of(**given)


def test_hardened_views_come_with_a_training_of_their_own_unless_it_is_given():
    hardened, paper = views_of(views="hardened"), views_of(views="paper")
    assert hardened.families
    assert (hardened.label_noise, hardened.warm_up, hardened.steps) == (0.5, 0.5, 2 * paper.steps)
    radii = hardened.rho_a, hardened.rho_r, hardened.alpha_a
    assert [format_radius(each) for each in radii] == ["5/255", "5/255", "1/255"]
    assert (paper.label_noise, paper.warm_up) == (0, 0)
    assert views_of() == paper
    assert views_of(views="hardened", label_noise=0.0).label_noise == 0
    assert format_radius(views_of(views="hardened", rho_a="2/255").rho_r) == "2/255"
    assert views_of(views=list(hardened.views)).label_noise == 0


def test_a_name_without_a_probability_is_half():
    assert parse_view("blur") == ("blur", 0.5)
