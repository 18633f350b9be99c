"""Real bad files, real repairs."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from distill.errors import PictureError
from distill.image.loading import NEUTRAL_GREY, load


def photo(width: int = 160, height: int = 120, mode: str = "RGB") -> Image.Image:
    """A picture with something in it: a red upper left corner on a colour ramp."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    levels = np.stack([x, y, 255 - x], axis=2).astype(np.uint8)
    levels[: height // 4, : width // 4] = (255, 0, 0)
    return Image.fromarray(levels).convert(mode)


def packed(image: Image.Image, kind: str = "PNG", **how: object) -> bytes:
    """The bytes of a picture file."""
    file = BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def blank_png(width: int, height: int, rows_there: int | None = None) -> bytes:
    """A grey PNG of any size, made without ever holding its pixels; `rows_there` leaves the lower rows out."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" + b"\x80" * width) for _ in range(rows_there or height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_good_picture_comes_back_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "ann.png").write_bytes(packed(photo()))
    picture = load(tmp_path / "ann.png")
    assert (picture.name, picture.notes, picture.image.mode) == ("ann", (), "RGB")
    assert np.array_equal(np.asarray(picture.image), np.asarray(photo()))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_bytes_and_pillow_images_load_without_notes(kind: str) -> None:
    data = packed(photo(), kind)
    assert load(data).notes == ()
    assert load(Image.open(BytesIO(data))).image.size == (160, 120)
    assert load(data).name == ""


def test_the_callers_image_is_left_as_it_is() -> None:
    image = photo(mode="RGBA")
    image.putalpha(100)
    before = image.tobytes()
    load(image)
    assert (image.mode, image.tobytes()) == ("RGBA", before)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = load(packed(photo(), "JPEG", exif=exif, quality=95))
    assert picture.image.size == ((160, 120) if orientation < 5 else (120, 160))
    assert bool(picture.notes) == (orientation != 1)
    corner = {1: (5, 5), 2: (-5, 5), 3: (-5, -5), 4: (5, -5), 5: (5, 5), 6: (-5, 5), 7: (-5, -5), 8: (5, -5)}
    x, y = corner[orientation]
    red, green, blue = picture.image.getpixel((x % picture.image.width, y % picture.image.height))
    assert (red > 200, green < 60, blue < 60) == (True, True, True)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_passed_over() -> None:
    data = packed(photo(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03\xff\xff\xff\xff")
    assert load(data).image.size == (160, 120)


def test_alpha_goes_on_neutral_grey() -> None:
    image = photo(mode="RGBA")
    image.paste((0, 0, 0, 0), (80, 0, 160, 120))
    picture = load(packed(image))
    assert picture.image.getpixel((150, 60)) == NEUTRAL_GREY
    assert picture.notes == ("The transparent part (50%) was put on neutral grey.",)


def test_opaque_alpha_needs_no_note() -> None:
    assert load(packed(photo(mode="RGBA"))).notes == ()


def test_a_palette_with_a_transparent_colour_goes_on_grey() -> None:
    image = Image.new("P", (64, 64), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.paste(0, (0, 0, 32, 64))
    picture = load(packed(image, "PNG", transparency=0))
    assert picture.image.getpixel((10, 10)) == NEUTRAL_GREY
    assert picture.image.getpixel((50, 10)) == (255, 0, 0)
    assert "palette" in picture.notes[0]


def test_a_fully_transparent_picture_is_refused() -> None:
    with pytest.raises(PictureError, match="fully transparent"):
        load(Image.new("RGBA", (64, 64)))


def test_cmyk_is_converted_and_said() -> None:
    picture = load(packed(photo(mode="CMYK"), "JPEG", quality=95))
    assert picture.image.mode == "RGB"
    assert "CMYK" in picture.notes[0]
    assert np.abs(np.asarray(picture.image, int) - np.asarray(photo(), int)).mean() < 12


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_is_converted_and_said(mode: str) -> None:
    picture = load(packed(photo(mode=mode)))
    assert picture.image.mode == "RGB"
    assert "no colour" in picture.notes[0]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_range(kind: str) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    picture = load(packed(Image.fromarray(ramp), kind))
    levels = np.asarray(picture.image, int)
    assert levels.max() >= 254
    assert abs(int(levels[32, 0, 0]) - 128) <= 2
    assert sum("8" in note for note in picture.notes) == 1


def test_a_float_tiff_keeps_its_range() -> None:
    ramp = np.linspace(0, 1, 64 * 64).reshape(64, 64).astype(np.float32)
    levels = np.asarray(load(packed(Image.fromarray(ramp), "TIFF")).image, int)
    assert levels.max() == 255
    assert abs(int(levels[32, 0, 0]) - 128) <= 2


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (64, 64), color) for color in ("red", "green", "blue")]
    picture = load(packed(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert picture.image.getpixel((5, 5))[0] > 200
    assert any("first frame" in note for note in picture.notes)


def test_a_colour_profile_is_applied_or_passed_over() -> None:
    lab_like = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert load(packed(photo(), "PNG", icc_profile=lab_like)).notes == ()
    broken = load(packed(photo(), "PNG", icc_profile=b"no profile at all"))
    assert "profile is damaged" in broken.notes[0]
    assert np.array_equal(np.asarray(broken.image), np.asarray(photo()))


def test_a_cut_off_file_is_refused_even_where_the_webui_allows_them() -> None:
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        for kind in ("JPEG", "PNG", "WEBP"):
            data = packed(photo(), kind)
            with pytest.raises(PictureError, match=r"damaged or cut off|not a picture"):
                load(data[: len(data) // 2])
        assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (b"hello, I am a text", "not a picture"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"<!doctype html><html>", "web page"),
        (b"\x89PNG\r\n\x1a\n", "damaged|not a picture"),
        (b"\xff\xd8\xff", "damaged|not a picture"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(data: bytes, said: str) -> None:
    with pytest.raises(PictureError, match=said) as caught:
        load(data)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(PictureError, match="0 bytes"):
        load(tmp_path / "empty.png")
    with pytest.raises(PictureError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(PictureError, match="no file"):
        load(tmp_path / "missing.png")
    with pytest.raises(PictureError, match="can't be read"):
        load(tmp_path / ("x" * 5000))
    with pytest.raises(PictureError, match="can't be read"):
        load(tmp_path / "a\0b.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    file = tmp_path / "locked.png"
    file.write_bytes(packed(photo()))
    file.chmod(0)
    with pytest.raises(PictureError, match="may not read"):
        load(file)


def test_small_ones_load_from_32_px_on() -> None:
    assert load(photo(40, 40)).image.size == (40, 40)
    with pytest.raises(PictureError, match="only 31 x 400 px"):
        load(photo(31, 400))


def test_30000_px_wide_is_opened() -> None:
    assert load(blank_png(30_000, 64)).image.size == (30_000, 64)


def test_30000_px_square_is_refused_without_decoding_it() -> None:
    png = blank_png(30_000, 30_000, rows_there=10)
    tracemalloc.start()
    with pytest.raises(PictureError, match=r"megapixels|too large"):
        load(png)
    peak_mib = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert peak_mib < 50


def test_between_pillows_limits_and_ours_is_refused() -> None:
    with pytest.raises(PictureError, match="too large to open"):
        load(blank_png(10_000, 9_000, rows_there=10))


@pytest.mark.slow
def test_a_large_jpeg_is_read_reduced() -> None:
    data = packed(Image.new("L", (30_000, 12_000), 90), "JPEG", quality=30)
    picture = load(data)
    assert min(picture.image.size) == 2048
    assert any("instead of 30000 x 12000" in note for note in picture.notes)


def test_a_large_png_is_reduced_and_said() -> None:
    picture = load(blank_png(5000, 4096))
    assert picture.image.size == (2500, 2048)
    assert "Reduced from 5000 x 4096 to 2500 x 2048 px." in picture.notes
