"""Pictures of a mask as programs store them: with alpha, in colours, in indexes, of 16 bits."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 10, 12


def png(pixels, mode=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, "PNG", **options)
    return file.getvalue()


def indexed(pixels, *colours):
    image = Image.fromarray(pixels).convert("L")
    found = Image.new("P", image.size)
    found.putdata(image.tobytes())
    found.putpalette([value for colour in colours for value in colour])
    return found


def kinds():
    rng = np.random.default_rng(7)
    area = np.zeros((HEIGHT, WIDTH), np.uint8)
    area[2:6, 3:9] = 255
    soft = area.copy()
    soft[3, 4] = 90
    noise = rng.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
    noise[:2, :, 3] = noise[8:, :, :3] = 0
    white, black, grey = (255,) * 3, (0,) * 3, (90,) * 3
    bit = area // 255
    deep = area.astype(np.uint16)
    inked, lit = np.dstack([area * 0] * 3 + [soft]), np.dstack([area | 255] * 3 + [soft])
    return {
        "one bit": png(area, "1"),
        "gray": png(area),
        "soft gray": png(soft),
        "gray of ones": png(bit),
        "gray, white transparent": png(area, transparency=255),
        "gray, black transparent": png(area, transparency=0),
        "indexes": png(indexed(bit, black, white)),
        "indexes the other way": png(indexed(bit, white, black)),
        "indexes, first transparent": png(indexed(bit, black, white), transparency=0),
        "white indexes, first transparent": png(indexed(bit, white, black), transparency=0),
        "indexes of some alpha": png(indexed(bit, grey, (9, 200, 30)), transparency=bytes([0, 128])),
        "black in alpha": png(inked),
        "white in alpha": png(lit),
        "white, opaque": png(np.dstack([area] * 3 + [area | 255])),
        "colours": png(np.dstack([area, soft, area])),
        "colours, black transparent": png(np.dstack([area] * 3), transparency=black),
        "noise of colours": png(noise[:, :, :3].copy()),
        "noise": png(noise),
        "gray and opaque": png(np.dstack([area, area | 255])),
        "white and alpha": png(np.dstack([area | 255, soft])),
        "noise of gray and alpha": png(noise[:, :, 2:].copy()),
        "16 bits": png(deep * 257),
        "16 bits, all low": png(deep),
        "16 bits, some low": png(deep + soft.astype(np.uint16) * 3),
        "nothing": png(area * 0),
    }


KINDS = kinds()


def stored(kind, *, packed):
    """As it is in an annotation."""
    return base64.b64encode(zlib.compress(KINDS[kind]) if packed else KINDS[kind]).decode()
