"""Distorted copies of images of digits: each is turned, sheared, scaled, shifted and bent by some other random amount.

The bending is that of P. Y. Simard, D. Steinkraus and J. C. Platt, "Best practices for convolutional neural networks applied
to visual document analysis", ICDAR 2003: a random displacement of each pixel, smoothed by a Gaussian. It is made here from
random heights of Gaussian bumps on a coarse grid, which has the same distribution to about 1 in 1000 and costs a quarter of
the random numbers.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Distortion", "distort"]

_SIZE = 28
_PADDED = _SIZE + 3  # with zeros before and behind, two of them there: whatever lies outside is taken from these
_IMAGES_PER_PART = 256  # what a thread takes at a time: its arrays stay in the cache


class Distortion(NamedTuple):
    """How far images are distorted.

    Each number is the largest of a uniform distribution from minus to plus it, but for `elastic`.

    Attributes
    ----------
    shift : float
        Pixels, in each direction.
    angle : float
        Degrees.
    scale : float
        Of each axis on its own; 0.1 is from 10 % smaller to 10 % larger.
    shear : float
        Pixels to the side for each pixel of height.
    elastic : float
        Standard deviation of the smooth displacement, pixels in each direction. 1.4 is what Simard, Steinkraus and Platt
        use: their uniform noise from -1 to 1, smoothed by a Gaussian with sigma = 4 and multiplied by alpha = 34, has
        34 / sqrt(3) / (2 sigma sqrt(pi)) = 1.4.
    sigma : float
        How smooth that is: the sigma of the Gaussian, pixels.
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
    threads: Executor | None = None,
) -> NDArray[np.float32]:
    """Make a distorted copy of each image.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, 784)
        One image of 28 x 28 a row.
    distortion : Distortion
        How far.
    seed : sequence of int
        Not negative. The same numbers give the same copies, for any number of threads; on another machine they differ by the
        rounding of numpy's functions.
    out : ndarray of float32, shape (n, 784), optional
        Where to write; else a new array is made.
    threads : Executor, optional
        Who does it; else this thread does. numpy lets go of the GIL in all that takes long here.

    Returns
    -------
    out : ndarray of float32, shape (n, 784)
        Pixels from 0 to 1, by bilinear interpolation. What comes from outside of an image is 0.
    """
    out = np.empty(images.shape, np.float32) if out is None else out
    bumps = _bumps(distortion.sigma)

    def work(start: int) -> None:
        part = slice(start, start + _IMAGES_PER_PART)
        _distort_part(images[part], distortion, np.random.default_rng([*seed, start]), bumps, out[part])

    for _ in (map if threads is None else threads.map)(work, range(0, len(images), _IMAGES_PER_PART)):
        pass
    return out


def _bumps(sigma: float) -> NDArray[np.float32]:
    """Height of each Gaussian bump at each pixel of a row, shape (28, bumps), so that random heights give a variance of 1.

    They stand sigma apart, which makes their sum as smooth as white noise after a Gaussian, and begin 3 sigma outside.
    """
    centres = np.arange(-3 * sigma, _SIZE - 1 + 3.5 * sigma, sigma)
    heights = np.exp(-(((np.arange(_SIZE)[:, np.newaxis] - centres) / sigma) ** 2) / 2)
    heights /= np.sqrt((heights**2).sum(axis=1, keepdims=True))
    return heights.astype(np.float32)


def _distort_part(
    images: NDArray[np.uint8],
    distortion: Distortion,
    rng: np.random.Generator,
    bumps: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    num_images = len(images)
    x, y = _sources(num_images, distortion, rng, bumps)
    column, row = x.astype(np.intp), y.astype(np.intp)  # rounds down: they are not negative
    x -= column
    y -= row
    row *= _PADDED
    row += column
    row += _PADDED**2 * np.arange(num_images)[:, np.newaxis, np.newaxis]

    padded = np.zeros((num_images, _PADDED, _PADDED), np.float32)
    np.multiply(images.reshape(-1, _SIZE, _SIZE), np.float32(1 / 255), out=padded[:, 1:-2, 1:-2])
    flat = padded.ravel()
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


def _sources(
    num_images: int, distortion: Distortion, rng: np.random.Generator, bumps: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where in the padded image each pixel comes from: x and y, each of shape (n, 28, 28), from 0 to 29."""
    shift, scale, shear, angle = (
        high * rng.uniform(-1, 1, (columns, num_images, 1, 1)).astype(np.float32)
        for high, columns in (
            (distortion.shift, 2),
            (distortion.scale, 2),
            (distortion.shear, 1),
            (distortion.angle, 1),
        )
    )
    cos, sin = np.cos(np.deg2rad(angle[0])), np.sin(np.deg2rad(angle[0]))
    x_scale, y_scale = 1 + scale
    middle = (_SIZE - 1) / 2
    across = np.arange(_SIZE, dtype=np.float32) - np.float32(middle)
    down = across[:, np.newaxis]
    heights = rng.standard_normal((2, num_images, bumps.shape[1], bumps.shape[1]), np.float32)
    heights *= distortion.elastic
    x, y = bumps @ heights @ bumps.T
    x += x_scale * (cos * across + (shear[0] * cos - sin) * down) + shift[0]
    y += y_scale * (sin * across + (shear[0] * sin + cos) * down) + shift[1]
    for sources in (x, y):
        np.add(sources, middle + 1, out=sources)
        np.clip(sources, 0, _SIZE + 1, out=sources)
    return x, y
