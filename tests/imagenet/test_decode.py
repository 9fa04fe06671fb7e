"""Every kind of file comes out as the picture it shows, or as an error that says why not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nowcast.core.errors import DataError
from nowcast.imagenet.transforms.decode import decode, format_of, read_image
from tests.imagenet.image_files import encoded, picture
from tests.mutations import mutations

TRUTH = picture(7)
TURNED = Image.Exif()
TURNED[274] = 6  # to be turned clockwise by a quarter


def difference(data: bytes, truth: np.ndarray = TRUTH) -> float:
    found = decode(data, "file")
    assert found.shape == truth.shape and found.dtype == np.uint8
    return float(np.abs(found.astype(int) - truth).mean())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_files_are_their_pixels_in_the_order_red_green_blue(kind: str):
    assert difference(encoded(TRUTH, kind)) == 0


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {"quality": 95}), ("JPEG", {"progressive": True, "quality": 95}), ("WEBP", {})],
)
def test_lossy_files_are_near_their_pixels(kind: str, options: dict):
    assert difference(encoded(TRUTH, kind, **options)) < 3


def test_cmyk_is_not_inverted_with_and_without_adobes_marker():
    data = encoded(Image.fromarray(TRUTH).convert("CMYK"), "JPEG", quality=95)
    start = data.index(b"\xff\xee")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    assert b"Adobe" in data[start:end]
    assert difference(data) < 3
    assert difference(data[:start] + data[end:]) < 3


def test_gray_palette_and_16_bits_become_rgb_of_8_bits():
    gray = np.asarray(Image.fromarray(TRUTH).convert("L"))
    truth = np.repeat(gray[..., None], 3, axis=2)
    assert difference(encoded(gray, "PNG"), truth) == 0
    assert difference(encoded(gray, "JPEG", quality=95), truth) < 3
    assert difference(encoded(gray.astype(np.uint16) * 257, "PNG"), truth) == 0
    palette = Image.fromarray(TRUTH).quantize(64)
    assert difference(encoded(palette, "PNG"), np.asarray(palette.convert("RGB"))) == 0


def test_transparency_is_ignored():
    alpha = np.linspace(0, 255, TRUTH[..., 0].size).reshape(TRUTH.shape[:2]).astype(np.uint8)
    assert difference(encoded(np.dstack([TRUTH, alpha]), "PNG")) == 0


def test_exif_turns_the_picture():
    data = encoded(TRUTH, "JPEG", quality=95, exif=TURNED)
    assert difference(data, np.rot90(TRUTH, -1)) < 3


JPEG, PNG = encoded(TRUTH, "JPEG", quality=95), encoded(TRUTH, "PNG")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "an empty file"),
        (b"  <html><body>404</body></html>", "a web page or other text, which begins with b'  <h"),
        (b"version https://git-lfs", "no known image format, which begins with b'version"),
        (JPEG[: len(JPEG) // 2], r"a damaged JPEG \(image file is truncated"),
        (JPEG[:-10], r"a damaged JPEG \(image file is truncated"),
        (PNG[: len(PNG) // 2], r"a damaged PNG"),
        (encoded(TRUTH, "WEBP")[:200], "a damaged WebP"),
        (encoded(TRUTH[..., 0].astype(np.float32), "TIFF"), "a TIFF of mode F, which OpenCV does"),
    ],
)
def test_what_cannot_be_read_is_named_and_says_why(data: bytes, said: str):
    with pytest.raises(DataError, match=f"^n01/x.JPEG: expected an image, found {said}"):
        decode(data, "n01/x.JPEG")


@pytest.mark.parametrize("share", np.linspace(0.02, 0.98, 12))
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_cut_off_anywhere_is_noticed(share: float, progressive: bool):
    data = encoded(TRUTH, "JPEG", quality=95, progressive=progressive)
    with pytest.raises(DataError, match="expected an image, found"):
        decode(data[: int(share * len(data))], "file")


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_file_that_lacks_its_last_bytes_is_cut_off_and_not_of_some_mode(kind: str):
    data = encoded(TRUTH, kind)
    for length in range(len(data) - (20 if kind == "PNG" else 2), len(data)):
        with pytest.raises(DataError, match=rf"a damaged {kind} \(.*(cut off|truncated)"):
            decode(data[:length], "n01/x.JPEG")
    assert decode(data, "n01/x.JPEG").shape == TRUTH.shape


@settings(max_examples=150, deadline=None, derandomize=True)
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF"]), change=mutations())
def test_a_damaged_file_is_a_picture_or_a_named_error(kind: str, change):
    try:
        found = decode(change(encoded(picture(1, 12, 16), kind)), "n01/x.JPEG")
    except DataError as error:
        assert str(error).startswith("n01/x.JPEG: expected an image, found ")
    else:
        assert found.dtype == np.uint8 and found.ndim == 3


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png: expected an image file, found none"):
        read_image(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"folder\.png: expected an image file"):
        read_image(tmp_path / "folder.png")


def test_the_format_is_that_of_the_bytes():
    found = {kind: format_of(encoded(TRUTH, kind)) for kind in ("JPEG", "PNG", "BMP", "TIFF")}
    assert all(kind == name for kind, name in found.items())
    assert (format_of(encoded(TRUTH, "WEBP")), format_of(b"GIF89a")) == ("WebP", "?")
