from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from simclr.data.decoding import decode, decode_all, quiet_decoders
from simclr.data.formats import SUFFIXES, formats
from simclr.foundation.errors import InvalidInput

from .samples import encoded, picture


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "picture.jpg"


def decoded(file: Path, content: bytes, side: int = 8) -> np.ndarray:
    file.write_bytes(content)
    pixels, _ = decode(file, side)
    assert (pixels.shape, pixels.dtype) == ((side, side, 3), np.uint8)
    return pixels


def refusal(file: Path, content: bytes) -> str:
    file.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        decode(file, 8)
    told = str(caught.value)
    assert told.startswith(f"{file}: ")
    assert "\n" not in told
    return told


def test_the_whole_image_becomes_a_square_and_its_aspect_is_kept(file: Path) -> None:
    left_right = np.zeros((30, 60, 3), np.uint8)
    left_right[:, 30:] = 255
    pixels = decoded(file, encoded(Image.fromarray(left_right), "PNG"))
    assert pixels[:, :3].max() < 20
    assert pixels[:, 5:].min() > 235
    assert decode(file, 8)[1] == 2.0


def test_shrinking_averages_over_the_pixels(file: Path) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    pixels = decoded(file, encoded(Image.fromarray(stripes), "PNG"))
    assert abs(pixels.astype(int) - 128).max() < 6


@pytest.mark.parametrize("size", [(500, 375), (333, 1001), (2222, 1667)])
def test_a_jpeg_read_at_a_fraction_of_its_size_looks_like_the_whole_one(file: Path, size: tuple[int, int]) -> None:
    image = picture(*size, seed=3)
    pixels = decoded(file, encoded(image, quality=95), 32)
    whole = np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC))
    assert abs(pixels.astype(int) - whole).mean() < 2


@pytest.mark.parametrize("kind", formats())
def test_each_format_is_read_whatever_the_suffix(file: Path, kind: str) -> None:
    image = picture(40, 30)
    pixels = decoded(file, encoded(image, kind))
    assert abs(pixels.astype(int) - np.asarray(image.resize((8, 8), Image.Resampling.BICUBIC))).mean() < 5


@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("CMYK", "JPEG")])
def test_grey_palette_and_cmyk_become_rgb(file: Path, mode: str, kind: str) -> None:
    image = picture(40, 30, mode=mode)
    pixels = decoded(file, encoded(image, kind))
    expected = np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BICUBIC))
    assert abs(pixels.astype(int) - expected).mean() < 4


def test_what_is_transparent_is_white(file: Path) -> None:
    clear_and_red = np.zeros((16, 16, 4), np.uint8)
    clear_and_red[:, 8:] = (255, 0, 0, 255)
    for image in (Image.fromarray(clear_and_red), Image.fromarray(clear_and_red).quantize(4)):
        pixels = decoded(file, encoded(image, "PNG"))
        assert pixels[:, :3].min() > 230
        np.testing.assert_allclose(pixels[0, 7], (255, 0, 0), atol=20)


def test_grey_with_a_transparent_shade_is_put_on_white(file: Path) -> None:
    half = np.full((16, 16), 40, np.uint8)
    half[:, 8:] = 90
    pixels = decoded(file, encoded(Image.fromarray(half), "PNG", transparency=40))
    assert pixels[:, :3].min() > 230
    assert abs(int(pixels[0, 7, 0]) - 90) < 20


@pytest.mark.parametrize("kind", ["BMP", "PNG", "TIFF", "WEBP"])
def test_an_alpha_channel_that_is_zero_everywhere_is_not_used(file: Path, kind: str) -> None:
    unused = np.zeros((16, 16, 4), np.uint8)
    unused[..., :3] = (200, 30, 60)
    # WebP throws away colours that nobody sees unless it is asked to keep them.
    content = encoded(Image.fromarray(unused), kind, **({"exact": True, "lossless": True} if kind == "WEBP" else {}))
    pixels = decoded(file, bmp_with_alpha(unused) if kind == "BMP" else content)
    np.testing.assert_allclose(pixels.reshape(-1, 3).mean(0), (200, 30, 60), atol=3)


def bmp_with_alpha(pixels: np.ndarray) -> bytes:
    """A BMP whose header (BITMAPV4) says that it has an alpha channel."""
    height, width, _ = pixels.shape
    body = pixels[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), 2835, 2835, 0, 0) + masks
    header += b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body


def test_16_bit_grey_is_scaled_not_cut_off(file: Path) -> None:
    deep = np.full((9, 9), 32768, np.uint16)
    for kind in ("PNG", "TIFF"):
        assert set(decoded(file, encoded(Image.fromarray(deep), kind)).ravel().tolist()) == {128}


def test_the_transparent_value_of_16_bit_grey_is_white(file: Path) -> None:
    deep = np.full((16, 16), 32768, np.uint16)
    deep[:, :8] = 515
    content = encoded(Image.fromarray(deep), "PNG")
    end = content.index(b"IDAT") - 4
    transparent = b"tRNS" + struct.pack(">H", 515)
    chunk = struct.pack(">I", 2) + transparent + struct.pack(">I", zlib.crc32(transparent))
    pixels = decoded(file, content[:end] + chunk + content[end:])
    assert pixels[:, :3].min() > 230
    assert abs(int(pixels[0, 7, 0]) - 128) < 20


@pytest.mark.parametrize("values", [np.full((9, 9), 0.5, np.float32), np.full((9, 9), 70_000, np.int32)])
def test_numbers_of_which_nobody_says_what_is_white_are_refused(file: Path, values: np.ndarray) -> None:
    assert "nobody says what is white" in refusal(file, encoded(Image.fromarray(values), "TIFF"))


def test_a_png_with_megabytes_of_text_is_read(file: Path) -> None:
    about = PngInfo()
    about.add_text("workflow", "x" * (3 << 20), zip=True)
    assert decoded(file, encoded(picture(), "PNG", pnginfo=about)).any()


def test_of_an_animation_the_first_picture_is_taken(file: Path) -> None:
    first, second = Image.new("RGB", (9, 9), "red"), Image.new("RGB", (9, 9), "blue")
    pixels = decoded(file, encoded(first, "GIF", save_all=True, append_images=[second]))
    assert pixels[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_what_telephones_make_is_read(tmp_path: Path, kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="an extra that is not installed").register_heif_opener()
    if kind not in formats():
        pytest.skip("this Pillow has no AVIF")
    whole = Image.new("RGB", (40, 30), (200, 30, 90))
    file = tmp_path / f"1{SUFFIXES[kind][0]}"
    file.write_bytes(encoded(whole, kind, quality=95))
    pixels, aspect = decode(file, 12)
    assert aspect == pytest.approx(40 / 30)
    assert np.abs(pixels.astype(int) - (200, 30, 90)).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(file: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decoded(file, encoded(picture(80, 40, seed=5), quality=95, exif=exif), 16)
    with Image.open(file) as image:
        upright = ImageOps.exif_transpose(image)
    expected = np.asarray(upright.resize((16, 16), Image.Resampling.BICUBIC))
    assert abs(pixels.astype(int) - expected).mean() < 2
    assert decode(file, 16)[1] == upright.width / upright.height


def test_damaged_exif_data_do_not_matter(file: Path) -> None:
    with quiet_decoders():
        assert decoded(file, encoded(picture(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xffgarbage")).any()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_truncated_image_is_named_in_one_line(file: Path, kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    whole = encoded(noise, kind)
    refusal(file, whole[: int(len(whole) * share)])


def test_a_truncated_large_jpeg_is_named_even_when_read_at_a_fraction(file: Path) -> None:
    whole = encoded(picture(900, 700, seed=2))
    assert "truncated" in refusal(file, whole[: len(whole) // 2])


def test_an_empty_file_is_named(file: Path) -> None:
    assert "is empty" in refusal(file, b"")


def test_a_file_that_is_no_image_is_named(file: Path) -> None:
    assert "valid are JPEG, PNG, BMP, WEBP, TIFF, GIF" in refusal(file, b"<html>not found</html>")


def test_a_format_that_is_not_taken_is_named(file: Path) -> None:
    assert "valid are JPEG, PNG, BMP, WEBP, TIFF, GIF" in refusal(file, encoded(picture(), "PPM"))


def test_a_png_with_a_wrong_checksum_is_named(file: Path) -> None:
    content = bytearray(encoded(picture(), "PNG"))
    content[content.index(b"IDAT") + 6] ^= 0xFF
    refusal(file, bytes(content))


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(InvalidInput, match=r"picture\.jpg: cannot be read as an image: No such file"):
        decode(file, 8)


@pytest.mark.parametrize("side", [10_500, 60_000])
def test_an_image_that_would_fill_the_memory_is_named(file: Path, side: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with quiet_decoders():
        assert "valid are at most 100 million, which data.megapixels raises" in refusal(file, bomb)


def test_a_larger_image_is_read_where_that_is_wanted(file: Path) -> None:
    content = encoded(Image.new("L", (120, 100)), "PNG")
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match="120x100 pixels"):
        decode(file, 8, 10_000)
    assert decode(file, 8, 12_000)[1] == 1.2


def test_many_are_decoded_in_order(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(40)]
    for number, file in enumerate(files):
        file.write_bytes(encoded(Image.new("RGB", (9, 9 + number), (number, 0, 0)), "PNG"))
    for number, (pixels, aspect) in enumerate(decode_all(files, 8)):
        assert pixels[0, 0, 0] == number
        assert aspect == 9 / (9 + number)


def test_of_several_broken_files_the_first_is_named(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.jpg" for number in range(20)]
    for number, file in enumerate(files):
        file.write_bytes(b"" if number in (11, 12, 17) else encoded(picture()))
    with pytest.raises(InvalidInput, match=r"/11\.jpg"):
        list(decode_all(files, 8))


def test_all_that_are_broken_are_named_where_all_are_needed(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.jpg" for number in range(30)]
    for number, file in enumerate(files):
        file.write_bytes(b"" if number in (3, 17) else encoded(picture()))
    with pytest.raises(
        InvalidInput, match=r"^2 images cannot be used: .*/3\.jpg: is empty.*; .*/17\.jpg: is empty"
    ) as two:
        list(decode_all(files, 8, name_all=True))
    assert "\n" not in str(two.value)
    for file in files:
        file.write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"^30 images cannot be used: .*; and 10 more$"):
        list(decode_all(files, 8, name_all=True))


def test_decoders_do_not_warn_while_they_are_kept_quiet(file: Path) -> None:
    file.write_bytes(encoded(picture(), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03garbage"))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with quiet_decoders():
            list(decode_all([file], 8))
    assert not warned
