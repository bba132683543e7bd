"""From the bytes a survey delivers to the square of pixels a network sees."""

import io
import warnings

import numpy as np
from PIL import Image

from discovery.errors import BadInput

MAX_SIDE = 4096  # px; a galaxy cutout is 100-500 px, so more is a mistake or an attack
MIN_SIDE = 16  # px


class UnreadableImage(BadInput):
    """These bytes are no usable cutout; the message is the reason."""


def open_cutout(image: bytes) -> Image.Image:
    """Open JPEG or PNG bytes without decoding the pixels; the content decides, not a file's name.

    Raises:
        UnreadableImage: empty, neither JPEG nor PNG, or of a size that no cutout has.
    """
    if not image:
        raise UnreadableImage("empty file")
    with warnings.catch_warnings():
        # The size is judged here, so Pillow's own warning would only say it twice.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            opened = Image.open(io.BytesIO(image), formats=("JPEG", "PNG"))
        except Image.DecompressionBombError:
            raise UnreadableImage(f"more than {MAX_SIDE} px on a side") from None
        except (OSError, SyntaxError, ValueError):
            begun = image.startswith((b"\xff\xd8", b"\x89PNG"))
            reason = "damaged: its header is cut off" if begun else "neither JPEG nor PNG"
            raise UnreadableImage(reason) from None
    width, height = opened.size
    if max(width, height) > MAX_SIDE:
        raise UnreadableImage(f"{width} x {height} px is more than {MAX_SIDE} px on a side")
    if min(width, height) < MIN_SIDE:
        raise UnreadableImage(f"{width} x {height} px is less than {MIN_SIDE} px on a side")
    if opened.mode not in ("RGB", "RGBA", "L", "LA", "P"):
        raise UnreadableImage(f"pixel type {opened.mode} is not 8-bit colour or grey")
    return opened


def decode(image: bytes, crop: float, size: int) -> np.ndarray:
    """Decode, keep the central square, resize with antialiasing.

    Args:
        image: JPEG or PNG bytes.
        crop: side of the central square as a fraction of the shorter side, 0 < crop <= 1.
        size: side of the result in px.

    Returns:
        uint8 (size, size, 3), RGB.

    Raises:
        UnreadableImage: see `open_cutout`; also for truncated, corrupt or blank data.
        BadInput: `crop` is not such a fraction.
    """
    if not 0 < (crop or 0) <= 1:
        raise BadInput(f"crop is {crop}; it is the fraction of the width to keep, 0 < crop <= 1.")
    opened = open_cutout(image)
    # libjpeg can leave out detail that the resize would average away: 2-4 times faster. The
    # factor of two keeps the antialiasing filter fed.
    opened.draft("RGB", (int(2 * size / crop), int(2 * size / crop)))
    try:
        pixels = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImage(f"damaged: {error}") from None
    if not any(low < high for low, high in pixels.getextrema()):
        raise UnreadableImage("blank: every pixel has the same value")
    side = min(pixels.size) * crop
    left, top = (pixels.width - side) / 2, (pixels.height - side) / 2
    box = (left, top, left + side, top + side)
    if side == size and left == int(left) and top == int(top):
        return np.asarray(pixels.crop(tuple(map(int, box))))
    return np.asarray(pixels.resize((size, size), Image.Resampling.BICUBIC, box=box))
