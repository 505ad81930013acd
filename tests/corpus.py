"""Kinds of image files that people have: formats, depths, colour spaces, EXIF, damage."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from odd_images import DEEP as DEEP_ONES
from odd_images import ORIENTED
from PIL import Image, features

HEIGHT, WIDTH = 37, 53
RNG = np.random.default_rng(3)
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
COLOUR = np.stack([ROWS * 255 // HEIGHT, COLUMNS * 255 // WIDTH, (ROWS * 7 + COLUMNS * 3) % 256], -1).astype(np.uint8)
NOISE = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)
RGB = Image.fromarray(COLOUR)
GRAY = RGB.convert("L")
BIT = GRAY.convert("1")
RGBA = Image.fromarray(np.dstack([COLOUR, NOISE]))
MULTIPLIED = Image.fromarray(np.dstack([COLOUR // 2, np.full((HEIGHT, WIDTH), 128, np.uint8)]))
LA = Image.merge("LA", [GRAY, Image.fromarray(NOISE)])
PALETTE = RGB.quantize(17)
GRAY16 = Image.fromarray(DEEP[:, :, 0])
CMYK = Image.fromarray(RNG.integers(0, 256, (6, 8, 4), dtype=np.uint8), "CMYK").resize((WIDTH, HEIGHT))


def save(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth: int, colour_type: int, samples: np.ndarray, extra: bytes = b"") -> bytes:
    """A PNG of a kind that Pillow doesn't write; `samples` are rows of 8- or 16-bit values, or packed bits."""
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else np.uint8).tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour_type, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def packed(bits: int) -> np.ndarray:
    return RNG.integers(0, 256, (HEIGHT, (WIDTH * bits + 7) // 8), dtype=np.uint8)


def bmp(bits: int, rows: np.ndarray, masks: bytes = b"", palette: bytes = b"", *, upright: int = 1) -> bytes:
    """A BMP of a kind that Pillow doesn't write; `rows` are bytes, from the bottom up, or down if `upright` is -1."""
    start = 54 + len(masks) + len(palette)
    shape = 40, WIDTH, upright * HEIGHT, 1, bits, 3 if masks else 0, rows.size, 2835, 2835, 0, 0
    sizes = struct.pack("<IiiHHIIiiII", *shape)
    return b"BM" + struct.pack("<IHHI", start + rows.size, 0, 0, start) + sizes + masks + palette + rows.tobytes()


def bmp_rows(bits: int) -> np.ndarray:
    return RNG.integers(0, 256, (HEIGHT, (WIDTH * bits + 31) // 32 * 4), dtype=np.uint8)


def ycck(data: bytes) -> bytes:
    """A CMYK JPEG whose Adobe marker says YCCK."""
    out = bytearray(data)
    out[out.index(b"Adobe") + 11] = 2
    return bytes(out)


def without_adobe(data: bytes) -> bytes:
    at = data.index(b"\xff\xee")
    (size,) = struct.unpack_from(">H", data, at + 2)
    return data[:at] + data[at + 2 + size :]


def late_exif(data: bytes, orientation: int) -> bytes:
    """A PNG with its EXIF chunk after the pixels."""
    return data[:-12] + chunk(b"eXIf", exif(orientation).tobytes().removeprefix(b"Exif\0\0")) + data[-12:]


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


def scrambled(data: bytes) -> bytes:
    """A file with wrong bytes near its beginning, of which libraries have something to say."""
    return data[:40] + b"\xff" * 20 + data[60:]


SAMPLES = struct.pack("<HHI", 277, 3, 1)
"""What stands before the samples of a pixel in a TIFF."""
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description tiff:Orientation="6" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"/></rdf:RDF></x:xmpmeta>'
)
GRAY_PALETTE = chunk(b"PLTE", bytes(v for i in range(16) for v in (i * 17,) * 3))


def nrrd(array: np.ndarray, encoding: str = "raw", *, head: str = "", body: bytes | None = None) -> bytes:
    """An NRRD file of an array of height, width and channels."""
    kinds = {"u1": "uchar", "i2": "short", "u2": "uint16", "u4": "uint32", "i8": "int64", "f4": "float", "f8": "double"}
    packers = {"gzip": gzip.compress, "bzip2": bz2.compress, "raw": bytes}
    if body is None:
        text = " ".join(str(value) for value in array.ravel().tolist()).encode() + b"\n"
        body = text if encoding == "ascii" else packers[encoding](array.tobytes())
    lines = [
        "NRRD0004",
        "# made by a test",
        f"type: {kinds[array.dtype.str[1:]]}",
        f"dimension: {array.ndim}",
        f"sizes: {' '.join(map(str, reversed(array.shape)))}",
        f"encoding: {encoding}",
        f"endian: {'big' if array.dtype.str[0] == '>' else 'little'}",
    ]
    return "\n".join([*lines, *head.splitlines(), "", ""]).encode() + body


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    extension : str
    data : bytes
    state : {"fine", "damaged", "unknown"}
        It can be decoded; its size is known, though it can't be; not even that.
    off : int
        Largest difference of a sample from what the SDK decodes; -1: the SDK can't, or decodes what is damaged.
    """

    extension: str
    data: bytes
    state: str = "fine"
    off: int = 0

    @property
    def name(self) -> str:
        return f"image{self.extension}"


def _jpeg() -> dict[str, Kind]:
    plain = save(RGB, "JPEG", quality=90)
    cmyk = save(CMYK, "JPEG", quality=95)
    files = {
        "rgb": plain,
        "gray": save(GRAY, "JPEG"),
        "progressive": save(RGB, "JPEG", progressive=True),
        "gray progressive": save(GRAY, "JPEG", progressive=True),
        "4:4:4": save(RGB, "JPEG", subsampling=0),
        "4:2:2": save(RGB, "JPEG", subsampling=1),
        "without YCbCr": save(RGB, "JPEG", keep_rgb=True),
        "cmyk": cmyk,
        "cmyk without marker": without_adobe(cmyk),
        "ycck": ycck(cmyk),
        **{f"exif {o}": save(RGB, "JPEG", exif=exif(o)) for o in range(1, 9)},
        "exif 9": save(RGB, "JPEG", exif=exif(9)),
        "gray exif 6": save(GRAY, "JPEG", exif=exif(6)),
        "exif damaged": save(RGB, "JPEG", exif=b"Exif\0\0garbage!!"),
        "exif cut": save(RGB, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"),
        "xmp orientation": save(RGB, "JPEG", xmp=XMP),
        "icc": save(RGB, "JPEG", icc_profile=b"\0" * 200),
        "one pixel": save(RGB.crop((0, 0, 1, 1)), "JPEG"),
        "junk behind it": plain + b"junk" * 100,
        "mpo": save(RGB, "MPO", save_all=True, append_images=[RGB.rotate(180)]),
        "mpo exif 6": save(RGB, "MPO", exif=exif(6)),
    }
    return {
        **{f"jpeg {what}": Kind(".mpo" if "mpo" in what else ".jpg", data) for what, data in files.items()},
        "jpeg in capitals": Kind(".JPG", plain),
        "jfif": Kind(".jfif", plain),
        "jpeg called png": Kind(".png", plain),
        "jpeg cut off": Kind(".jpg", plain[: len(plain) * 2 // 3], "damaged", -1),
        "jpeg cut off in the header": Kind(".jpeg", plain[:30], "unknown", -1),
    }


def _png() -> dict[str, Kind]:
    plain = save(RGB, "PNG")
    files = {
        "rgb": plain,
        "rgba": save(RGBA, "PNG"),
        "l": save(GRAY, "PNG"),
        "la": save(LA, "PNG"),
        "1": save(BIT, "PNG"),
        **{f"palette {n}": save(RGB.quantize(n), "PNG") for n in (2, 4, 16, 256)},
        "palette transparent": save(PALETTE, "PNG", transparency=bytes(range(0, 255, 15))),
        "palette one transparent": save(PALETTE, "PNG", transparency=3),
        "palette of grays": png(4, 3, packed(4), GRAY_PALETTE),
        "rgb transparent": save(RGB, "PNG", transparency=tuple(map(int, COLOUR[5, 5]))),
        "l transparent": save(GRAY, "PNG", transparency=100),
        "1 transparent": save(BIT, "PNG", transparency=0),
        "2 bits": png(2, 0, packed(2)),
        "4 bits": png(4, 0, packed(4)),
        "16 gray": save(GRAY16, "PNG"),
        "16 la": png(16, 4, DEEP[:, :, :2].reshape(HEIGHT, -1)),
        "16 rgb": png(16, 2, DEEP[:, :, :3].reshape(HEIGHT, -1)),
        "16 rgba": png(16, 6, DEEP.reshape(HEIGHT, -1)),
        "exif 3": save(RGB, "PNG", exif=exif(3)),
        "exif 6": save(RGB, "PNG", exif=exif(6)),
        "late exif 6": late_exif(plain, 6),
        "gamma": png(8, 2, COLOUR.reshape(HEIGHT, -1), chunk(b"gAMA", struct.pack(">I", 100_000))),
        "animated": save(RGB, "PNG", save_all=True, append_images=[RGB.rotate(180)]),
    }
    return {
        **{f"png {what}": Kind(".png", data) for what, data in files.items()},
        "png with zeros behind it": Kind(".png", plain + bytes(1 << 20)),
        "png called jpg": Kind(".jpg", plain),
        "png cut off": Kind(".png", plain[: len(plain) // 2], "damaged", -1),
        "png without its end": Kind(".png", plain[:-12], "damaged", -1),
        "png with a wrong checksum": Kind(".png", damaged(plain, -20), "damaged", -1),
        "png cut off in the header": Kind(".png", plain[:20], "unknown", -1),
    }


def _bmp() -> dict[str, Kind]:
    plain = save(RGB, "BMP")
    return {
        "bmp 24": Kind(".bmp", plain),
        "bmp 1": Kind(".bmp", save(BIT, "BMP")),
        "bmp 4": Kind(".bmp", bmp(4, bmp_rows(4), palette=RNG.bytes(64))),
        "bmp 8 gray": Kind(".bmp", save(GRAY, "BMP")),
        "bmp 8 palette": Kind(".bmp", save(RGB.quantize(200), "BMP")),
        "bmp 5-5-5": Kind(".bmp", bmp(16, bmp_rows(16))),
        "bmp 5-6-5": Kind(".bmp", bmp(16, bmp_rows(16), masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))),
        "bmp 32": Kind(".bmp", bmp(32, bmp_rows(32))),
        "bmp from the top": Kind(".bmp", bmp(24, bmp_rows(24), upright=-1)),
        "bmp cut off": Kind(".bmp", plain[:3000], "damaged", -1),
    }


def _webp() -> dict[str, Kind]:
    plain = save(RGB, "WEBP", quality=80)
    moving = save(RGBA, "WEBP", save_all=True, append_images=[RGBA.rotate(180)], lossless=True, exact=True)
    return {
        "webp lossy": Kind(".webp", plain),
        "webp lossless": Kind(".webp", save(RGB, "WEBP", lossless=True)),
        "webp rgba": Kind(".webp", save(RGBA, "WEBP", quality=80)),
        "webp gray": Kind(".webp", save(GRAY, "WEBP")),
        "webp animated": Kind(".webp", moving),
        "webp exif 6": Kind(".webp", save(RGB, "WEBP", exif=exif(6))),
        "webp exif 3": Kind(".webp", save(RGB, "WEBP", lossless=True, exif=exif(3))),
        "webp called jpg": Kind(".jpg", plain),
        "webp cut off": Kind(".webp", plain[: len(plain) // 2], "unknown", -1),
    }


def _tiff() -> dict[str, Kind]:
    plain = save(RGB, "TIFF")
    files = {
        "rgb": plain,
        **{
            kind: save(RGB, "TIFF", compression=kind) for kind in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
        },
        "group 4": save(BIT, "TIFF", compression="group4"),
        "big": save(RGB, "TIFF", big_tiff=True),
        "rgba": save(RGBA, "TIFF"),
        "l": save(GRAY, "TIFF"),
        "la": save(LA, "TIFF"),
        "1": save(BIT, "TIFF"),
        "palette": save(PALETTE, "TIFF"),
        "cmyk": save(CMYK, "TIFF"),
        "16 gray": save(GRAY16, "TIFF"),
        "pages": save(RGB, "TIFF", save_all=True, append_images=[RGB.rotate(180)]),
        "orientation 3": save(RGB, "TIFF", tiffinfo={274: 3}),
        "orientation 6": save(RGB, "TIFF", tiffinfo={274: 6}),
        "16 with a sign": save(GRAY16, "TIFF", tiffinfo={339: 2}),
        "rgba, multiplied": save(MULTIPLIED, "TIFF", tiffinfo={338: 1}),
    }
    return {
        **{f"tiff {what}": Kind(".tiff", data) for what, data in files.items()},
        "tif": Kind(".tif", plain),
        "tiff of floats": Kind(".tiff", save(GRAY.convert("F"), "TIFF"), "damaged", -1),
        "tiff lab": Kind(".tiff", save(Image.fromarray(COLOUR, "LAB"), "TIFF"), "damaged", -1),
        "tiff cut off": Kind(".tiff", plain[:2000], "damaged", -1),
        "tiff with damaged codes": Kind(".tiff", scrambled(files["tiff_lzw"]), "damaged", -1),
        "tiff of seven samples": Kind(".tiff", plain.replace(SAMPLES + b"\3", SAMPLES + b"\7"), "damaged", -1),
    }


def _nrrd() -> dict[str, Kind]:
    deep, real = DEEP[:, :, 0], (COLOUR[:, :, 0] / 7).astype("<f4")
    files = {
        "rgb": nrrd(COLOUR),
        "gray": nrrd(NOISE),
        "16": nrrd(deep.astype("<u2")),
        "16 of the other order": nrrd(deep.astype(">u2")),
        "16 signed": nrrd(deep.astype("<i2")),
        "64": nrrd(deep.astype("<i8")),
        "floats": nrrd(real),
        "doubles": nrrd(real.astype("<f8")),
        "volume": nrrd(np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)),
        "gzip": nrrd(COLOUR, "gzip"),
        "gzip of floats": nrrd(real, "gzip"),
        "bzip2": nrrd(deep.astype(">u2"), "bzip2"),
        "ascii": nrrd(NOISE, "ascii"),
        "with lines before it": nrrd(NOISE, head="line skip: 2", body=b"a line\nanother\n" + NOISE.tobytes()),
        "with bytes before it": nrrd(NOISE, head="byte skip: 5", body=b"12345" + NOISE.tobytes()),
        "at the end": nrrd(NOISE, head="byteskip: -1", body=b"something" + NOISE.tobytes()),
        "with fields": nrrd(NOISE, head='space: left-posterior-superior\nunits: "mm" "mm"\nmy key:=my value'),
    }
    return {
        **{f"nrrd {what}": Kind(".nrrd", data) for what, data in files.items()},
        "nrrd cut off": Kind(".nrrd", nrrd(COLOUR)[:-50], "damaged", -1),
        "nrrd with more": Kind(".nrrd", nrrd(COLOUR) + b"x", "damaged", -1),
        "nrrd gzip cut off": Kind(".nrrd", nrrd(COLOUR, "gzip")[:-90], "damaged", -1),
        "nrrd in another file": Kind(".nrrd", nrrd(COLOUR, head="data file: /etc/passwd"), "unknown", -1),
        "nrrd of blocks": Kind(".nrrd", nrrd(NOISE).replace(b"uchar", b"block"), "unknown", -1),
        "nrrd larger than can be": Kind(
            ".nrrd", nrrd(NOISE).replace(b"sizes: 53", b"sizes: 4000000000"), "unknown", -1
        ),
        "nrrd without sizes": Kind(".nrrd", nrrd(NOISE).replace(b"sizes:", b"seizes:"), "unknown", -1),
    }


def _others() -> dict[str, Kind]:
    found = {
        "gif called png": Kind(".png", save(PALETTE, "GIF")),
        "gif animated, called png": Kind(".png", save(PALETTE, "GIF", save_all=True, append_images=[RGB.quantize(9)])),
        "ppm called bmp": Kind(".bmp", save(RGB, "PPM")),
        "pgm called bmp": Kind(".bmp", save(GRAY, "PPM")),
        "jpeg 2000 called jpg": Kind(".jpg", save(RGB, "JPEG2000")),
        "jpeg 2000 stream called jpg": Kind(".jpg", save(RGB, "JPEG2000", no_jp2=True)),
        "jpeg 2000 rgba called png": Kind(".png", save(RGBA, "JPEG2000")),
        **{f"{what}, called bmp": Kind(".bmp", data, off=off) for what, (data, off) in DEEP_ONES.items()},
        **{f"oriented {what}": Kind(extension, data) for what, (extension, data, _) in ORIENTED.items()},
        "empty": Kind(".png", b"", "unknown", -1),
        "zeros": Kind(".jpg", bytes(4096), "unknown", -1),
        "text": Kind(".png", b"some text\n" * 9, "unknown", -1),
        "a web page": Kind(".jpg", b"<!DOCTYPE html><html><body>404</body></html>", "unknown", -1),
        "a program": Kind(".png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unknown", -1),
        "svg": Kind(".png", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "unknown", -1),
    }
    if features.check("avif"):
        found |= {
            "avif called jpg": Kind(".jpg", save(RGB, "AVIF")),
            "avif rgba called png": Kind(".png", save(RGBA, "AVIF")),
            "avif exif 6 called jpg": Kind(".jpg", save(RGB, "AVIF", exif=exif(6))),
            "avif cut off": Kind(".jpg", save(RGB, "AVIF")[:-100], "damaged", -1),
        }
    return found


KINDS: Final = {**_jpeg(), **_png(), **_bmp(), **_webp(), **_tiff(), **_nrrd(), **_others()}
