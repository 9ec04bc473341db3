"""croissant.json: the collection as MLCommons Croissant 1.1 describes data sets, with the fields of its RAI vocabulary.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html and http://mlcommons.org/croissant/RAI/1.0. Addresses
are relative to the file itself. A record joins a picture in a tar with its row in the parquet files by its key.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ..shards import Fields, digits_for, sample_key
from ..shards.manifest import FILE as MANIFEST
from . import words
from .hub import TAGS
from .reservation import usage_info
from .statement import Statement

FILE = "croissant.json"
CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
_MEDIA = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
_COLUMNS = {  # of the parquet files: type, and what a value is
    "label": (["sc:Integer", "cr:Label"], "The class: its place in the record set classes, from 0."),
    "class": (["sc:Text", "cr:Label"], "The name of the class."),
    "width": ("sc:Integer", "Width of the picture, in pixels."),
    "height": ("sc:Integer", "Height of the picture, in pixels."),
    "linf": ("sc:Integer", "Largest change of a channel of a pixel, in grey levels of 255."),
    "sha256": ("sc:Text", "SHA-256 of the decoded pixels."),
}
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    **{name: f"cr:{name}" for name in (
        "annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract",
        "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath",
        "key", "md5", "parentField", "path", "readLines", "recordSet", "references", "regex", "repeated", "replace",
        "samplingRate", "sdVersion", "separator", "source", "subField", "transform", "unArchive", "value",
    )},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
}  # fmt: skip


def croissant(
    manifest: Mapping[str, Any], manifest_sha256: str, statement: Statement, verdict: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The description, as JSON values."""
    usage = usage_info(manifest)
    return {
        "@context": copy.deepcopy(_CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": words.title(manifest, statement),
        "description": " ".join(words.summary(manifest)),
        **_stated(statement),
        "version": "1.0.0",
        "keywords": ["image classification", *TAGS],
        "citeAs": words.CITATION,
        **({"usageInfo": usage} if usage else {}),
        **_provenance(manifest),
        **_responsible_ai(manifest, verdict),
        "distribution": [*_files(manifest, manifest_sha256), *_sets(manifest)],
        "recordSet": [_classes(manifest["classes"]), _samples(_key_digits(manifest))],
    }


def _stated(statement: Statement) -> dict[str, Any]:
    """What the specification requires and only the owner can say; left out where nothing is stated."""
    creator = {"@type": "sc:Organization", "name": statement.creator} if statement.creator else None
    stated = {
        "license": statement.licence_url or statement.licence,
        "creator": creator,
        "url": statement.url,
        "datePublished": statement.date,
    }
    return {name: value for name, value in stated.items() if value}


def _provenance(manifest: Mapping[str, Any]) -> dict[str, Any]:
    tool = manifest["tool"]
    return {
        "prov:wasDerivedFrom": {
            "@type": "prov:Entity",
            "prov:label": f"The {manifest['counts']['inputs']:,} original images, which are not part of this folder",
        },
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": f"semshard protect: {words.noise(manifest)}",
            "prov:wasAssociatedWith": {
                "@type": "prov:SoftwareAgent",
                "prov:label": f"{tool['name']} {tool['version']}",
            },
        },
    }


def _responsible_ai(manifest: Mapping[str, Any], verdict: Mapping[str, Any] | None) -> dict[str, Any]:
    counts, groups = manifest["counts"], manifest["labels"]["from"] == "groups"
    labels = (
        "Labels are groups of images that look alike, found by semshard; nobody has checked them."
        if groups
        else "Labels are those of the source; semshard has not checked them."
    )
    return {
        "rai:dataCollection": "Not recorded: semshard was given files and labels, not how they were collected.",
        "rai:dataCollectionMissingData": (
            f"{counts['rejected']:,} of {counts['inputs']:,} inputs are not in it: they could not be used, or were "
            "withdrawn."
        ),
        "rai:dataPreprocessingProtocol": words.preprocessing(manifest),
        "rai:dataManipulationProtocol": words.noise(manifest) + ". " + words.budget(manifest),
        "rai:dataAnnotationProtocol": [labels],
        **({"rai:machineAnnotationTools": ["semshard, groups by features of a network"]} if groups else {}),
        "rai:dataUseCases": [
            "For people to look at. The noise is meant to make the images of little use for training classifiers."
        ],
        "rai:dataLimitations": [*words.limits(manifest), words.verdict(verdict)],
        "rai:dataBiases": ["Not recorded: those of the source. The noise depends on the class of an image."],
        "rai:personalSensitiveInformation": [words.metadata(manifest)],
        "rai:dataSocialImpact": (
            "Owners of images get a means to publish them that leaves less to learn without permission. Somebody with "
            "permission needs the originals."
        ),
        "rai:dataReleaseMaintenancePlan": "Not recorded; manifest.json identifies this release by its digest.",
    }


def _files(manifest: Mapping[str, Any], manifest_sha256: str) -> list[dict[str, Any]]:
    files = [_file(MANIFEST, "application/json", manifest_sha256, None)]
    if "shard_lists" in manifest:  # a description of a million tars would be larger than their list
        lists = manifest["shard_lists"]["files"]
        return files + [_file(each["name"], "application/jsonlines", each["sha256"], each["bytes"]) for each in lists]
    for shard in manifest["shards"]:
        parquet = shard["name"].replace(".tar", ".parquet")
        files.append(_file(shard["name"], "application/x-tar", shard["sha256"], shard["bytes"]))
        files.append(_file(parquet, "application/x-parquet", shard["parquet_sha256"], shard["parquet_bytes"]))
    return files


def _file(name: str, media: str, sha256: str, size: int | None) -> dict[str, Any]:
    sized = {"contentSize": f"{size} B"} if size is not None else {}
    return {
        "@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name, **sized, "encodingFormat": media,
        "sha256": sha256,
    }  # fmt: skip


def _sets(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    image, many = Fields.of(manifest).image, "shard_lists" in manifest
    tars = [{"@id": "tars"}] if many else [{"@id": shard["name"]} for shard in manifest["shards"]]
    every = {
        "@type": "cr:FileSet", "@id": "tars", "name": "tars", "description": "The shards.",
        "encodingFormat": "application/x-tar", "includes": "*.tar",
    }  # fmt: skip
    return [
        *([every] if many else []),
        {
            "@type": "cr:FileSet", "@id": "pictures", "name": "pictures", "description": "The protected images.",
            "containedIn": tars,
            "encodingFormat": _MEDIA[image], "includes": f"{_key_digits(manifest) * '[0-9]'}.{image}",
        },
        {
            "@type": "cr:FileSet", "@id": "index", "name": "index", "description": "A row for every sample.",
            "encodingFormat": "application/x-parquet", "includes": "*.parquet",
        },
    ]  # fmt: skip


def _classes(names: list[str]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet", "@id": "classes", "name": "classes", "description": "The classes, in their order.",
        "dataType": "sc:Enumeration", "key": {"@id": "classes/name"},
        "field": [
            {"@type": "cr:Field", "@id": "classes/name", "name": "name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "classes/label", "name": "label", "dataType": "sc:Integer"},
        ],
        "data": [{"classes/name": name, "classes/label": number} for number, name in enumerate(names)],
    }  # fmt: skip


def _key_digits(manifest: Mapping[str, Any]) -> int:
    return len(sample_key(0, 0, digits_for(manifest["counts"]["shards"])))


def _samples(digits: int) -> dict[str, Any]:
    key = rf"(?:.*/)?([0-9]{{{digits}}})(?:\..*)?"  # in the name of a file, or alone
    return {
        "@type": "cr:RecordSet", "@id": "samples", "name": "samples", "description": "The samples.",
        "key": {"@id": "samples/key"},
        "field": [
            {
                "@type": "cr:Field", "@id": "samples/key", "name": "key", "dataType": "sc:Text",
                "description": "Shard and place in it; the name of the sample's files up to the dot.",
                "source": _of_picture("filename") | {"transform": {"regex": key}},
                "references": _of_index("key"),
            },
            {
                "@type": "cr:Field", "@id": "samples/image", "name": "image", "dataType": "sc:ImageObject",
                "description": "The protected image.", "source": _of_picture("content"),
            },
            *(
                {
                    "@type": "cr:Field", "@id": f"samples/{name}", "name": name, "dataType": kind,
                    "description": meaning, "source": _of_index(name),
                }
                for name, (kind, meaning) in _COLUMNS.items()
            ),
        ],
    }  # fmt: skip


def _of_picture(what: str) -> dict[str, Any]:
    return {"fileSet": {"@id": "pictures"}, "extract": {"fileProperty": what}}


def _of_index(column: str) -> dict[str, Any]:
    return {"fileSet": {"@id": "index"}, "extract": {"column": column}}
