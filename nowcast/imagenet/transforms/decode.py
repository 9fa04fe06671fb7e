"""Bytes of an image file become RGB pixels, or an error that names the file and what is wrong."""

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from cv2.utils import logging as cv2_logging
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from nowcast.core.errors import DataError

# First bytes: a PNG is often named .JPEG, one of ImageNet's own among them.
SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"RIFF", "WebP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """The pixels of an image file; see `decode`.

    Raises:
        DataError: it cannot be read.
    """
    return decode(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """What is in a file.

    Raises:
        DataError: it cannot be opened.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: expected an image file, found none that opens ({error.strerror}); restore it"
        ) from error


def decode(data: bytes, name: str | Path) -> UInt8[np.ndarray, "height width 3"]:
    """Decode an image as it is to be looked at: RGB, 8 bits, turned as its EXIF data say.

    Gray becomes RGB, CMYK too, and 16 bits become 8. Transparency is ignored, as by Pillow's
    `convert("RGB")`: the colour under it stays. A file that ends early is an error. Damage in the
    middle of a JPEG, which no decoder reports, is not noticed.

    Args:
        data: all bytes of the file.
        name: of the file, for messages.

    Raises:
        DataError: empty, cut off, damaged, or no image.
    """
    before = cv2_logging.setLogLevel(cv2_logging.LOG_LEVEL_SILENT)  # the error says it all
    try:
        buffer = np.frombuffer(data, dtype=np.uint8)
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error:  # e.g. a size in the header beyond OpenCV's limit
        image = None
    finally:
        cv2_logging.setLogLevel(before)
    if image is None:
        raise DataError(
            f"{name}: expected an image, found {_fault(data)}; fetch the file anew, or leave it "
            "out with data.unreadable"
        )
    return np.asarray(image, dtype=np.uint8)


def format_of(data: bytes) -> str:
    """The format that a file's first bytes state, e.g. ``JPEG``; ``?`` for any other."""
    return next((name for start, name in SIGNATURES if data.startswith(start)), "?")


def _fault(data: bytes) -> str:
    """What is wrong with a file that OpenCV does not decode; Pillow knows more than it tells."""
    if not data:
        return "an empty file"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data))
            image.load()
    except UnidentifiedImageError:
        kind = "a web page or other text" if data.lstrip()[:1] == b"<" else "no known image format"
        return f"{kind}, which begins with {data[:16]!r}"
    except Exception as error:  # Pillow's plugins raise a dozen kinds
        return f"a damaged {format_of(data)} ({error})"
    if _lacks_its_end(data):
        return f"a damaged {image.format} (its pixels are there, its end is cut off)"
    return f"a {image.format} of mode {image.mode}, which OpenCV does not decode"


def _lacks_its_end(data: bytes) -> bool:
    """Whether a PNG or GIF stops before its end mark; Pillow reads such files, OpenCV does not."""
    if data.startswith(b"\x89PNG"):
        return not 0 < data.rfind(b"IEND") <= len(data) - len(b"IEND") - 4  # a checksum follows
    return data.startswith(b"GIF8") and not data.rstrip(b"\0").endswith(b";")
