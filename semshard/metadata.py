"""What a picture file carries besides pixels, where the owner asks to keep it."""

from __future__ import annotations

from dataclasses import dataclass

KEEP = ("none", "icc", "all")


@dataclass(frozen=True)
class Metadata:
    """Each as the bytes that stand in a file; empty where there is none."""

    icc: bytes = b""  # an ICC colour profile
    exif: bytes = b""  # a TIFF structure that starts with "Exif\0\0", its orientation set to upright
    xmp: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.icc or self.exif or self.xmp)
