"""Contact sheets: many cutouts on one picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from discovery.files import writing

BORDER_PX = 4
CAPTION_PX = 14


def contact_sheet(
    images: np.ndarray,
    captions: Sequence[str],
    path: Path,
    columns: int = 8,
    side_px: int = 128,
) -> Path:
    """Write a PNG of uint8 images (N, S, S, 3), in rows from the left, each over its caption.

    Images are enlarged without smoothing, so that a pixel stays a pixel. No image gives an empty
    sheet of one row.
    """
    columns = max(1, min(columns, len(images)))
    rows = max(1, -(-len(images) // columns))
    cell = (side_px + BORDER_PX, side_px + BORDER_PX + CAPTION_PX)
    size = (columns * cell[0] + BORDER_PX, rows * cell[1] + BORDER_PX)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(CAPTION_PX - 4)
    for place, (image, caption) in enumerate(zip(images, captions, strict=True)):
        corner = [BORDER_PX + (place % columns) * cell[0], BORDER_PX + (place // columns) * cell[1]]
        picture = Image.fromarray(image).resize((side_px, side_px), Image.Resampling.NEAREST)
        sheet.paste(picture, tuple(corner))
        text = _fitting(caption, draw, font, side_px)
        draw.text((corner[0], corner[1] + side_px + 1), text, "black", font)
    with writing(path) as temporary:
        sheet.save(temporary, "PNG")
    return Path(path)


def _fitting(caption, draw, font, width):
    if draw.textlength(caption, font) <= width:
        return caption
    while caption and draw.textlength(caption + "…", font) > width:
        caption = caption[:-1]
    return caption + "…"
