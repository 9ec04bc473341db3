"""What cannot be protected is refused before any work, with a message that helps."""

import pytest
from PIL import Image

import semshard
from tests.support.photo_runs import FAST, photo, protect, refused, write_greys, write_photos


def test_one_class_only_is_refused(tmp_path):
    write_photos(tmp_path / "images", "a")
    refused(tmp_path, semshard.SourceError, "one class only")


def test_a_class_of_one_image_is_refused_by_name(tmp_path):
    write_photos(tmp_path / "images")
    (tmp_path / "images" / "lonely").mkdir()
    Image.fromarray(photo(30)).save(tmp_path / "images" / "lonely" / "x.png")
    refused(tmp_path, semshard.SourceError, "lonely")


def test_a_class_of_one_usable_image_is_refused_by_name(tmp_path):
    write_photos(tmp_path / "images")
    (tmp_path / "images" / "lonely").mkdir()
    Image.fromarray(photo(30)).save(tmp_path / "images" / "lonely" / "x.png")
    (tmp_path / "images" / "lonely" / "y.png").write_bytes(b"")
    refused(tmp_path, semshard.SourceError, "lonely", max_rejects=1.0)


def test_a_flat_folder_without_labels_is_told_its_choices(tmp_path):
    write_photos(tmp_path / "images", "a")
    refused(tmp_path, semshard.SourceError, r"(?s)folder.*--labels FILE.*--labels auto", tmp_path / "images" / "a")


def test_groups_are_for_images_without_labels(tmp_path):
    write_photos(tmp_path / "images")
    refused(tmp_path, semshard.SettingError, "--labels auto", groups=2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"views": "crop-flip"}, "crop-flip views need images of one size"),
        ({"method": "ntga"}, "ntga"),
        ({"background": "no colour"}, "no colour"),
        ({"max_pixels": 5}, "max_pixels"),
        ({"format": "jpeg", "quality": 101}, "quality"),
        ({"crop": 0}, "crop"),
    ],
)
def test_settings_that_photographs_cannot_have_are_refused(tmp_path, settings, words):
    write_photos(tmp_path / "images")
    refused(tmp_path, semshard.SettingError, words, **settings)


def test_a_surrogate_of_other_classes_is_refused_before_the_output_is_taken(tmp_path):
    write_photos(tmp_path / "few", "ab")
    write_photos(tmp_path / "images", "abc")
    given = semshard.train(tmp_path / "few", tmp_path / "s.safetensors", **FAST)
    refused(tmp_path, semshard.SettingError, r"trained for classes \['a', 'b'\], here it is", surrogate=given)
    assert protect(tmp_path / "images", tmp_path / "out").samples == 12


@pytest.mark.parametrize(("side", "method"), [(None, "sc"), (32, "sc"), (32, "ntga")])
def test_a_method_without_grey_noise_is_refused_for_grey_images(tmp_path, side, method):
    write_greys(tmp_path / "images", side)
    crop = {"crop": 0} if side else {}
    refused(tmp_path, semshard.SettingError, f"{method} has no grey noise", method=method, grey="keep", **crop)
