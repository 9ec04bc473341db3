"""One function that opens any source, and the table of what it can open."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import SourceError
from ..plugins import Plugin, loaded, plugin
from .source import Source

AUTO = "auto"


@dataclass(frozen=True)
class SourceOptions:
    """What the caller says of a source besides its place."""

    labels: str = ""  # a file of labels for a folder, or "auto" for groups of images that look alike
    path_column: str = "path"
    label_column: str = "label"
    margin: float = 0.0  # around a face's box, as a share of its size

    def to_json(self) -> dict[str, Any]:
        """As in run.json, from where another command in another folder opens the source again."""
        here = self.labels and self.labels != AUTO and os.path.exists(self.labels)
        return asdict(self) | ({"labels": os.path.abspath(self.labels)} if here else {})


@dataclass(frozen=True)
class SourceKind:
    """A kind of source."""

    name: str
    form: str
    line: str
    open: Callable[[str, Mapping[str, str], SourceOptions], Source]
    options: tuple[str, ...] = ()  # that may follow the place, as ,name=value


def _reading(source: Source, place: str) -> Source:
    source.folders = (os.path.abspath(place),) if os.path.isdir(place) else ()
    return source


def _folder(place: str, place_options: Mapping[str, str], options: SourceOptions) -> Source:
    from .folder import Folder

    return _reading(Folder(place, options.labels, options.path_column, options.label_column), place)


def _shapes(place: str, place_options: Mapping[str, str], options: SourceOptions) -> Source:
    from .shapes import Shapes

    if not re.fullmatch(r"[1-9][0-9]{0,8}", place):
        raise SourceError(f"{place!r} is not a number of shapes; write it like shapes:2000")
    return Shapes(int(place))


def _cifar(classes: int) -> Callable[[str, Mapping[str, str], SourceOptions], Source]:
    def opened(place: str, place_options: Mapping[str, str], options: SourceOptions) -> Source:
        from .cifar import Cifar

        return Cifar(place, classes, **place_options)

    return opened


def _imagenet(first: int | None) -> Callable[[str, Mapping[str, str], SourceOptions], Source]:
    def opened(place: str, place_options: Mapping[str, str], options: SourceOptions) -> Source:
        from .imagenet import ImageNet

        return _reading(ImageNet(place, first, **place_options), place)

    return opened


def _facescrub(place: str, place_options: Mapping[str, str], options: SourceOptions) -> Source:
    from .facescrub import FaceScrub

    return _reading(FaceScrub(place, margin=options.margin, **place_options), place)


def _wds(place: str, place_options: Mapping[str, str], options: SourceOptions) -> Source:
    from .wds import WebDatasetShards

    return WebDatasetShards(place, **place_options)


def _hf(place: str, place_options: Mapping[str, str], options: SourceOptions) -> Source:
    from .hf import HuggingFace

    return HuggingFace(place, **place_options)


KINDS = (
    SourceKind("folder", "DIR", "a folder with a subfolder for each class; or any folder, with --labels FILE", _folder),
    SourceKind("shapes", "shapes:N", "N drawn pictures of ten shapes, 32 × 32: nothing needed", _shapes),
    SourceKind(
        "cifar10",
        "cifar10:DIR[,split=train|test|all]",
        "CIFAR-10: the python batches, or their tar.gz as downloaded; checksums are held to",
        _cifar(10),
        ("split",),
    ),
    SourceKind(
        "cifar100", "cifar100:DIR[,split=train|test|all]", "CIFAR-100, fine labels; likewise", _cifar(100), ("split",)
    ),
    SourceKind(
        "imagenet",
        "imagenet:DIR[,split=train|val]",
        "ImageNet: train/WNID/*.JPEG; val/ as folders, or flat with the devkit beside it",
        _imagenet(None),
        ("split",),
    ),
    SourceKind(
        "imagenet100",
        "imagenet100:DIR[,split=train|val]",
        "its first hundred classes: the paper's subset",
        _imagenet(100),
        ("split",),
    ),
    SourceKind(
        "facescrub",
        "facescrub:DIR[,lists=both|actors|actresses][,study=SEED][,part=train|test|all]",
        "FaceScrub: the release's lists with the downloaded images, cropped to the box (--margin); or cropped faces, a "
        "folder per person. study=SEED is the paper's: ten people, 120 images each",
        _facescrub,
        ("lists", "people", "images", "seed", "study", "part"),
    ),
    SourceKind(
        "wds",
        "wds:PATTERN[,image=EXT][,label=cls|EXT|json:NAME]",
        "WebDataset tars, like data/{000..099}.tar: one tar in is one tar out, other fields are carried over",
        _wds,
        ("image", "label"),
    ),
    SourceKind(
        "hf",
        "hf:PATH_OR_NAME[,split=…][,image=…][,label=…]",
        "a Hugging Face dataset, streamed; pip install 'semshard[hf]'",
        _hf,
        ("split", "image", "label"),
    ),
)


_BY_NAME = {kind.name: kind for kind in KINDS}


def source_kinds() -> tuple[SourceKind, ...]:
    """The kinds of sources that can be opened, with the form that each expects; those of other packages last."""
    return (*KINDS, *added_kinds()[0])


def added_kinds() -> tuple[list[SourceKind], list[str]]:
    """The kinds that packages add, and why others of theirs cannot be used."""
    return loaded("sources", _BY_NAME, _load)


def _load(found: Plugin) -> SourceKind:
    kind = found.load(SourceKind, SourceError)

    def opened(place: str, place_options: Mapping[str, str], options: SourceOptions) -> Source:
        source = found.guarded(kind.open, SourceError)(place, place_options, options)
        if not isinstance(source, Source):
            raise SourceError(f"{found}: open returned a {type(source).__name__}, not a Source")
        return source

    return replace(kind, open=opened)


def _kind(name: str) -> SourceKind | None:
    """The kind of that name: a built-in one, or that of a package."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    found = plugin("sources", name, SourceError)
    return _load(found) if found else None


def open_source(spec: str | Path, options: SourceOptions | None = None) -> Source:
    """The source that `spec` names, in one of the forms of `KINDS`. Places may be remote: s3://, gs://, https://.

    Raises `SourceError` where there is none.
    """
    options = options or SourceOptions()
    kind, place, place_options = parse(str(spec))
    if options.labels and kind.name != "folder":
        raise SourceError(f"--labels is for folders; {kind.form} has labels of its own")
    if options.margin and kind.name != "facescrub":
        raise SourceError(f"--margin is for facescrub:, not for {kind.form}")
    if options.labels in ("", AUTO) and (options.path_column, options.label_column) != ("path", "label"):
        raise SourceError("--path-column and --label-column need --labels FILE")
    return kind.open(place, place_options, options)


def unlisted_spec(spec: str) -> str | None:
    """What `Source.spec` of the opened source is, found without listing it; None where it has to be opened for that.

    Raises `SourceError` where its place does not exist.
    """
    from .files import open_files, printable
    from .tars import absolute

    kind, place, options = parse(spec)
    given = "".join(f",{name}={value}" for name, value in options.items())
    match kind.name:
        case "folder":
            return open_files(place).root
        case "imagenet" | "imagenet100" | "facescrub":
            return f"{kind.name}:{printable(open_files(place).root)}{given}"
        case "wds":
            return f"wds:{absolute(place)}{given}"
        case "shapes":
            return spec
    return None


def parse(spec: str) -> tuple[SourceKind, str, dict[str, str]]:
    """Kind, place, and the options that follow the place as ,name=value."""
    name, colon, rest = spec.partition(":")
    kind = _kind(name) if colon and not rest.startswith("//") else None
    if kind is None:
        return _BY_NAME["folder"], spec, {}
    place_options: dict[str, str] = {}
    while match := re.fullmatch(r"(.*),([a-z_]+)=([^,{}]*)", rest, re.DOTALL):
        if match[2] not in kind.options:
            break
        rest, place_options = match[1], {match[2]: match[3]} | place_options
    return kind, rest, place_options
