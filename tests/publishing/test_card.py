"""The data card: what it says, what it does not say, who may change it, and that it is there whenever a manifest is."""

import json
import shutil

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import semshard
from semshard.publishing import FILES, MADE, Statement, description
from semshard.publishing.croissant import croissant
from semshard.publishing.hub import quoted, size_category
from semshard.publishing.readme import as_text, readme
from semshard.publishing.reservation import IN_WORDS, hosting
from tests.support.command import semshard as program
from tests.support.formats import QUICK, SETS
from tests.support.photo_runs import protect
from tests.support.runs import TINY, public_bytes
from tests.support.verification import PLAIN

DIGEST = "0" * 64


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def header_of(text):
    """The YAML between the first two lines of dashes."""
    _, header, _ = text.split("---\n", 2)
    return yaml.safe_load(header)


def failures(folder):
    remarks = []
    found = semshard.audit(folder, progress=lambda event: event.message and remarks.append(event.message)).failures
    return "\n".join(f"{each.where}: {each.problem}" for each in found), "\n".join(remarks)


# --- what it says ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_every_folder_has_a_card_that_the_audit_makes_again(folder, name):
    out = folder(name)
    assert {path.name for path in out.iterdir()} >= {"README.md", "croissant.json"}
    assert description(out) == {file: (out / file).read_bytes() for file in MADE}
    assert failures(out) == ("", "")


def test_the_header_is_what_the_hub_reads(folder):
    out = folder("webp")
    semshard.card(out, title="Birds: a \\ test", licence="cc-by-4.0")
    header = header_of((out / "README.md").read_text())
    assert header["configs"] == [{"config_name": "default", "data_files": "*.tar"}]
    assert (header["pretty_name"], header["license"]) == ("Birds: a \\ test", "cc-by-4.0")
    assert (header["size_categories"], header["task_categories"]) == (["n<1K"], ["image-classification"])
    assert "unlearnable-examples" in header["tags"]


@pytest.mark.parametrize(
    ("licence", "header"),
    [
        ("", {}),
        ("odbl-1.0", {"license": "odbl"}),
        ("EUPL-1.2", {"license": "other", "license_name": "eupl-1.2",
                      "license_link": "https://spdx.org/licenses/EUPL-1.2.html"}),
        ("https://example.org/terms", {"license": "other", "license_name": "terms",
                                       "license_link": "https://example.org/terms"}),
        ("LicenseRef-house", {"license": "other", "license_name": "licenseref-house"}),
    ],
)  # fmt: skip
def test_a_licence_that_the_hub_has_no_name_for_is_another_one(folder, licence, header):
    text = readme(manifest_of(folder("png")), DIGEST, Statement(licence=licence), None)
    assert {name: value for name, value in header_of(text).items() if name.startswith("license")} == header


@pytest.mark.parametrize(
    ("samples", "category"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (50_000, "10K<n<100K"),
        (10**12 - 1, "100B<n<1T"),
        (10**12, "n>1T"),
    ],
)
def test_sizes_have_the_hubs_words(samples, category):
    assert size_category(samples) == category


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_scalar_of_yaml(text):
    assert yaml.safe_load(f"- {quoted(text)}") == [text]


def test_class_names_are_text_and_nothing_else(folder):
    names = ["<script>alert(1)</script>", "a|b", 'c"d: [e]', "`f` *g*", "h\u0085\u2028i", "no"]
    text = readme(manifest_of(folder("png")) | {"classes": names}, DIGEST, Statement(), None)
    features = header_of(text)["dataset_info"]["features"]
    assert [*features[1]["dtype"]["class_label"]["names"].values()] == names
    page = text.split("---\n", 2)[2]
    assert "<script>" not in page
    assert r"\<script\>" in page
    assert as_text("a|b\n# c") == r"a\|b \# c"


def test_jpeg_says_that_it_exceeds_the_budget(folder):
    assert "The noise is at most 8 of 255 grey levels before" in (folder("jpeg") / "README.md").read_text()
    assert "was changed by more than 8 of 255 grey levels" in (folder("png") / "README.md").read_text()


@pytest.mark.filterwarnings("ignore")  # mlcroissant's
@pytest.mark.parametrize("reserve", IN_WORDS)
def test_a_reservation_is_in_card_and_croissant_and_for_the_host(folder, tmp_path, reserve):
    import mlcroissant

    manifest = manifest_of(folder("png"))
    manifest["settings"]["reserve"] = reserve
    assert f"`{IN_WORDS[reserve].code}`" in readme(manifest, DIGEST, Statement(), None)
    about = croissant(manifest, DIGEST, Statement(), None)
    assert about["usageInfo"]["termCode"] == IN_WORDS[reserve].code
    assert not mlcroissant.Dataset(about).metadata.ctx.issues.errors
    places = hosting(manifest, Statement(url="https://example.org/data/birds"))
    rules = json.loads(places["/.well-known/tdmrep.json"])
    assert rules == [{"location": "/data/birds/", "tdm-reservation": 1}]
    assert "User-agent: GPTBot\n" in places["/robots.txt"]
    assert places["/robots.txt"].endswith("\nDisallow: /data/birds/\n")
    assert "tdm-reservation: 1\n" in places["HTTP headers"]


def test_without_a_reservation_nothing_is_said_of_rights(folder):
    out = folder("png")
    result = semshard.card(out)
    assert (result.reserve, result.hosting) == ("none", {})
    assert "--reserve" in result.remarks[0]
    assert "## Rights" not in (out / "README.md").read_text()
    assert "usageInfo" not in json.loads((out / "croissant.json").read_text())


# --- what it does not say ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_nothing_private_is_in_a_card(images, tmp_path):
    """Names of the source, its files and the report, the seed, and where all of it lies."""
    source = tmp_path / "hidden-drawer" / "diary-of-2019"
    shutil.copytree(images, source)
    private = {"hidden-drawer", "diary-of-2019", "secret-report", "987650123", tmp_path.name, "ledger"}
    for folder in source.iterdir():
        for number, path in enumerate(sorted(folder.iterdir())):
            path.rename(path.with_name(f"confidential{number:02d}{path.suffix}"))
    out = tmp_path / "out"
    semshard.protect(source, out, preset="quick", seed=987650123, shard_size=16, title="Shapes", **QUICK)
    semshard.verify(out, report=tmp_path / "secret-report", rho_a="0", **PLAIN)
    semshard.card(out, report=tmp_path / "secret-report")
    public = {path.name: path.read_text() for path in out.iterdir() if path.name in FILES}
    assert set(public) == set(FILES)
    for word in (*private, "confidential"):
        assert [name for name, text in public.items() if word in text] == [], word
    verdict = json.loads((tmp_path / "secret-report" / "report.json").read_text())["verdict"]
    assert as_text(verdict["sentence"]) in public["README.md"]
    assert verdict["sentence"] in json.loads(public["croissant.json"])["rai:dataLimitations"]
    assert failures(out) == ("", "")
    described = public_bytes(out)
    semshard.card(out, licence="CC0-1.0")
    assert (out / "verification.json").read_bytes() == described["verification.json"], "the verdict stays"
    semshard.protect(source, out, preset="quick", shard_size=8, overwrite=True, **QUICK)
    assert not (out / "verification.json").exists(), "it was of other shards"
    assert not (out / "card.json").exists()
    with pytest.raises(semshard.UsageError, match="belongs to other shards"):
        semshard.card(out, report=tmp_path / "secret-report")
    assert failures(out) == ("", "")


def test_equal_runs_have_equal_cards(folder, formats, tmp_path):
    protect(formats / "photos", tmp_path / "elsewhere" / "published", **QUICK)
    assert public_bytes(tmp_path / "elsewhere" / "published") == public_bytes(folder("png"))


# --- who may change it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_found_wherever_it_is(folder, name):
    from semshard.inspection.described import described

    out = folder("png")
    semshard.card(out, title="Birds", licence="MIT", creator="An owner")
    (out / "verification.json").write_bytes(_verdict(out))
    semshard.card(out)
    shards, path = semshard.open_shards(out), out / name
    data = path.read_bytes()
    assert list(described(shards, print)) == []
    for place in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
        assert list(described(shards, print)), f"bit {place % 8} of byte {place}"


def _verdict(out):
    """A verification.json with every field that one has."""
    import hashlib

    from semshard.atomic import json_bytes

    attacker = {
        "name": "small, standard training", "verdict": "protects", "retained_share": 0.29, "share_interval": [0.2, 0.3],
        "seeds": 1, "best": {"clean": 0.5, "protected": 0.24, "control": 0.5},
    }  # fmt: skip
    return json_bytes(
        {
            "schema_version": 1, "tool": {"name": "semshard", "version": "0.1.0"},
            "manifest_sha256": hashlib.sha256((out / "manifest.json").read_bytes()).hexdigest(),
            "report_sha256": DIGEST,
            "verdict": {"attacker": attacker["name"], "verdict": "protects", "sentence": "It does.", "theory": "Tao."},
            "rule": "A rule.", "chance": 0.5, "samples": {"train": 6, "test": 2}, "attackers": [attacker],
            "not_tried": ["training: longer"],
        }
    )  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_a_missing_file_is_found_and_the_same_command_writes_it(folder, formats, name):
    out = folder("png")
    before = public_bytes(out)
    (out / name).unlink()
    assert failures(out)[0] == f"{name}: is missing; semshard card writes it"
    assert protect(formats / "photos", out, **QUICK).made == 0
    assert public_bytes(out) == before


def test_a_card_that_was_edited_is_found_and_left_alone_until_card_is_asked_for(folder, formats):
    out = folder("png")
    before, edited = public_bytes(out), (out / "README.md").read_text().replace("noise", "poise")
    (out / "README.md").write_text(edited)
    assert "README.md: is not what semshard card makes of the manifest" in failures(out)[0]
    protect(formats / "photos", out, **QUICK)
    assert (out / "README.md").read_text() == edited
    semshard.card(out)
    assert public_bytes(out) == before


def test_a_verdict_of_other_shards_is_found(folder):
    out = folder("png")
    (out / "verification.json").write_bytes(_verdict(folder("webp")))
    assert "verification.json belongs to another manifest" in failures(out)[0]
    semshard.card(out)
    assert failures(out) == ("", "")


def test_a_published_verdict_that_is_not_that_of_the_report_is_found(images, tmp_path):
    semshard.protect(images, tmp_path / "out", **TINY | {"method": "sc"})
    semshard.verify(tmp_path / "out", report=tmp_path / "report", rho_a="0", **PLAIN)
    semshard.card(tmp_path / "out", report=tmp_path / "report")
    assert semshard.audit(tmp_path / "out", report=tmp_path / "report").failures == []
    (tmp_path / "out" / "verification.json").write_bytes(_verdict(tmp_path / "out"))
    semshard.card(tmp_path / "out")
    assert semshard.audit(tmp_path / "out").failures == [], "a card follows from it, and nobody else knows better"
    (failure,) = semshard.audit(tmp_path / "out", report=tmp_path / "report").failures
    assert (failure.where, failure.problem) == ("verification.json", "is not the verdict of the report")


def test_loud_noise_is_not_called_faint(folder):
    manifest = manifest_of(folder("png"))
    assert "hardly see" in readme(manifest, DIGEST, Statement(), None)
    loud = manifest | {"settings": manifest["settings"] | {"rho_u": "96/255"}}
    assert "hardly see" not in readme(loud, DIGEST, Statement(), None)


def test_a_readme_of_somebody_else_is_kept(folder, formats, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "README.md").write_text("# my notes on semshard\n")
    for overwrite in (False, True):
        with pytest.raises(semshard.OutputError, match=r"README.md, which semshard did not write"):
            protect(formats / "photos", out, overwrite=overwrite, **QUICK)
    finished = folder("png")
    shutil.copy(out / "README.md", finished / "README.md")
    with pytest.raises(semshard.OutputError, match="was not written by semshard"):
        semshard.card(finished)
    assert (finished / "README.md").read_text() == (out / "README.md").read_text() == "# my notes on semshard\n"


# --- older folders and interrupted runs ----------------------------------------------------------------------------


def test_a_folder_without_a_card_from_before_there_were_any_is_valid(folder):
    out = folder("png")
    shutil.rmtree(f"{out}.ledger")
    manifest = manifest_of(out)
    del manifest["card"]
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    for name in MADE:
        (out / name).unlink()
    found, remarks = failures(out)
    assert (found, remarks) == ("", f"{out} is older than data cards: semshard card {out} writes one")
    semshard.card(out)
    assert manifest_of(out) == manifest, "the report and the signature name it by its digest"
    assert failures(out) == ("", "")
    (out / "croissant.json").unlink()
    assert "croissant.json: is missing" in failures(out)[0]


def test_a_card_of_another_revision_is_not_compared_where_the_manifest_is_of_another_too(folder):
    out = folder("png")
    shutil.rmtree(f"{out}.ledger")
    other = (out / "README.md").read_text().replace("revision 1 -->", "revision 999 -->")
    (out / "README.md").write_text(other)
    assert "README.md: is not what" in failures(out)[0]
    manifest = manifest_of(out) | {"card": 999}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    found, remarks = failures(out)
    assert found == ""
    assert "README.md is of another version of semshard and was not compared" in remarks


def test_the_revision_is_raised_when_cards_change(folder):
    """Where this fails, and cards of this revision were released: raise CARD_REVISION, or audits of them fail."""
    import hashlib

    from semshard.shards import CARD_REVISION

    manifest = manifest_of(folder("png"))
    manifest |= {"tool": {"name": "semshard", "version": "0"}, "shards": [], "noise": {"linf_max": 8, "psnr_mean": 30}}
    assert manifest["settings"]["method"] == "sc", "the same on every machine"
    texts = readme(manifest, DIGEST, Statement(), None), json.dumps(croissant(manifest, DIGEST, Statement(), None))
    digest = hashlib.sha256("".join(texts).encode()).hexdigest()
    assert (CARD_REVISION, digest[:16]) == (1, "800fbcf48f3c21d1")


def test_what_is_stated_goes_into_a_finished_folder_without_making_it_again(folder, formats):
    out = folder("png")
    result = protect(formats / "photos", out, title="Birds", licence="CC0-1.0", **QUICK)
    assert result.made == 0
    assert "# Birds\n" in (out / "README.md").read_text()
    assert json.loads((out / "croissant.json").read_text())["license"] == "https://spdx.org/licenses/CC0-1.0.html"
    stated = public_bytes(out)
    assert protect(formats / "photos", out, **QUICK).made == 0
    assert public_bytes(out) == stated, "what is not given stays"
    semshard.card(out, title="", licence="")
    assert not (out / "card.json").exists()


@pytest.mark.parametrize("made", range(3))
def test_stopped_between_any_two_files_the_same_command_ends_in_the_same_bytes(folder, formats, made):
    """card.json, verification.json, croissant.json and README.md are written in this order."""
    out = folder("png")
    before = public_bytes(out)
    protect(formats / "photos", out, title="Birds", **QUICK)
    after = public_bytes(out)
    for name in ("card.json", "croissant.json", "README.md")[made:]:
        (out / name).write_bytes(before[name]) if name in before else (out / name).unlink()
    protect(formats / "photos", out, title="Birds", **QUICK)
    assert public_bytes(out) == after


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ({"licence": "CC BY 4.0"}, "neither an identifier"),
        ({"title": "two\nlines"}, "one line"),
        ({"title": "x" * 301}, "one line"),
        ({"url": "birds"}, "not the address"),
        ({"date": "31.1.2026"}, "not a date"),
    ],
)
def test_what_cannot_be_stated_is_refused_and_nothing_is_written(folder, stated, problem):
    out = folder("png")
    before = public_bytes(out)
    with pytest.raises(semshard.SettingError, match=problem):
        semshard.card(out, **stated)
    assert public_bytes(out) == before


def test_a_bad_licence_stops_protect_before_the_scan(formats, tmp_path):
    with pytest.raises(semshard.SettingError, match="neither an identifier"):
        protect(formats / "photos", tmp_path / "out", licence="CC BY", **QUICK)
    assert not (tmp_path / "out").exists()


def test_the_command_prints_what_it_wrote(folder):
    out = folder("png")
    done = program("card", out, "--title", "Birds", "--json")
    result = json.loads(done.stdout)
    assert (result["title"], result["files"]) == ("Birds", ["README.md", "croissant.json", "card.json"])
    assert "Nothing is reserved" in program("card", out).stdout
