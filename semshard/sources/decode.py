"""Bytes of an image file to 8-bit RGB pixels, by Pillow. Everything but the pixels is dropped.

| in the file | rule |
|---|---|
| EXIF orientation | applied |
| greyscale, palette, CMYK, YCbCr | converted to RGB |
| 16 bits a channel | the high 8 |
| transparency | laid on white |
| several frames | the first |
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import RejectedImage

Image.init()  # every decoder is there before threads ask for one
warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters about a bad file is its reject, not a warning

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")  # none of them runs a program
MOST_PIXELS = 178_956_970  # Pillow's bound against decompression bombs
LEAST_SIDE = 8


def decode(data: bytes) -> NDArray[np.uint8]:
    """Pixels uint8 (H, W, 3) RGB. Raises `RejectedImage` with the reason where the bytes are no usable image."""
    if not data:
        raise RejectedImage("empty file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise RejectedImage(f"{width} × {height} pixels, above the bound of {MOST_PIXELS}")
            if min(width, height) < LEAST_SIDE:
                raise RejectedImage(f"{width} × {height} pixels, below {LEAST_SIDE} a side")
            image.load()
            return np.asarray(_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError:
        raise RejectedImage("not an image") from None
    except Image.DecompressionBombError:
        raise RejectedImage(f"above the bound of {MOST_PIXELS} pixels") from None
    except MemoryError:
        raise
    except (OSError, ValueError, SyntaxError, TypeError, OverflowError, EOFError, IndexError, KeyError) as error:
        raise RejectedImage(f"truncated or broken: {error}") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        wide = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.clip(wide / 256, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def resize(pixels: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """The short side resized to `resolution` (bilinear, antialiased), then the centre square cropped."""
    height, width = pixels.shape[:2]
    scale = resolution / min(height, width)
    width, height = max(resolution, round(width * scale)), max(resolution, round(height * scale))
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - resolution) // 2, (height - resolution) // 2
    return np.asarray(image.crop((left, top, left + resolution, top + resolution)))
