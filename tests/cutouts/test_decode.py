import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from discovery.cutouts import UnreadableImage, decode
from discovery.errors import BadInput


def picture(side=424):
    """Smooth colour gradients and a disc right of the centre."""
    y, x = np.mgrid[:side, :side] / side
    disc = np.hypot(x - 0.55, y - 0.5) < 0.1
    planes = [255 * x, 255 * y, 255 * np.where(disc, 1, x * y)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def encoded(image, kind, **settings):
    made = io.BytesIO()
    image.save(made, kind, **settings)
    return made.getvalue()


def png_that_claims(width, height):
    """A PNG of a few bytes whose header promises width x height px."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


JPEG = encoded(picture(), "JPEG", quality=95)
PNG = encoded(picture(), "PNG")


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "empty file"),
        (b"objid,ra,dec\n1,2,3\n", "neither JPEG nor PNG"),
        (b"\0" * 1000, "neither JPEG nor PNG"),
        (encoded(picture(), "GIF"), "neither JPEG nor PNG"),
        (encoded(picture(), "TIFF"), "neither JPEG nor PNG"),
        (JPEG[: len(JPEG) // 2], "damaged: .*truncated"),
        (JPEG[:-10], "damaged: .*truncated"),
        (PNG[: len(PNG) // 2], "damaged: .*truncated"),
        (PNG[:3000] + bytes(200) + PNG[3200:], "damaged"),
        (encoded(picture(8), "PNG"), "8 x 8 px is less than 16 px"),
        (encoded(Image.fromarray(np.zeros((64, 64), np.uint16)), "PNG"), "I;16 is not 8-bit"),
        (encoded(picture().convert("CMYK"), "JPEG"), "CMYK is not 8-bit"),
        (png_that_claims(10_000, 10_000), "10000 x 10000 px is more than 4096 px"),
        (png_that_claims(5000, 20), "5000 x 20 px is more than 4096 px"),
        (png_that_claims(200_000, 200_000), "more than 4096 px"),
    ],
)
def test_a_hostile_image_is_refused_with_its_reason(image, reason):
    with pytest.raises(UnreadableImage, match=reason):
        decode(image, 0.5, 64)
    assert issubclass(UnreadableImage, BadInput)


def test_a_real_image_of_ten_thousand_px_is_refused_before_its_pixels_are_read():
    image = encoded(Image.new("L", (10_000, 10_000)), "PNG", compress_level=1)
    start = time.process_time()
    with pytest.raises(UnreadableImage, match="10000 x 10000 px"):
        decode(image, 1.0, 64)
    assert time.process_time() - start < 0.05  # reading them takes 0.3 s or more


@pytest.mark.parametrize("side", [424, 423, 299, 120])
@pytest.mark.parametrize(("crop", "size"), [(0.5, 64), (1.0, 64), (0.43, 64), (0.5, 128)])
def test_crop_and_resize_are_what_pillow_makes_of_the_central_box(side, crop, size):
    image = picture(side)
    edge = side * (1 - crop) / 2
    box = (edge, edge, side - edge, side - edge)
    expected = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
    found = decode(encoded(image, "PNG"), crop, size)
    assert (found.shape, found.dtype) == ((size, size, 3), np.uint8)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("side", [424, 423, 299])
@pytest.mark.parametrize("crop", [0.5, 1.0])
def test_detail_that_libjpeg_leaves_out_was_none_that_the_resize_keeps(side, crop):
    image = encoded(picture(side), "JPEG", quality=95, subsampling=0)
    whole = encoded(Image.open(io.BytesIO(image)), "PNG")
    difference = decode(image, crop, 64).astype(int) - decode(whole, crop, 64)
    assert np.abs(difference).mean() < 1.0  # of 255


def test_no_resize_where_the_crop_has_the_asked_size():
    np.testing.assert_array_equal(decode(PNG, 0.5, 212), np.asarray(picture())[106:318, 106:318])


def test_the_central_square_of_an_oblong_image_is_taken():
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    inner = decode(encoded(image, "PNG"), 1.0, 50)[:, 2:-2]  # the filter reaches beyond the edge
    assert (inner == [0, 0, 255]).all()


def test_content_decides_not_the_name(tmp_path):
    path = tmp_path / "galaxy.jpg"
    picture().save(path, "PNG")
    np.testing.assert_array_equal(decode(path.read_bytes(), 0.5, 64), decode(PNG, 0.5, 64))


def test_a_grey_jpeg_becomes_three_equal_channels():
    found = decode(encoded(picture().convert("L"), "JPEG", quality=95), 1.0, 64)
    assert (found == found[..., :1]).all()
    expected = np.asarray(picture().convert("L").resize((64, 64), Image.Resampling.BICUBIC))
    assert np.abs(found[..., 0].astype(int) - expected).mean() < 1.0


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_transparency_and_palettes_are_read(mode):
    found = decode(encoded(picture().convert(mode), "PNG"), 1.0, 64)
    expected = picture().convert(mode).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_every_real_image_of_a_sample_is_read(real_data):
    for name, width in (("gz2_release_sample", 424), ("gz1_objid", 423), ("sdss_radec", 120)):
        for path in sorted((real_data / name / "images").iterdir())[:20]:
            image = path.read_bytes()
            found = decode(image, 0.5, 64).astype(int)
            edge = width / 4
            with Image.open(path) as opened:
                assert opened.size == (width, width)
                box = (edge, edge, width - edge, width - edge)
                expected = opened.resize((64, 64), Image.Resampling.BICUBIC, box=box)
            assert np.abs(found - np.asarray(expected)).mean() < 1.0
