"""Image files with orientations that not everybody finds, and with samples that not everybody gives as they are."""

from __future__ import annotations

import base64
import io
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable

HEIGHT, WIDTH = 12, 20
ORIENTATION: Final = 0x0112
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
PIXELS = np.stack([ROWS * 20, COLUMNS * 12, (ROWS * 7 + COLUMNS * 3) % 256], -1).astype(np.uint8)
PICTURE = Image.fromarray(PIXELS)


def save(kind: str, picture: Image.Image = PICTURE, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def entry(value: int, order: str = "<", *, tag: int = ORIENTATION, kind: int = 3, count: int = 1) -> bytes:
    """An entry of a TIFF directory; a value of 16 bits stands at the beginning of its four bytes."""
    return struct.pack(f"{order}HHI", tag, kind, count) + struct.pack(
        f"{order}H2x" if kind == 3 else f"{order}I", value
    )


def tiff(*entries: bytes, order: str = "<") -> bytes:
    """EXIF data: the header of a TIFF file and its first directory."""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    return start + b"".join(entries) + bytes(4)


UPRIGHT, TURNED = tiff(entry(1)), tiff(entry(6))
PREFIX: Final = b"Exif\0\0"
XMP: Final = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'


def jpeg(*segments: bytes, marker: int = 0xE1) -> bytes:
    """A JPEG with some APP1 segments in front of all others."""
    data = save("JPEG")
    parts = (bytes([0xFF, marker]) + struct.pack(">H", len(part) + 2) + part for part in segments)
    return data[:2] + b"".join(parts) + data[2:]


def chunk(kind: bytes, data: bytes, wrong: int = 0) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ wrong)


def png(early: bytes = b"", late: bytes = b"") -> bytes:
    """A PNG with chunks before its pixels, and behind them."""
    data = save("PNG")
    pixels = data.index(b"IDAT") - 4
    return data[:pixels] + early + data[pixels:-12] + late + data[-12:]


def frames(count: int) -> bytes:
    """What an animated PNG has before its pixels."""
    control = struct.pack(">IIIIIHHBB", 0, WIDTH, HEIGHT, 0, 0, 1, 10, 0, 0)
    return chunk(b"acTL", struct.pack(">II", count, 0)) + chunk(b"fcTL", control)


def animated(early: bytes) -> bytes:
    """A PNG of two frames, with chunks before its pixels."""
    data = save("PNG", save_all=True, append_images=[PICTURE.rotate(180)])
    pixels = data.index(b"IDAT") - 4
    return data[:pixels] + early + data[pixels:]


def webp(*exif: bytes, flags: int = 8) -> bytes:
    """A WebP with some EXIF chunks."""
    size = struct.pack("<I", WIDTH - 1)[:3] + struct.pack("<I", HEIGHT - 1)[:3]
    parts = [(b"VP8X", bytes([flags, 0, 0, 0]) + size), *((b"EXIF", data) for data in exif)]
    extra = [kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in parts]
    body = b"WEBP" + extra[0] + save("WEBP", lossless=True)[12:] + b"".join(extra[1:])
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff_image(changed: bytes) -> bytes:
    """A TIFF with another entry for its orientation."""
    return save("TIFF", tiffinfo={ORIENTATION: 6}).replace(entry(6), changed)


EXIF_6 = chunk(b"eXIf", TURNED)
EXIF_1 = chunk(b"eXIf", UPRIGHT)
DAMAGED_TEXT = struct.pack("<HHII", 0x010E, 2, 100, 0xFFFFFF)
ORIENTED: Final[dict[str, tuple[str, bytes, bool]]] = {
    "jpeg, big-endian": (".jpg", jpeg(PREFIX + tiff(entry(6, ">"), order=">")), True),
    "jpeg, 32 bits": (".jpg", jpeg(PREFIX + tiff(entry(6, kind=4))), True),
    "jpeg, 32 bits, big-endian": (".jpg", jpeg(PREFIX + tiff(entry(6, ">", kind=4), order=">")), False),
    "jpeg, two": (".jpg", jpeg(PREFIX + TURNED, PREFIX + UPRIGHT), True),
    "jpeg, two, the other way round": (".jpg", jpeg(PREFIX + UPRIGHT, PREFIX + TURNED), False),
    "jpeg, behind XMP": (".jpg", jpeg(XMP, PREFIX + TURNED), True),
    **{
        f"jpeg, order {order!r}": (".jpg", jpeg(PREFIX + order + tiff(entry(6, ">"), order=">")[2:]), True)
        for order in (b"Mm", b"\0\0", b"Ii")
    },
    "jpeg, little-endian but for the order": (".jpg", jpeg(PREFIX + b"Im" + TURNED[2:]), False),
    "webp, order b'Mm'": (".webp", webp(b"Mm" + tiff(entry(6, ">"), order=">")[2:]), True),
    "png, order b'Mm'": (".png", png(chunk(b"eXIf", b"Mm" + tiff(entry(6, ">"), order=">")[2:])), False),
    "jpeg, behind garbage": (".jpg", jpeg(PREFIX + b"garbage", PREFIX + TURNED), True),
    "jpeg, behind a damaged text": (".jpg", jpeg(PREFIX + tiff(DAMAGED_TEXT, entry(6))), False),
    "jpeg, behind what isn't known": (".jpg", jpeg(PREFIX + tiff(entry(6, tag=0x9999), entry(6))), True),
    "jpeg, in another segment": (".jpg", jpeg(PREFIX + TURNED, marker=0xE2), False),
    "jpeg, with another prefix": (".jpg", jpeg(b"EXIF\0\0" + TURNED), False),
    "jpeg, XMP alone": (".jpg", jpeg(XMP), False),
    "png, early": (".png", png(EXIF_6), True),
    "png, late": (".png", png(late=EXIF_6), True),
    "png, two": (".png", png(EXIF_1 + EXIF_6), False),
    "png, early and late": (".png", png(EXIF_1, EXIF_6), False),
    "png, late and early": (".png", png(EXIF_6, EXIF_1), True),
    "png, with a prefix": (".png", png(chunk(b"eXIf", PREFIX + TURNED)), False),
    "png, behind one with a prefix": (".png", png(chunk(b"eXIf", PREFIX + TURNED), EXIF_6), True),
    "png, late, with a wrong checksum": (".png", png(late=chunk(b"eXIf", TURNED, 1)), False),
    "png, behind an empty one": (".png", png(chunk(b"eXIf", b""), EXIF_6), True),
    "png, of one frame": (".png", png(frames(1) + EXIF_6), True),
    "png, animated": (".png", animated(EXIF_6), False),
    "webp": (".webp", webp(TURNED), True),
    "webp, two": (".webp", webp(UPRIGHT, TURNED), False),
    "webp, with a prefix": (".webp", webp(PREFIX + TURNED), False),
    "webp, not in the header": (".webp", webp(TURNED, flags=0), False),
    "webp, animated": (".webp", save("WEBP", save_all=True, append_images=[PICTURE.rotate(180)], exif=TURNED), True),
    "webp, animated, with a prefix": (
        ".webp",
        save("WEBP", save_all=True, append_images=[PICTURE.rotate(180)], exif=PREFIX + TURNED),
        False,
    ),
    "tiff, of a byte": (".tif", tiff_image(entry(6, kind=1)), True),
    "tiff, of 32 bits": (".tif", tiff_image(entry(6, kind=4)), True),
    "tiff, two": (".tif", tiff_image(entry(6, count=2)), False),
    "tiff, beyond 8": (".tif", tiff_image(entry(9)), False),
    "tiff, XMP alone": (".tif", save("TIFF", tiffinfo={700: XMP}), False),
}
"""What -> extension, file, and whether the SDK turns it by a quarter."""


def anymap(kind: str, brightest: int, channels: int, text: bool = False) -> bytes:
    """A PGM or PPM whose first samples are black, the brightest and about half of that."""
    samples = np.random.default_rng(brightest).integers(0, brightest + 1, HEIGHT * WIDTH * channels)
    samples[:3] = 0, brightest, brightest // 2
    head = f"{kind}\n# a comment\n{WIDTH} {HEIGHT}\n{brightest}\n".encode()
    if text:
        return head + " ".join(map(str, samples.tolist())).encode() + b"\n"
    return head + samples.astype(">u2" if brightest > 255 else np.uint8).tobytes()


# Both are 8 wide and 6 high; in each row the first samples are black, and the last ones as bright as can be.
LOSSLESS_16 = base64.b64decode(
    "/0//UQAvAAAAAAAIAAAABgAAAAAAAAAAAAAACAAAAAYAAAAAAAAAAAADDwEBDwEBDwEB/1IADAAAAAEBAAQEAAH/XAAEQID/ZAAlAAFDcmVhdGVkIGJ5"
    "IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAAE6AAH/k9/4kugSJ1JADiHlvxO1gHeUBEhqsjaUMVNkH1NW4FRnKF3nctEZFn9W2f81AvYzoeEZ"
    "7pvcdliuu3HUnCp28DRg9Kdl+R74TZA/RpO3PUhq3MTyhpyt6U4OeE9fV+ZdmR/f+JMINqotOvLaItrkXYsvgs1BIFZwlQjr1UX0mQbIGzR6KHIz6w0W"
    "tV4BkUDRwBbUGRlED/asgZOvhMzoRBTNj535j8OnpDgC2oMiNWv9qyVW0z3vi/avXw1XGvRwrWXNIrcWb9/4kxABFYUnB0m35nZGlOJBK7Dawx07tUfL"
    "07QbNu2eZsFypeMF1RDuO95nL8+s5rgsKUJkeqHFhZH+Q6LxwvDe8Ev0J0UOoki4q6sERp1wceYVVXEQ89cQmoEIktxjCqsAAYBUv//Z"
)
LOSSY_12 = base64.b64decode(
    "/0//UQAvAAAAAAAIAAAABgAAAAAAAAAAAAAACAAAAAYAAAAAAAAAAAADCwEBCwEBCwEB/1IADQECAAEBAAQEAACI/1wABUJgAP9kACUAAUNyZWF0ZWQg"
    "YnkgT3BlbkpQRUcgdmVyc2lvbiAyLjUuNP+QAAoAAAAAANMAAf+T39kYEinQM68AQCmglhBYY9Sh2DHtSIwV5J4HGmG6PvQEGBvm8ye6/r9GcX0K1mcS"
    "IIT9R8ic/ml6WCEB0RO3yjQ9rektm2rui8PyNwEVhScHSbfmdkaU4kErsNrDHTu1lJVs5nZkF6Cl83MK0pJbgAzh4HFkrLCvsXd8O6zaSVcNxWPP1PwB"
    "FYg5SZc0gz0e2WfGj61k+3mSQXW2ZCywZrbfTdpnqsIk58xihsySWC2MFZuot9QhawvPW26vAkSJppL6hsn/2Q=="
)
CODE_SIZE: Final = 8, 6
SATURATED_12 = base64.b64decode(
    "AAAADGpQICANCocKAAAAFGZ0eXBqcDIgAAAAAGpwMiAAAAAtanAyaAAAABZpaGRyAAAAQAAAAEAAAwsHAAAAAAAPY29scgEAAAAAABAAAAbyanAy"
    "Y/9P/1EALwAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAAAwsBAQsBAQsBAf9SAAwAAAABAQUEBAAB/1wAE0BgaGhwaGhwaGhwaGhw"
    "aGhw/2QAJQABQ3JlYXRlZCBieSBPcGVuSlBFRyB2ZXJzaW9uIDIuNS4w/5AACgAAAAAGawAB/5PHxBALan8hz4wYBMftxEAEKsPBw+AODgwMV68B"
    "MkkG6A3PgDjg58QMCruuB5juBRtZz4BI8HPBgATNeJEG4lkDSqvPiEQx4+IUHHP30kjKMD8NfRTZzFPIHUS5B37jPqTdk98Qi+MTPhIAEhPcQ48A"
    "E8kMtBIB1QyK3yQQ2zi/9fow2t8QmfAREgASoNVRkgfLYV4UvUYtqJe/JhXcuK7PhXnwrR1IIiIfwghOlxQVh68vgQqOz1lbfVEv25QmsLAkev89"
    "RzqYVohw+PJccEOQW/SNEX3WtF2U8hUCtyBeiCC37Jyg3wsXws3wMAK0hpi1WHSC6NnONBBtUdw2EF2VQmzJ+CA5ud945qZP74xuvKKEYbPfy0Dx"
    "r/DQ5AsVcp0KcHXHYyM7eg5MqQUGcq+qNQ5VFH3fCtfCxfCmEmwro9N6Y40ZBKhYgGT0YGUO6oWGxxINrfir+lNr3zRc7Gccp+QaQe4OpFV+DxV6"
    "AuU02z91xjRc5iakH/vmjQLO2E7aTrwX9/4oo1ALRDxfidB9TR1ABA025r3X1wqDRXjsCH5FGGnr3dACalVfsU+eGMqeyaokJd1aBxRX8FHVHnmI"
    "hj6nH+lVgYeXrAy9la28qzLHkYTYvoZx09P0CqtWuzJFa+BuNt0/jQiZFgMpvvas1f81ZpL6mC5IVLtY0MX0K+kQq39U3b27c3aIFqNC78TvXe+X"
    "t9p618OozIobxHl7GtFYCvyy/qLXxFVmSjBaA1kab5HGh9lLfKlxKFR/szUunCaf27HCpAyUxVlsJT5kIfWsMXI4s4IUHfYLF2A5SnLRyEXonLoI"
    "GjyAAutmuABfpvX/aE6Php+jLmlmLQsLa5MjkI7yTICbN37JJiRBlbJsFS8+KOI2Id0fJ8uAsLsyEdndurtzdoAVR3J+2d7219ZNAWT071f4KGDM"
    "u9yp+gjMQjX8oCZMnSxUh8SBcwLjoTM9AlU+FHJBkm5RIKfHrhQKEwCdp621veidK0NEV3D9m9Av8QGcS+TxSK72c6YwuQKCSVvD4IZahKB2r28i"
    "sEWbX/DmVlOI46AEjZLvo/1ER44SPkN9YbYcX/a2z7ddUr4UZ/NjFcBpJwjOehJdlO7GOWRlJpTjlY7QGp8djEIOYFuiVAJ/lfDa/M4Wfz/k+OGz"
    "376WK9yqrnk95jN4yq7n74TCFU96eNB4VQV9j9G2ULpnC6rWxbZRrK/EHyP4bs5rRAP13HdOd9C11QmozRgOEe5k2F+qEnorQpA4OdpFIxEVqPEU"
    "OJ8MqyCO++3uyp/wWDpGhTJcTZ7qIuZmNrMiK7AqfaexQ8n41zwnLIbVvsgjOwMYOoaamYzgjUsB7jXdeYf2r3LNRxRNRVfTcNUfzIThdnr0OGjb"
    "+W7iW5ZibVSY0ningFVa4UKcAg5yhT6Y6pQJsI+xOI8PZ7tr83NYLGi3n0W7aschsMeT8GP2hfVGYaThpKRuan2LOc8Q8pHT1iCRJfDtGAf7otek"
    "XdtA2UH+tZQNuzreLQtOFpd6B2x+p4N/FDjS8hFR9u4Q0kzV23p6OfAioft5W0TKRrJfKuVDIUq3cix5lBl1e3cUvZs7DiW4JCiiLSKYoMEhBh8o"
    "Q0wHUJcFFMbPfwT1SD10gKR62S5qgCTwwLyKGJcEK6Sa4JXr9NW6Ub6INOjjDNWyZHxnnAo3cEH9NRae0LUebgD6vzjGFdupXxl0JL2bAd5vU9ef"
    "KAcY0q8uKU0to2HbSbekSTJRbcQMfAHXy9JkVceuzP4B5JptbGwTj3qAqcxGWplBobY8K0CDBBs9suq9N0QaXkVGfD3ROKafZPVDsD3vZo5hn4cO"
    "1fune6Fd2kDXb6k2AvlWmUw3fAYyq/8dgQJFGmU6KUId7P1F3RRW2QUqJU6oj383fRMCIYAsexcK+BQ7mK8CpFPqqRjx4BJDkN6qIaaKi7wX1evL"
    "0z7fp9JIT6xyEV4UXqYZshOzjQ0wbc53Y1PEAfYDigJ3Bki/YNYH3/EYdJ5UaqfmvA4qyjhG9DYlzNaS4OUmd9YZu0DNaqAE1TPtA+AWW57If6hz"
    "3nz9be7GLHZmoKLCtiTq9aPDWeKIxQW2Rd2NS9jL+H3v8Sui330jeIMu2Q9pjwTftikKgOJGZOi814gO0xL1k+ZOw+WpJGEnrO/bmUOpPVcxi7zF"
    "6FJ5+q//2Q=="
)
"""64 x 64 pixels of the purest colours, coded as if nothing was lost, and cut off: some are far beyond their most."""


def jp2(code: bytes, bits: int) -> bytes:
    """The boxes of a JP2 file around JPEG 2000 code."""

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", len(content) + 8, kind) + content

    header = box(b"ihdr", struct.pack(">IIHBBBB", CODE_SIZE[1], CODE_SIZE[0], 3, bits - 1, 7, 0, 0))
    header += box(b"colr", struct.pack(">BBBI", 1, 0, 0, 16))
    return b"".join(
        [box(b"jP  ", b"\r\n\x87\n"), box(b"ftyp", b"jp2 \0\0\0\0jp2 "), box(b"jp2h", header), box(b"jp2c", code)]
    )


DEEP: Final[dict[str, tuple[bytes, int]]] = {
    **{f"pgm to {most}": (anymap("P5", most, 1), 0) for most in (1, 15, 100, 255, 256, 1023, 4095, 65535)},
    **{f"ppm to {most}": (anymap("P6", most, 3), 0) for most in (15, 254, 1023, 65535)},
    **{f"pgm of text to {most}": (anymap("P2", most, 1, text=True), 0) for most in (1, 100, 255, 1023, 65535)},
    **{f"ppm of text to {most}": (anymap("P3", most, 3, text=True), 0) for most in (100, 255, 1023)},
    "jpeg 2000, 16 bits": (LOSSLESS_16, 1),
    "jpeg 2000, 16 bits, in boxes": (jp2(LOSSLESS_16, 16), 1),
    "jpeg 2000, 12 bits, lossy": (LOSSY_12, 1),
    "jpeg 2000, 12 bits, lossy, in boxes": (jp2(LOSSY_12, 12), 1),
    "jpeg 2000, 12 bits, cut off": (SATURATED_12, 1),
}
"""What -> file, and the largest difference of a sample from what the SDK gives."""


def tiles(kept: Iterable[int], **options: Any) -> bytes:
    """A JPEG 2000 file of six tiles, with some of them."""
    pixels = np.random.default_rng(1).integers(60, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file := io.BytesIO(), "JPEG2000", tile_size=(20, 20), **options)
    data = file.getvalue()
    head, *parts = re.split(b"(?=\xff\x90\0\x0a)", data.removesuffix(b"\xff\xd9"))
    data = head + b"".join(parts[number] for number in kept) + b"\xff\xd9"
    size = head.find(b"jp2c") - 4
    return data if size < 0 else data[:size] + struct.pack(">I", len(data) - size) + data[size + 4 :]
