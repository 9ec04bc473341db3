"""WebDataset tars as people write them: what webdataset reads in order is read here by number."""

import gc
import json
import tarfile
import tracemalloc

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_expander

from semshard.errors import RejectedImage, SourceError
from semshard.shards.tar import end as tar_end
from semshard.shards.tar import entry as tar_entry
from semshard.sources.wds import PICTURES, WebDatasetShards, classes_of
from tests.support.tars import entries, label_names, lay, reasons, samples, tar

OURS = {"class": "a", "width": 8, "height": 8, "linf": 4, "sha256": "0" * 64}


def in_order(path):
    """(key, picture, label) as webdataset reads them; opened here, as webdataset leaves its files open."""
    with open(path, "rb") as stream:
        for sample in group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}])):
            yield sample["__key__"], next(sample[name] for name in PICTURES if name in sample), sample["cls"].decode()


words = st.text("abcxyz0_- é", min_size=1, max_size=6)
pictures = st.sampled_from(["png", "jpg", "JPEG", "webp"])
fields = st.dictionaries(st.sampled_from(["txt", "seg.npy", "caption.en", "JSON"]), st.binary(max_size=20), max_size=3)
sample = st.tuples(
    st.lists(words, min_size=1, max_size=3), pictures, st.binary(max_size=1500), st.integers(0, 3), fields
)
collection = st.lists(st.lists(sample, min_size=1, max_size=6, unique_by=lambda s: tuple(s[0])), min_size=1, max_size=3)


@settings(max_examples=40)
@given(collection, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_by_number_is_what_webdataset_reads_in_order(tmp_path_factory, tars, form):
    folder = tmp_path_factory.mktemp("tars")
    files = [
        [
            pair
            for path, extension, data, label, others in members
            for pair in [
                ("/".join(path) + f".{extension}", data),
                ("/".join(path) + ".cls", b"%d" % label),
                *(("/".join(path) + f".{name}", other) for name, other in others.items()),
            ]
        ]
        for members in tars
    ]
    source = WebDatasetShards(lay(folder, *(tar(each, form) for each in files)))
    truth = [list(in_order(path)) for path in sorted(folder.iterdir())]
    assert [len(each) for each in source.shards] == [len(each) for each in truth]
    flat = [one for each in truth for one in each]
    for number in reversed(range(len(source))):
        key, data, label = flat[number]
        entry = source.entry(number)
        assert entry.name.split("/", 1)[1] == key
        assert (entry.reason, source.read(number)) == ("", data)
        assert source.classes[entry.label] == label
    others = [{name.lower(): data for name, data in one[4].items()} for members in tars for one in members]
    assert [source.carried(number) for number in range(len(source))] == others
    assert source.fields == tuple(sorted({name for each in others for name in each}))


def test_what_tarwriter_writes_is_read(tmp_path):
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for i in range(20):
            writer.write(
                {"__key__": f"{i:06d}", "png": b"\x89PNG" + bytes(i), "cls": i % 3, "json": {"caption": str(i)}}
            )
    source = WebDatasetShards(str(tmp_path / "a.tar"))
    assert [entry.name for entry in entries(source)] == [f"a.tar/{i:06d}" for i in range(20)]
    assert label_names(source) == [str(i % 3) for i in range(20)]
    assert json.loads(source.carried(7)["json"]) == {"caption": "7"}
    assert source.read(19) == b"\x89PNG" + bytes(19)


def test_one_tar_in_is_one_range_out_in_the_order_of_the_expansion(tmp_path):
    lay(tmp_path, samples(b"0", b"1"), [], samples(b"1"))
    source = WebDatasetShards(f"{tmp_path}/{{00002,00001}}.tar::{tmp_path}/00000.tar")
    assert source.shards == [range(1), range(1, 1), range(1, 3)]
    assert [entry.name for entry in entries(source)] == ["00002.tar/0", "00000.tar/0", "00000.tar/1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "png+"}, "image=png+ is not a list"),
        ({"image": "p/g"}, "image=p/g is not a list"),
        ({"label": "json"}, "write label=cls, label=txt or label=json:NAME"),
        ({"label": "json:"}, "label=json: is not a valid field"),
        ({"label": "txt:class"}, "label=txt:class is not a valid field"),
        ({"label": "../cls"}, "label=../cls is not a valid field"),
    ],
)
def test_an_option_that_means_nothing_is_named(tmp_path, options, message):
    with pytest.raises(SourceError) as error:
        WebDatasetShards(lay(tmp_path, samples(b"0")), **options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ([b"2", b"0", b"1 \n"], ("0", "1", "2"), ["2", "0", "1"]),
        ([b"10", b"9", b"-1"], ("-1", "9", "10"), ["10", "9", "-1"]),
        ([b"01", b"1", b"+1"], ("1",), ["1", "1", "1"]),
        ([b"cat", b"10", b"9"], ("10", "9", "cat"), ["cat", "10", "9"]),
        (["Kätzchen".encode(), b"dog"], ("Kätzchen", "dog"), ["Kätzchen", "dog"]),
        ([b"9" * 30, b"1"], ("1", "9" * 30), ["9" * 30, "1"]),
    ],
)
def test_labels_are_integers_or_text(tmp_path, labels, classes, expected):
    source = WebDatasetShards(lay(tmp_path, samples(*labels)))
    assert (source.classes, label_names(source)) == (classes, expected)


def test_labels_lie_in_any_text_field_or_in_json(tmp_path):
    about = [b'{"kind": "b", "n": 3}', b'{"kind": "a", "n": 1}', b'{"kind": " b "}']
    place = lay(tmp_path, samples(*about, extension="JSON"), samples(b"a", b"b", extension="Name.txt"))
    first, second = place.replace("{00000..00001}", "00000"), place.replace("{00000..00001}", "00001")
    assert label_names(WebDatasetShards(first, label="json:kind")) == ["b", "a", "b"]
    assert label_names(WebDatasetShards(first, label="json:n")) == ["3", "1", None]
    assert label_names(WebDatasetShards(second, label="name.txt")) == ["a", "b"]
    source = WebDatasetShards(first, label="json:kind")
    assert source.carried(0) == {"json": about[0]}, "it has more to say than the label"
    assert source.spec == f"wds:{first},label=json:kind"


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (b"", "has no label"),
        (b" \n", "has no label"),
        (b"\xff\xfe", "its label cannot be read"),
        (b"x" * 1001, "its label cannot be read"),
    ],
)
def test_a_label_that_is_none_is_a_reason(tmp_path, label, reason):
    source = WebDatasetShards(lay(tmp_path, samples(b"a", label)))
    assert (label_names(source), reasons(source)) == (["a", None], ["", reason])


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        (b'{"kind": null}', "has no label"),
        (b'{"other": 1}', "has no label"),
        (b"[1]", "has no label"),
        (b'{"kind": ""}', "has no label"),
        (b'{"kind": [1]}', "its label cannot be read"),
        (b'{"kind": true}', "its label cannot be read"),
        (b'{"kind": 1.5}', "its label cannot be read"),
        (b'{"kind": 1', "its label cannot be read"),
        (b"[" * 100_000, "its label cannot be read"),
        (b'{"kind": "\\ud800"}', ""),
    ],
)
def test_json_without_a_usable_label_is_a_reason(tmp_path, about, reason):
    source = WebDatasetShards(lay(tmp_path, samples(b'{"kind": "a"}', about, extension="json")), label="json:kind")
    assert reasons(source) == ["", reason]
    assert all(name.encode() for name in source.classes)


def test_the_first_image_field_asked_for_is_the_picture(tmp_path):
    files = [("a.txt", b"x"), ("a.JPG", b"jpg"), ("a.png", b"png"), ("a.cls", b"0"), ("b.cls", b"1"), ("b.npy", b"n")]
    place = lay(tmp_path, files)
    source = WebDatasetShards(place)
    assert (source.read(0), source.carried(0)) == (b"png", {"txt": b"x", "jpg": b"jpg"})
    assert "other fields are copied as they are: jpg, npy, txt; check whether they show the picture" in source.remarks
    assert reasons(source) == ["", "has no image field"]
    assert source.entry(1).label is None
    with pytest.raises(RejectedImage, match="has no image field"):
        source.read(1)
    other = WebDatasetShards(place, image="gif+jpg+npy")
    assert [other.read(0), other.read(1)] == [b"jpg", b"n"]
    assert other.spec == f"wds:{place},image=gif+jpg+npy"


def test_a_key_that_comes_again_and_a_field_that_comes_again_are_reasons(tmp_path):
    files = [
        *samples(b"0", b"1"),
        ("0.png", b"again"),
        ("0.cls", b"0"),
        ("2.png", b"a"),
        ("2.PNG", b"b"),
        ("2.cls", b"0"),
    ]
    source = WebDatasetShards(lay(tmp_path, files))
    assert reasons(source) == ["", "", "its key occurs twice", "one of its fields occurs twice"]
    assert len({entry.name for entry in entries(source)}) == 4


def test_files_of_one_key_that_do_not_follow_each_other_are_two_samples(tmp_path):
    files = [("0.png", b"0"), ("1.png", b"1"), ("0.cls", b"0"), ("1.cls", b"1")]
    source = WebDatasetShards(lay(tmp_path, files))
    assert reasons(source) == ["has no label", "has no label", *["its key occurs twice"] * 2]


def test_a_leading_dot_slash_is_no_part_of_a_key(tmp_path):
    source = WebDatasetShards(lay(tmp_path, [("./a/0.png", b"p"), ("./a/0.cls", b"0")]))
    assert entries(source)[0].name == "00000.tar/a/0"


def test_classes_have_the_names_in_the_manifest_beside_the_tars(tmp_path):
    place = lay(tmp_path, samples(b"2", b"0"))
    manifest = {"tool": {"name": "semshard"}, "classes": ["ant", "bee", "cat"]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    source = WebDatasetShards(place)
    assert source.classes == ("ant", "bee", "cat")
    assert [entry.label for entry in entries(source)] == [2, 0]
    for other in (
        {**manifest, "classes": ["ant", "bee"]},
        {**manifest, "tool": {"name": "x"}},
        {"classes": 3},
        [],
        None,
    ):
        (tmp_path / "manifest.json").write_text(json.dumps(other))
        assert WebDatasetShards(place).classes == ("0", "2")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "more").mkdir()
    lay(tmp_path / "more", samples(b"0"))
    assert WebDatasetShards(f"{place}::{tmp_path}/more/00000.tar").classes == ("0", "2"), "one tar has no manifest"


def test_what_semshard_wrote_of_a_sample_is_not_carried(tmp_path):
    def with_json(about, name="json"):
        return [*samples(b"0"), (f"0.{name}", json.dumps(about).encode())]

    more = OURS | {"psnr": 40.0}
    foreign = {"width": 8, "height": 8, "caption": "x"}
    place = lay(tmp_path, with_json(OURS), with_json(more), with_json(foreign), with_json(OURS, "semshard.json"))
    source = WebDatasetShards(place)
    assert [set(source.carried(number)) for number in range(4)] == [set(), {"json"}, {"json"}, set()]
    assert source.fields == ("json",)
    (tmp_path / "manifest.json").write_text(json.dumps({"tool": {"name": "semshard"}, "classes": ["a", "b"]}))
    source = WebDatasetShards(place)
    assert [set(source.carried(number)) for number in range(4)] == [set(), set(), {"json"}, set()]
    own = WebDatasetShards(place.replace("{00000..00003}", "{00000,00001,00003}"))
    assert (own.fields, own.remarks) == ((), ())


def test_every_field_that_is_carried_is_told(tmp_path):
    files = [*samples(b"0"), ("0.json", json.dumps(OURS).encode()), ("1.png", b"p"), ("1.cls", b"1"), ("1.json", b"{")]
    source = WebDatasetShards(lay(tmp_path, files))
    assert (source.fields, source.carried(0), source.carried(1)) == (("json",), {}, {"json": b"{"})


def test_the_digest_hangs_on_names_labels_and_reasons_only(tmp_path):
    place = lay(tmp_path, samples(b"0", b"1"))
    digest = WebDatasetShards(place).digest
    lay(tmp_path, [(name, b"other" if name.endswith("png") else data) for name, data in samples(b"0", b"1")])
    assert WebDatasetShards(place).digest == digest
    lay(tmp_path, samples(b"1", b"0"))
    assert WebDatasetShards(place).digest != digest
    lay(tmp_path, samples(b"0", b"1")[:3])
    assert WebDatasetShards(place).digest != digest


@pytest.mark.slow
def test_the_index_takes_at_most_500_bytes_a_sample(tmp_path):
    count, written = 20_000, 0
    with open(tmp_path / "00000.tar", "wb") as file:
        for i in range(count):
            for extension, data in (("cls", b"%d" % (i % 10)), ("json", b'{"a": 1}'), ("png", b"p"), ("txt", b"words")):
                written += file.write(tar_entry(f"train/n0{i % 10:07d}/{i:08d}.{extension}", data))
        file.write(tar_end(written))
    place = str(tmp_path / "00000.tar")
    gc.collect()
    tracemalloc.start()
    try:
        source = WebDatasetShards(place)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(source) == count
    assert held < 200 * count
    assert peak < 500 * count


@given(st.lists(st.text(max_size=4) | st.integers(-3, 12).map(str), max_size=20))
def test_classes_are_sorted_and_every_label_finds_its_own(texts):
    classes, numbers = classes_of(texts)
    assert len(set(classes)) == len(classes)
    assert numbers.dtype == "int32"
    numeric = all(text.lstrip("+-").isascii() and text.lstrip("+-").isdigit() for text in texts)
    expected = [str(int(text)) for text in texts] if numeric else texts
    assert [classes[number] for number in numbers] == expected
    assert list(classes) == sorted(classes, key=int if numeric else str)
