"""Augmentation of images of digits: each copy is shifted, rotated, scaled, sheared and deformed by a random amount.

The elastic deformation is that of P. Y. Simard, D. Steinkraus and J. C. Platt, "Best practices for convolutional neural
networks applied to visual document analysis", ICDAR 2003: a random displacement of each pixel, smoothed by a Gaussian. Here it
is a sum of Gaussian bumps on a coarse grid with random heights. Its correlations differ from theirs by about 1 in 1000, and it
needs a quarter of the random numbers.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Distortion", "distort"]

_SIZE = 28
_PADDED = _SIZE + 3  # one row or column of zeros before the image and two after it: pixels from outside are read there
_IMAGES_PER_PART = 256  # images that a thread processes at a time: its arrays stay in the cache


class Distortion(NamedTuple):
    """How strongly images are distorted.

    `shift`, `angle`, `scale` and `shear` are limits: for each image the amount is drawn from a uniform distribution on
    [-limit, limit].

    Attributes
    ----------
    shift : float
        Translation along each axis, in pixels.
    angle : float
        Rotation about the centre, in degrees.
    scale : float
        Relative change of width and of height, drawn separately; 0.1 is from 10 % smaller to 10 % larger.
    shear : float
        Horizontal shift in pixels for each pixel of height.
    elastic : float
        Standard deviation of the elastic displacement along each axis, in pixels. Simard, Steinkraus and Platt use 1.4: uniform
        noise from -1 to 1, smoothed by a Gaussian with sigma = 4 and multiplied by alpha = 34, has a standard deviation of
        34 / sqrt(3) / (2 sigma sqrt(pi)) = 1.4.
    sigma : float
        Standard deviation of the smoothing Gaussian, in pixels.
    """

    shift: float = 1.5
    angle: float = 12.0
    scale: float = 0.12
    shear: float = 0.15
    elastic: float = 0.9
    sigma: float = 4.0


def distort(
    images: NDArray[np.uint8],
    distortion: Distortion,
    seed: Sequence[int],
    out: NDArray[np.float32] | None = None,
    *,
    executor: Executor | None = None,
) -> NDArray[np.float32]:
    """Make a distorted copy of each image.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, 784)
        Each row is an image of 28 x 28 pixels, row-major.
    distortion : Distortion
        How strongly to distort.
    seed : sequence of int
        Non-negative numbers. The same seed gives the same copies for any number of threads; on another machine they may differ
        by the rounding of numpy's functions.
    out : ndarray of float32, shape (n, 784), optional
        Where to write the copies. By default a new array.
    executor : Executor, optional
        Threads that share the work. numpy releases the GIL in everything that takes long here.

    Returns
    -------
    out : ndarray of float32, shape (n, 784)
        Pixels from 0 to 1, by bilinear interpolation. Pixels from outside of an image are 0.
    """
    out = np.empty(images.shape, np.float32) if out is None else out
    bumps = _gaussian_bumps(distortion.sigma)

    def distort_part(start: int) -> None:
        part = slice(start, start + _IMAGES_PER_PART)
        _distort_part(images[part], distortion, np.random.default_rng([*seed, start]), bumps, out[part])

    try:
        for _ in (map if executor is None else executor.map)(distort_part, range(0, len(images), _IMAGES_PER_PART)):
            pass  # the iterator raises the exceptions of the threads
    except RuntimeError as error:  # Ctrl-C while concurrent.futures took a lock: it fails to release it
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    return out


def _gaussian_bumps(sigma: float) -> NDArray[np.float32]:
    """Return the value of each Gaussian bump at each pixel of a row, shape (28, num_bumps).

    The centres are sigma apart, from 3 sigma before the row to 3 sigma after it. A sum of bumps with random heights is then as
    smooth as white noise smoothed by a Gaussian. With heights of variance 1, it has variance 1 at each pixel.
    """
    centres = np.arange(-3 * sigma, _SIZE - 1 + 3.5 * sigma, sigma)
    bumps = np.exp(-(((np.arange(_SIZE)[:, np.newaxis] - centres) / sigma) ** 2) / 2)
    bumps /= np.sqrt((bumps**2).sum(axis=1, keepdims=True))
    return bumps.astype(np.float32)


def _distort_part(
    images: NDArray[np.uint8],
    distortion: Distortion,
    rng: np.random.Generator,
    bumps: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Write distorted copies of `images`, shape (n, 784), to `out`, shape (n, 784)."""
    num_images = len(images)
    x, y = _source_coordinates(num_images, distortion, rng, bumps)
    column, row = x.astype(np.intp), y.astype(np.intp)  # rounds down, as they are not negative
    x -= column
    y -= row
    row *= _PADDED
    row += column
    row += _PADDED**2 * np.arange(num_images)[:, np.newaxis, np.newaxis]  # now an index into all images

    padded = np.zeros((num_images, _PADDED, _PADDED), np.float32)
    np.multiply(images.reshape(-1, _SIZE, _SIZE), np.float32(1 / 255), out=padded[:, 1:-2, 1:-2])
    flat = padded.ravel()
    # Bilinear interpolation between the four nearest pixels, in place: x and y are now the fractions of a pixel.
    upper, right = flat.take(row), flat[1:].take(row)
    right -= upper
    right *= x
    upper += right
    lower, right = flat[_PADDED:].take(row), flat[_PADDED + 1 :].take(row)
    right -= lower
    right *= x
    lower += right
    lower -= upper
    lower *= y
    np.add(upper, lower, out=out.reshape(-1, _SIZE, _SIZE))


def _source_coordinates(
    num_images: int, distortion: Distortion, rng: np.random.Generator, bumps: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return where in the padded image each pixel of the copies comes from: x and y, shape (n, 28, 28), from 0 to 29."""
    shift, scale, shear, angle = (
        limit * rng.uniform(-1, 1, (numbers, num_images, 1, 1)).astype(np.float32)
        for limit, numbers in (
            (distortion.shift, 2),
            (distortion.scale, 2),
            (distortion.shear, 1),
            (distortion.angle, 1),
        )
    )
    cos, sin = np.cos(np.deg2rad(angle[0])), np.sin(np.deg2rad(angle[0]))
    x_scale, y_scale = 1 + scale
    centre = (_SIZE - 1) / 2
    across = np.arange(_SIZE, dtype=np.float32) - np.float32(centre)
    down = across[:, np.newaxis]
    heights = rng.standard_normal((2, num_images, bumps.shape[1], bumps.shape[1]), np.float32)
    heights *= distortion.elastic
    x, y = bumps @ heights @ bumps.T
    x += x_scale * (cos * across + (shear[0] * cos - sin) * down) + shift[0]
    y += y_scale * (sin * across + (shear[0] * sin + cos) * down) + shift[1]
    for coordinates in (x, y):
        np.add(coordinates, centre + 1, out=coordinates)
        np.clip(coordinates, 0, _SIZE + 1, out=coordinates)
    return x, y
