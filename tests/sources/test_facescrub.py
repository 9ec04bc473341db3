"""FaceScrub in small: lists in the form of the release, with images in the layouts that downloads leave."""

from __future__ import annotations

import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semshard.errors import RejectedImage, SourceError
from semshard.sources.face_lists import LISTS
from semshard.sources.facescrub import FaceScrub, _grown
from tests.support.faces import (
    ACTORS,
    ACTRESSES,
    Face,
    bare,
    by_both,
    by_face,
    by_image,
    by_link,
    faces,
    labelled,
    names,
    write,
    write_lists,
)
from tests.support.runs import real


@pytest.fixture
def scrub(tmp_path):
    """(folder with both lists and all images in folders of people, all faces)."""
    actors, actresses = faces(ACTORS, 4, 1), faces(ACTRESSES, 4, 7000)
    write_lists(tmp_path, actors, actresses)
    for face in actors + actresses:
        by_image(tmp_path, face)
    return tmp_path, actors + actresses


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("lay", [by_image, by_face, by_both, bare])
def test_files_are_found_by_name_in_folders_of_people(tmp_path, lay, header):
    actors, actresses = faces(ACTORS, 4, 3209), faces(ACTRESSES, 4, 7000)
    write_lists(tmp_path, actors, actresses, header)
    for face in actors + actresses:
        lay(tmp_path, face)
    source = FaceScrub(str(tmp_path))
    assert source.classes == (*ACTORS[:1], "Aisha Hinds", "Alec Baldwin", "Téa Smith Jr.", "Zooey Deschanel")
    assert labelled(source) == {face.label: face.name for face in actors + actresses}
    data = {face.label: face.data for face in actors + actresses}
    assert all(source.read(number) == data[source.entry(number).name] for number in range(len(source)))
    assert source.remarks == ()


@pytest.mark.parametrize("beside", [{"table": True, "links": False}, {"table": False, "links": True}])
def test_files_of_img2dataset_are_found_by_link(tmp_path, beside):
    rows = faces(ACTORS, 4, 1)
    write_lists(tmp_path, rows)
    by_link(tmp_path / "downloaded", rows, **beside)
    source = FaceScrub(str(tmp_path), lists="actors")
    assert set(labelled(source)) == {face.label for number, face in enumerate(rows) if number % 4 < 3}
    assert [source.read(number) for number in range(3)] == [face.data for face in rows[:3]]
    assert source.remarks == ("3 of the 12 faces in the lists have no downloaded image",)


def test_a_shard_of_img2dataset_that_was_cut_off_is_read_by_its_json_files(tmp_path):
    rows = faces(ACTORS, 4, 1)
    write_lists(tmp_path, rows)
    by_link(tmp_path, rows)
    (tmp_path / "00000.parquet").write_bytes(b"PAR1 cut off")
    (tmp_path / "00000" / "000000001.json").write_text('{"url": "http://exa')
    source = FaceScrub(str(tmp_path), lists="actors")
    assert rows[0].label in names(source)
    assert rows[1].label not in names(source)
    assert "1 files belong to no face of the lists, such as 00000/000000001.jpg" in source.remarks


def test_several_faces_of_one_image_are_separate_inputs_with_their_own_boxes(tmp_path):
    two = [Face("Alec Baldwin", 7, 5, (1, 2, 11, 12)), Face("Alec Baldwin", 7, 6, (40, 2, 50, 12))]
    write_lists(tmp_path, two)
    write(tmp_path, "Alec_Baldwin/7.jpg", two[0].data)
    source = FaceScrub(str(tmp_path))
    assert [source.entry(number).name for number in (0, 1)] == ["Alec_Baldwin/7_5", "Alec_Baldwin/7_6"]
    assert [source.entry(number).box for number in (0, 1)] == [face.box for face in two]
    assert source.read(0) == source.read(1)


def test_a_single_number_is_the_id_that_explains_more_files(tmp_path):
    rows = [Face("Alec Baldwin", image, image - 2) for image in range(3, 9)]  # faces 1 to 6, images 3 to 8
    write_lists(tmp_path, rows)
    for face in rows:
        write(tmp_path, f"Alec_Baldwin/{face.face}.jpg", face.data)
    source = FaceScrub(str(tmp_path))
    assert len(source) == 6
    assert [source.read(number) for number in range(6)] == [face.data for face in rows]


def test_crops_of_the_release_s_script_are_not_taken_for_its_images(scrub):
    root, rows = scrub
    for face in rows:
        name = face.name.replace(" ", "_")
        write(root, f"actors/faces/{name}/{name}_{face.image}_{face.face}.jpeg", b"a crop")
    source = FaceScrub(str(root))
    assert len(source) == len(rows)
    assert all(source.read(number) != b"a crop" for number in range(len(source)))
    assert source.remarks[0].startswith(f"{len(rows)} files belong to no face of the lists, such as actors/faces/")


def test_a_file_whose_sha256_differs_is_rejected_and_no_other(scrub):
    root, rows = scrub
    (root / "actors" / "images" / "Aaron_Eckhart" / "Aaron_Eckhart_1.jpeg").write_bytes(b"encoded anew")
    source = FaceScrub(str(root))
    with pytest.raises(RejectedImage, match="is not the file of the list: its SHA-256 differs"):
        source.read(0)
    assert source.read(1) == rows[1].data


def test_a_list_without_sha256_checks_none(tmp_path):
    write_lists(tmp_path, [Face("Alec Baldwin", 1, 1)])
    path = tmp_path / LISTS["actors"]
    path.write_text(path.read_text().rpartition("\t")[0] + "\t\n")
    write(tmp_path, "Alec Baldwin/1.jpg", b"whatever")
    assert FaceScrub(str(tmp_path)).read(0) == b"whatever"


@pytest.mark.parametrize(
    ("margin", "box"), [(0.0, (10, 20, 50, 60)), (0.1, (6, 16, 54, 64)), (0.33, (0, 6, 64, 74)), (1, (0, 0, 90, 100))]
)
def test_the_margin_grows_the_box_on_each_side_but_not_below_zero(tmp_path, margin, box):
    write_lists(tmp_path, [Face("Alec Baldwin", 1, 1)])
    write(tmp_path, "Alec Baldwin/1.jpg", b"whatever")
    grown = FaceScrub(str(tmp_path), margin=margin)
    assert grown.entry(0).box == box
    assert (grown.digest == FaceScrub(str(tmp_path)).digest) == (margin == 0)


@given(st.tuples(*[st.integers(0, 5000)] * 4), st.fractions(0, 3))
def test_a_grown_box_holds_the_box_and_nothing_is_added_without_a_margin(corners, margin):
    left, top, width, height = corners
    box = [left, top, left + width, top + height]
    grown = _grown(box, margin)
    assert grown[0] <= box[0]
    assert grown[1] <= box[1]
    assert grown[2] - box[2] == math.ceil(margin * width)
    assert grown[3] - box[3] == math.ceil(margin * height)
    assert min(grown) >= 0
    assert margin or list(grown) == box


def test_an_empty_box_is_an_input_with_a_reason(tmp_path):
    rows = [Face("Alec Baldwin", 1, 1, (9, 9, 9, 20)), Face("Alec Baldwin", 2, 2, (-9, 0, -2, 5)), Face("B", 3, 3)]
    write_lists(tmp_path, rows)
    for face in rows:
        by_both(tmp_path, face)
    source = FaceScrub(str(tmp_path))
    assert [source.entry(n).reason for n in range(3)] == [
        "its box in the list is empty: 9,9,9,20",
        "its box in the list is empty: -9,0,-2,5",
        "",
    ]


def test_lists_may_be_taken_alone(scrub):
    root, rows = scrub
    assert FaceScrub(str(root), lists="actors").classes == ACTORS
    source = FaceScrub(str(root), lists="actresses")
    assert source.classes == ACTRESSES
    assert source.spec == f"facescrub:{root},lists=actresses"
    assert source.remarks[0].startswith(f"{sum(face.name in ACTORS for face in rows)} files belong to no face")
    (root / LISTS["actors"]).unlink()
    assert "facescrub_actors.txt is missing" in FaceScrub(str(root)).remarks
    with pytest.raises(SourceError, match=r"lacks facescrub_actors\.txt; leave out lists=actors"):
        FaceScrub(str(root), lists="actors")


def test_rows_without_a_file_are_no_inputs_but_counted(scrub):
    root, rows = scrub
    (root / "actors" / "images" / "Aaron_Eckhart" / "Aaron_Eckhart_1.jpeg").unlink()
    source = FaceScrub(str(root))
    assert len(source) == len(rows) - 1
    assert source.remarks == (f"1 of the {len(rows)} faces in the lists have no downloaded image",)


def test_real_cropped_faces_in_a_folder_per_person_take_the_same_options():
    place = str(real("faces"))
    source = FaceScrub(place)
    assert len(source) == 400
    assert len(source.classes) == 40
    assert source.entry(0).name.startswith("s1/")
    assert source.entry(0).box is None
    assert source.read(0).startswith(b"P5")
    train, test = (FaceScrub(place, people="5", images="8", seed="3", part=part) for part in ("train", "test"))
    assert len(train.classes) == 5
    assert (len(train), len(test)) == (35, 5)
    assert not names(train) & names(test)


def test_a_cropped_face_in_nobody_s_folder_is_an_input_with_a_reason(tmp_path):
    write(tmp_path, "stray.jpg", b"?")
    write(tmp_path, "A/1.jpg", b"?")
    source = FaceScrub(str(tmp_path))
    entries = {source.entry(number).name: source.entry(number) for number in range(2)}
    assert entries["stray.jpg"].label is None
    assert entries["stray.jpg"].reason == "not in a person's folder"
    assert entries["A/1.jpg"].label == 0


def test_it_is_read_through_fsspec(scrub):
    import fsspec

    root, rows = scrub
    memory = fsspec.filesystem("memory")
    memory.put(str(root), "/facescrub-test", recursive=True)
    by_link(root / "linked", rows)
    memory.put(str(root / "linked"), "/facescrub-linked", recursive=True)
    memory.put(str(root / LISTS["actors"]), "/facescrub-linked/" + LISTS["actors"])
    try:
        source = FaceScrub("memory://facescrub-test")
        assert names(source) == {face.label for face in rows}
        assert source.read(0) == rows[0].data
        linked = FaceScrub("memory://facescrub-linked", lists="actors")
        assert linked.read(0) == rows[0].data
        assert linked.spec == "facescrub:memory://facescrub-linked,lists=actors"
    finally:
        for folder in ("/facescrub-test", "/facescrub-linked"):
            memory.rm(folder, recursive=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lists": "men"}, "no lists=men; choose from both, actors, actresses"),
        ({"part": "val"}, "no part=val; choose from train, test, all"),
        ({"people": "0"}, "people=0: it must be a whole number, 1 or more"),
        ({"images": "many"}, "images=many: it must be a whole number"),
        ({"study": "-1"}, "study=-1: it must be a whole number, 0 or more"),
        ({"study": "1", "seed": "2"}, "give one or the other"),
        ({"margin": -0.1}, "a margin is a share of the box's size"),
        ({"margin": math.nan}, "a margin is a share of the box's size"),
        ({"images": "1", "people": "1", "part": "test"}, "has no images for part=test"),
    ],
)
def test_wrong_options_are_refused(scrub, options, message):
    with pytest.raises(SourceError, match=message):
        FaceScrub(str(scrub[0]), **options)


def test_where_there_is_nothing_the_error_shows_the_form(tmp_path):
    with pytest.raises(
        SourceError, match=r"it needs facescrub_actors\.txt and facescrub_actresses\.txt with the images"
    ):
        FaceScrub(str(tmp_path))
    with pytest.raises(SourceError, match=r"lacks facescrub_actors\.txt; put the list of the release there"):
        FaceScrub(str(tmp_path), lists="actors")
    write(tmp_path, "A/1.jpg", b"?")
    with pytest.raises(SourceError, match="cropped faces and no list of boxes; leave out the margin"):
        FaceScrub(str(tmp_path), margin=0.1)
    write_lists(tmp_path, faces(ACTORS, 2, 1))
    with pytest.raises(SourceError, match="no image of the 6 faces in its lists; the form is DIR/NAME/IMAGE_ID"):
        FaceScrub(str(tmp_path))


@given(st.binary(max_size=80) | st.text("A\t1,-ef\r\n", max_size=80).map(str.encode))
def test_whatever_a_list_holds_it_opens_or_is_refused_in_words(tmp_path_factory, content):
    root = tmp_path_factory.mktemp("any")
    write(root, LISTS["actors"], content)
    write(root, "A/1.jpg", b"?")
    try:
        FaceScrub(str(root))
    except SourceError as error:
        message = str(error)
    else:
        message = LISTS["actors"]
    assert LISTS["actors"] in message or "no image of the" in message


@pytest.mark.parametrize(
    "line",
    [
        "Aaron Eckhart 1 1",
        "A\t1\t1\thttp://e\t1,2,3\t",
        "A\tx\t1\thttp://e\t1,2,3,4\t",
        "A\t1\t1\thttp://e\t1,2,3,4\tffff",
        f"A\t{10**20}\t1\thttp://e\t1,2,3,4\t",
    ],
)
def test_a_line_that_is_not_of_a_list_is_named(tmp_path, line):
    write_lists(tmp_path, [Face("A", 1, 1)])
    with (tmp_path / LISTS["actors"]).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(SourceError, match=r"facescrub_actors\.txt, line 3 is not name, image_id, face_id, url, bbox"):
        FaceScrub(str(tmp_path))


def test_an_input_costs_less_than_500_bytes(tmp_path):
    rows = faces([f"Somebody Number {number}" for number in range(20)], 200, 1_000_000)
    write_lists(tmp_path, rows)
    for face in rows:
        bare(tmp_path, face)
    FaceScrub(str(tmp_path))  # what is imported for it does not count
    tracemalloc.start()
    try:
        source = FaceScrub(str(tmp_path))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(source) < 500
