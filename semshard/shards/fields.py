"""What a sample in a tar consists of: KEY.png, KEY.cls, KEY.json, and other fields of the source's own sample."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .pixels import EXTENSIONS

ABOUT = "semshard.json"  # semshard's description of a sample that has a .json of its own


@dataclass(frozen=True)
class Fields:
    """The fields of every sample."""

    format: str = "png"  # png | jpeg | webp
    keep: str = "none"  # what metadata the image files have, as `metadata_blocks` says
    carried: tuple[str, ...] = ()  # extensions; a sample may lack some

    @property
    def image(self) -> str:
        """The extension of the protected image."""
        return EXTENSIONS[self.format]

    @property
    def about(self) -> str:
        """The extension of semshard's description of the sample: a source's own .json keeps its name."""
        return ABOUT if "json" in self.carried else "json"

    def published(self, extension: str) -> str:
        """The name of a carried field in the shards: none replaces one of semshard's, or another."""
        ours = "|".join(map(re.escape, ("cls", self.image, ABOUT)))
        return f"source.{extension}" if re.fullmatch(rf"(source\.)*({ours})", extension) else extension

    @property
    def own(self) -> tuple[str, str, str]:
        """The fields that every sample has."""
        return "cls", self.about, self.image

    def to_json(self) -> dict[str, Any]:
        """As in the manifest."""
        return {"image": self.image, "label": "cls", "about": self.about, "carried": list(self.carried)}

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Fields:
        """The fields that a manifest names."""
        settings = manifest["settings"]
        keep = metadata_blocks(settings["keep_metadata"], settings.get("reserve", "none"))  # old manifests lack it
        return cls(settings["format"], keep, tuple(manifest["fields"]["carried"]))


def metadata_blocks(keep_metadata: str, reserve: str) -> str:
    """What may be in an image file besides pixels: none, icc (a profile), xmp, icc+xmp, or all (EXIF too)."""
    if keep_metadata == "rights" or (keep_metadata == "none" and reserve != "none"):
        return "xmp"
    return "icc+xmp" if keep_metadata == "icc" and reserve != "none" else keep_metadata
