"""Pictures, metadata and files of other encoders, of which the tests of the pixel codecs are made."""

import io

import numpy as np
from PIL import Image, ImageCms

from semshard.shards.pixels import encode_pictures

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"/><?xpacket end="w"?>'


def pixels(height=17, width=23, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height=93, width=131):
    down, across = np.mgrid[:height, :width] / 40
    waves = [np.sin(down + across), np.cos(down - across), np.sin(2 * down) * np.cos(across)]
    return (127.5 + 110 * np.stack(waves, -1)).astype(np.uint8)


def exif(orientation=1, author="somebody"):
    about = Image.Exif()
    about[0x0112], about[0x013B] = orientation, author
    return about.tobytes()


def encode(picture, format, quality=95, metadata=None):
    return encode_pictures(picture[None], format, quality, None if metadata is None else [metadata])[0]


def saved_by_pillow(picture, format, **options):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format, **options)
    return file.getvalue()
