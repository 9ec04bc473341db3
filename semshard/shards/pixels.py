"""Pixels to PNG bytes and back, by OpenCV, lossless and without a word of metadata."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ShardError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS = {b"IHDR", b"IDAT", b"IEND"}


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """uint8 (H, W, 3) RGB as an 8-bit RGB PNG."""
    return encode_pngs(pixels[None])[0]


def encode_pngs(pixels: NDArray[np.uint8]) -> list[bytes]:
    """uint8 (N, H, W, 3) RGB as 8-bit RGB PNGs."""
    encoded = []
    for picture in np.ascontiguousarray(pixels[..., ::-1]):
        done, data = cv2.imencode(".png", picture)
        if not done:
            raise ShardError(f"OpenCV could not encode an image of shape {picture.shape}")
        encoded.append(data.tobytes())
    return encoded


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """`encode_png` undone: uint8 (H, W, 3) RGB. Raises `ShardError` where the bytes are no whole 8-bit RGB PNG."""
    problem = png_problem(data)
    if problem:
        raise ShardError(problem)
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ShardError("the PNG does not decode")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def png_problem(data: bytes) -> str:
    """What keeps these bytes from being a PNG of ours: broken structure, or chunks besides pixels. Empty if nothing.

    Walks the chunks (PNG specification, section 5) and checks their sums; nothing is decoded, so nothing can explode.
    """
    if not data.startswith(_SIGNATURE):
        return "not a PNG"
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            return "the PNG is cut short"
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 4 : at + 8 + length]
        if at + 12 + length > len(data):
            return "the PNG is cut short"
        if struct.unpack_from(">I", data, at + 8 + length)[0] != zlib.crc32(body):
            return f"the PNG is damaged in its {kind.decode('latin-1')} chunk"
        if kind not in _PIXEL_CHUNKS:
            return f"the PNG carries more than pixels: chunk {kind.decode('latin-1')}"
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack_from(">IIBB", body, 4)
            if (depth, colour) != (8, 2) or width * height > 1 << 28:
                return f"the PNG is {width} × {height}, {depth} bits, colour type {colour}; expected 8-bit RGB"
        at += 12 + length
    return "" if at == len(data) else "something follows the PNG"
