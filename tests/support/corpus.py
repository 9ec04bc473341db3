"""Picture files of every kind that a collection may hold, good, odd and bad, written with Pillow and by hand.

`write_corpus` lays one file of every case into two class folders and says what must become of it. The other functions
give one file each, as bytes; `picture` is what is in most of them.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

PROTECTED = "protected"
SRGB = ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))  # XYZ of the primaries, at D50
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
D50 = (0.9642, 1.0, 0.8249)


def picture(width=48, height=40, seed=0, channels=3):
    """Smooth coloured shapes with some grain, uint8 (height, width, channels)."""
    random = np.random.default_rng([seed, width, height])
    row, column = np.mgrid[:height, :width] / 16.0
    waves = [np.sin(a * row + b * column + c) for a, b, c in random.uniform(0.3, 3, (channels, 3))]
    pixels = 128 + 90 * np.stack(waves, -1) + random.normal(0, 6, (height, width, channels))
    return pixels.clip(0, 255).astype(np.uint8)


def saved(image, kind, **options):
    """The file, as bytes, of a Pillow image or of pixels."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def animated(kind, frames=3, size=(48, 40)):
    """Several pictures in one file: GIF, WEBP, PNG (animated) or TIFF (pages)."""
    images = [Image.fromarray(picture(*size, seed)) for seed in range(frames)]
    options = {"lossless": True} if kind == "WEBP" else {}
    return saved(images[0], kind, save_all=True, append_images=images[1:], **options)


def oriented(orientation, kind="JPEG", size=(48, 40), thumbnail=False, **options):
    """A picture with EXIF: orientation, camera, place, and perhaps a thumbnail and a maker's note."""
    image = Image.fromarray(picture(*size))
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A camera"
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    exif[0x8769] = {0x9003: "2024:08:15 12:00:00", 0x927C: b"note of the maker", 0xA002: size[0]}
    data = exif.tobytes()
    if thumbnail:
        data = _with_thumbnail(data)
    if kind == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    return saved(image, kind, exif=data, **options)


def _with_thumbnail(exif):
    """EXIF whose second directory holds a small JPEG, as cameras write it."""
    tiff = bytearray(exif[6:])
    order = "<" if tiff[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    (entries,) = struct.unpack_from(order + "H", tiff, first)
    small = saved(picture(16, 12), "JPEG")
    at = len(tiff) + len(tiff) % 2
    struct.pack_into(order + "I", tiff, first + 2 + 12 * entries, at)
    tiff += bytes(at - len(tiff)) + struct.pack(order + "H", 2)
    tiff += struct.pack(order + "HHII", 0x0201, 4, 1, at + 2 + 24 + 4)
    tiff += struct.pack(order + "HHII", 0x0202, 4, 1, len(small)) + bytes(4) + small
    return exif[:6] + bytes(tiff)


def sixteen_bit(kind="PNG", order="<", size=(48, 40)):
    """A greyscale picture of 16 bits (PNG, TIFF or PPM), and its levels, uint16."""
    random = np.random.default_rng(16)
    levels = picture(*size, channels=1)[..., 0].astype(np.uint16) * 256 + random.integers(0, 256, size[::-1])
    levels = levels.astype(np.uint16)
    if kind == "TIFF" and order == ">":
        return tiff(levels.astype(">u2"), order, 1), levels
    return saved(levels, kind), levels


def tiff(samples, order="<", photometric=2, sample_format=1):
    """An uncompressed TIFF of one strip; samples (H, W) or (H, W, C) of any width, in that byte order."""
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    body, bits = samples.tobytes(), samples.dtype.itemsize * 8
    place = 8 + len(body) + len(body) % 2
    extra = place + 2 + 12 * 10 + 4
    many = struct.pack(f"{order}{channels}H", *[bits] * channels)
    bits_value = many.ljust(4, b"\0") if channels <= 2 else struct.pack(order + "I", extra)
    one = [(256, width), (257, height), (258, None), (259, 1), (262, photometric), (273, 8), (277, channels)]
    one += [(278, height), (279, len(body)), (339, sample_format)]
    entries = b""
    for tag, value in one:
        if value is None:
            entries += struct.pack(order + "HHI", tag, 3, channels) + bits_value
        else:
            entries += struct.pack(order + "HHII", tag, 4, 1, value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", place)
    directory = struct.pack(order + "H", len(one)) + entries + bytes(4) + many
    return head + body.ljust(place - 8, b"\0") + directory


def png(samples, depth, colour_type, transparency=b"", profile=b"", more=b""):
    """A PNG of raw rows of bytes (H, bytes a row), of any bit depth; `more` are chunks before the pixels."""
    height, row = samples.shape
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    width = row * 8 // (depth * channels)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), samples.astype(np.uint8)], 1).tobytes()
    data = b"\x89PNG\r\n\x1a\n"
    data += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    if profile:
        data += chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile))
    if transparency:
        data += chunk(b"tRNS", transparency)
    return data + more + chunk(b"IDAT", zlib.compress(filtered)) + chunk(b"IEND", b"")


def chunk(name, body):
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def pnm(magic, pixels, most):
    """A portable anymap with any maximum; magic P2, P3 (as text), P5 or P6."""
    head = b"%s\n# by hand\n%d %d\n%d\n" % (magic, pixels.shape[1], pixels.shape[0], most)
    if magic in (b"P2", b"P3"):
        return head + b" ".join(b"%d" % level for level in pixels.ravel()) + b"\n"
    return head + pixels.astype(">u2" if most > 255 else np.uint8).tobytes()


# CMYK in JPEG: what it means depends on Adobe's marker


def cmyk_jpeg(ink, adobe=True, profile=b""):
    """Inks (H, W, 4), 255 is all of it; inverted and marked as Photoshop does, or plain and unmarked."""
    options = {"quality": 100, "subsampling": 0, **({"icc_profile": profile} if profile else {})}
    data = saved(Image.fromarray(ink if adobe else 255 - ink, "CMYK"), "JPEG", **options)
    return data if adobe else _without_adobe(data)


def ycck_jpeg(ink):
    """Inks (H, W, 4) in the way Photoshop writes them: inverted, the first three as YCbCr."""
    ycc = np.asarray(Image.fromarray(ink[..., :3]).convert("YCbCr"))
    stored = np.concatenate([ycc, 255 - ink[..., 3:]], 2)
    data = saved(Image.fromarray(255 - stored, "CMYK"), "JPEG", quality=100, subsampling=0)
    at = data.index(b"Adobe")
    return data[: at + 11] + b"\x02" + data[at + 12 :]


def _without_adobe(data):
    at = data.index(b"\xff\xee\0\x0eAdobe")
    return data[:at] + data[at + 16 :]


# Colour profiles (ICC.1:2001-04, versions 2.1)


def profile(primaries=DISPLAY_P3, gamma=2.2, name="Display P3"):
    """A colour profile for RGB: three primaries as XYZ and one curve."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    tags = {b"rXYZ": _xyz(primaries[0]), b"gXYZ": _xyz(primaries[1]), b"bXYZ": _xyz(primaries[2])}
    return _icc(b"mntr", b"RGB ", b"XYZ ", name, tags | {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def srgb_profile():
    """The colour profile of sRGB, its curve as a table."""
    level = np.linspace(0, 1, 1024)
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    curve = b"curv" + bytes(4) + struct.pack(">I", 1024) + (linear * 65535).round().astype(">u2").tobytes()
    tags = {b"rXYZ": _xyz(SRGB[0]), b"gXYZ": _xyz(SRGB[1]), b"bXYZ": _xyz(SRGB[2])}
    return _icc(b"mntr", b"RGB ", b"XYZ ", "sRGB", tags | {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_profile(gamma=1.0):
    """A colour profile for greyscale of one curve."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    return _icc(b"mntr", b"GRAY", b"XYZ ", f"Grey {gamma}", {b"kTRC": curve})


def cmyk_profile():
    """A profile of a press whose inks only darken: Lab of every corner of the ink cube, grey between (lut8Type)."""
    ramp = bytes(range(256))
    corners = np.array(np.meshgrid(*[[0, 1]] * 4, indexing="ij")).reshape(4, -1).sum(0)
    lab = np.stack([255 - corners * 60, np.full(16, 128), np.full(16, 128)], 1).clip(0, 255).astype(np.uint8)
    matrix = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + lab.tobytes() + ramp * 3
    return _icc(b"prtr", b"CMYK", b"Lab ", "A grey press", {b"A2B0": table})


def _xyz(values):
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _icc(kind, space, between, name, tags):
    text = name.encode() + b"\0"
    description = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    tags = {b"desc": description, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": _xyz(D50)} | tags
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", at + len(body), len(content))
        body += content.ljust(-(-len(content) // 4) * 4, b"\0")
    head = struct.pack(
        ">I4sI4s4s4s12s4s", at + len(body), bytes(4), 0x02100000, kind, space, between, bytes(12), b"acsp"
    )
    head = head.ljust(68, b"\0") + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + body


# The corpus


def bomb(side=20_000):
    """A small file that unpacks to side × side pixels."""
    row = zlib.compress(bytes((side + 7) // 8 + 1) * side)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", row) + chunk(b"IEND", b"")


def usable_files():
    """Files that must be protected, by name."""
    indexed = Image.fromarray(picture(50, 50, 3)).quantize(32)
    rgba = picture(60, 44, 4, channels=4)
    deep = picture(48, 48, 5).astype(np.uint16) * 257
    ink = picture(44, 52, 6, channels=4)
    compressed = {"compression": "tiff_lzw"}
    return {
        "plain.jpg": saved(picture(64, 48), "JPEG", quality=90),
        "plain.png": saved(picture(48, 64), "PNG"),
        "plain.bmp": saved(picture(41, 43), "BMP"),
        "plain.tiff": saved(picture(40, 60), "TIFF", **compressed),
        "plain.webp": saved(picture(56, 40), "WEBP", quality=90),
        "plain.ppm": saved(picture(40, 40), "PPM"),
        "progressive.jpg": saved(picture(64, 64, 1), "JPEG", progressive=True, quality=85),
        "dots.in.the.name.png": saved(picture(44, 44, 10), "PNG"),
        "spaces in the name.png": saved(picture(44, 45, 11), "PNG"),
        "new\nline.png": saved(picture(44, 46, 12), "PNG"),
        "ünïcödé-写真-фото.png": saved(picture(44, 47, 13), "PNG"),
        "x" * 251 + ".png": saved(picture(44, 48, 14), "PNG"),
        "no extension": saved(picture(44, 49, 15), "PNG"),
        "png by another name.JPEG": saved(picture(45, 44, 16), "PNG"),
        "on its side.jpg": oriented(6, thumbnail=True),
        "mirrored.png": oriented(5, "PNG"),
        "on its side.tiff": oriented(8, "TIFF"),
        "wide gamut.png": saved(picture(52, 44, 17), "PNG", icc_profile=profile()),
        "sRGB.jpg": saved(picture(52, 45, 18), "JPEG", icc_profile=srgb_profile()),
        "broken profile.png": saved(picture(52, 46, 19), "PNG", icc_profile=b"no profile" * 20),
        "grey with profile.jpg": saved(picture(52, 47, 20)[..., 0], "JPEG", icc_profile=grey_profile()),
        "grey.jpg": saved(picture(53, 47, 21)[..., 0], "JPEG"),
        "grey and alpha.png": saved(Image.fromarray(picture(54, 47, 22, channels=2), "LA"), "PNG"),
        "alpha.png": saved(Image.fromarray(rgba), "PNG"),
        "alpha.webp": saved(Image.fromarray(rgba), "WEBP", lossless=True),
        "palette.png": saved(indexed, "PNG"),
        "palette with transparency.png": saved(indexed, "PNG", transparency=bytes(range(0, 256, 8))),
        "palette.gif": saved(indexed, "GIF"),
        "one bit.png": saved(Image.fromarray(picture(57, 47, 23)).convert("1"), "PNG"),
        "one bit.tiff": saved(Image.fromarray(picture(57, 48, 23)).convert("1"), "TIFF", compression="group4"),
        "16 bits.png": sixteen_bit("PNG")[0],
        "16 bits.tiff": sixteen_bit("TIFF", ">")[0],
        "16 bits.pgm": sixteen_bit("PPM")[0],
        "48 bits.png": png(deep.astype(">u2").view(np.uint8).reshape(48, -1), 16, 2),
        "48 bits.tiff": tiff(deep),
        "float.tiff": saved((picture(47, 51, 24)[..., 0] / np.float32(255)).astype(np.float32), "TIFF"),
        "maximum 1000.pgm": pnm(b"P5", picture(46, 50, 25)[..., 0].astype(int) * 1000 // 255, 1000),
        "as text.ppm": pnm(b"P3", picture(42, 40, 26), 255),
        "CMYK.jpg": cmyk_jpeg(ink),
        "CMYK without marker.jpg": cmyk_jpeg(ink, adobe=False),
        "CMYK with profile.jpg": cmyk_jpeg(ink, profile=cmyk_profile()),
        "YCCK.jpg": ycck_jpeg(ink),
        "CMYK.tiff": saved(Image.fromarray(ink, "CMYK"), "TIFF"),
        "animated.gif": animated("GIF"),
        "animated.webp": animated("WEBP"),
        "animated.png": animated("PNG"),
        "pages.tiff": animated("TIFF"),
    }


def rejected_files():
    """Files that must be rejected, by name: their bytes and a word of the reason."""
    jpeg = saved(picture(64, 64, 30), "JPEG", quality=95)
    lossless = saved(picture(64, 64, 31), "PNG")
    damaged = bytearray(lossless)
    damaged[len(damaged) // 2] ^= 0xFF
    return {
        "empty.jpg": (b"", "empty file"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cut in the head.jpg": (jpeg[:30], "truncated"),
        "cut.png": (lossless[: len(lossless) // 2], "truncated"),
        "cut.gif": (animated("GIF", 1)[:-600], "truncated"),
        "cut.webp": (animated("WEBP", 1)[:-300], "truncated"),
        "cut.tiff": (saved(picture(), "TIFF")[:-200], "truncated"),
        "cut.bmp": (saved(picture(), "BMP")[:-200], "truncated"),
        "cut.ppm": (saved(picture(), "PPM")[:-200], "truncated"),
        "damaged.png": (bytes(damaged), "broken"),
        "text.jpg": (b"<!DOCTYPE html><title>404 Not Found</title>", "not an image"),
        "drawing.png": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image"),
        "page.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n", "not an image"),
        "zeros.png": (bytes(4096), "not an image"),
        "bomb.png": (bomb(), "above the bound"),
        "tiny.png": (saved(picture(7, 40), "PNG"), "below 8"),
    }


def write_corpus(folder: Path) -> dict[str, str]:
    """Write every case below `folder`, in class folders a and b; what must become of each file, by relative name.

    That is "protected", or a word of the reason why it is rejected. Both classes hold more than four usable pictures.
    """
    expected, files = {}, {}
    for number, (name, data) in enumerate(usable_files().items()):
        files[f"{'ab'[number % 2]}/{name}"] = data
        expected[f"{'ab'[number % 2]}/{name}"] = PROTECTED
    for number, (name, (data, word)) in enumerate(rejected_files().items()):
        files[f"{'ab'[number % 2]}/{name}"] = data
        expected[f"{'ab'[number % 2]}/{name}"] = word
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return expected
