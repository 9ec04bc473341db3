"""Picture files that say who made them, on what terms, where, and with which camera: in EXIF, XMP and IPTC-IIM."""

import io
import struct

from PIL import Image, PngImagePlugin, TiffImagePlugin

from tests.support.corpus import picture, saved

KINDS = ("JPEG", "PNG", "WEBP", "TIFF")
PLACE, SERIAL = "Whereabouts-7731", "Body-5532-1109"  # what must not be found in published bytes
VOCABULARY = "http://ns.useplus.org/ldf/vocab/"
SPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "exifEX": "http://cipa.jp/exif/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "core": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "drone": "http://www.dji.com/drone-dji/1.0/",
    "cc": "http://creativecommons.org/ns#",
}


def packet(elements="", attributes="", inside_wrapper=True):
    """An XMP packet as programs write it, with properties as elements and as attributes."""
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in SPACES.items())
    rdf = (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {spaces} {attributes}>{elements}</rdf:Description></rdf:RDF>'
    )
    meta = f'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="a program">{rdf}</x:xmpmeta>'
    if not inside_wrapper:
        return meta.encode()
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{meta}\n{" " * 99}<?xpacket end="w"?>'.encode()


def mining(key):
    """The element of a data-mining statement."""
    return f"<plus:DataMining>{VOCABULARY}{key}</plus:DataMining>"


RIGHTS = (
    "<dc:creator><rdf:Seq><rdf:li>Ann &amp; Bo</rdf:li></rdf:Seq></dc:creator>"
    '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">© Ann</rdf:li></rdf:Alt></dc:rights>'
    '<xmpRights:UsageTerms><rdf:Alt><rdf:li xml:lang="x-default">Ask first</rdf:li></rdf:Alt></xmpRights:UsageTerms>'
    '<cc:license rdf:resource="https://creativecommons.org/licenses/by/4.0/"/>'
    "<photoshop:Credit>The agency</photoshop:Credit>"
    f"{mining('DMI-PROHIBITED-GENAIMLTRAINING')}"
)
STATED = ["Ann &amp; Bo", "© Ann", "Ask first", "licenses/by/4.0/", "The agency", "DMI-PROHIBITED-GENAIMLTRAINING"]
PRIVATE = (
    f"<exif:GPSLatitude>{PLACE}</exif:GPSLatitude><photoshop:City>{PLACE}</photoshop:City>"
    f"<core:Location>{PLACE}</core:Location><drone:GpsLongtitude>{PLACE}</drone:GpsLongtitude>"
    f'<ext:LocationShown><rdf:Bag><rdf:li ext:City="{PLACE}"/></rdf:Bag></ext:LocationShown>'
    f"<aux:SerialNumber>{SERIAL}</aux:SerialNumber><exifEX:BodySerialNumber>{SERIAL}</exifEX:BodySerialNumber>"
    f'<xmp:Anything rdf:parseType="Resource"><crs:Deep><rdf:Seq><rdf:li aux:LensSerialNumber="{SERIAL}">'
    f"</rdf:li></rdf:Seq></crs:Deep></xmp:Anything>"
)


def exif(artist="Ann; Bo", notice="© Ann", private=True):
    """EXIF with artist, copyright, camera, place and serial numbers."""
    about = Image.Exif()
    about[0x010F], about[0x013B], about[0x8298] = "A camera", artist, notice.encode()
    about[0x8769] = {0x9003: "2024:08:15 12:00:00"}
    if private:
        about[0x8769] = {0x9003: "2024:08:15 12:00:00", 0xA431: SERIAL, 0xA435: SERIAL}
        about[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0), 0x1D: PLACE}
    return about.tobytes()


def iim(fields):
    """IPTC-IIM datasets: ((record, dataset), bytes)."""
    return b"".join(struct.pack(">BBBH", 0x1C, *which, len(data)) + data for which, data in fields)


BY_IIM = iim([((1, 90), b"\x1b%G"), ((2, 80), "Ännchen".encode()), ((2, 80), b"Bo"), ((2, 90), PLACE.encode()),
              ((2, 110), b"The agency"), ((2, 116), "© Ann".encode())])  # fmt: skip


def with_xmp(xmp, kind, image=None, **options):
    """A file of that kind with a packet where the kind has its place for it."""
    image = picture() if image is None else image
    if kind == "TIFF":
        about = Image.Exif()
        about.load(options.pop("exif", b""))
        about[700] = xmp
        return saved(image, kind, exif=about, **options)
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp)
        return saved(image, kind, pnginfo=text, **options)
    return saved(image, kind, xmp=xmp, **({"lossless": True} if kind == "WEBP" else {"quality": 95}), **options)


def with_iim(data, kind):
    """A JPEG or TIFF with IPTC-IIM."""
    if kind == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[33723] = data
        tags.tagtype[33723] = 7
        return saved(picture(), kind, tiffinfo=tags)
    block = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(data)) + data + bytes(len(data) % 2)
    body = b"Photoshop 3.0\0" + block
    whole = saved(picture(), "JPEG", quality=95)
    return whole[:2] + struct.pack(">BBH", 0xFF, 0xED, len(body) + 2) + body + whole[2:]


def telling(kind, image=None, elements=RIGHTS + PRIVATE):
    """A file with everything in EXIF and XMP."""
    return with_xmp(packet(elements), kind, image, exif=exif())


def xmp_by_pillow(data):
    """The packet that Pillow finds in a file."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.info.get("xmp", b"")


def packets_in(data):
    """How many packets there are in the plain bytes of a file."""
    return data.count(b"<x:xmpmeta")
