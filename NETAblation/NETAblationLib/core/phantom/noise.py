"""Correlated CT noise: white noise through a noise power spectrum in plane, mixed across slices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from .grids import Grid

Field = npt.NDArray[np.float32]

#: Frequency (cycles per mm) at which the spectrum of a soft-tissue kernel falls off, the floor at
#: low frequency and the frequency of its rise. Chosen so that neighbors of 0.7 mm in plane correlate
#: by 0.57, between the livers of two real CTs (0.43, and 0.64 with kernel B30f); no published source.
_CUTOFF_PER_MM, _LOW_FLOOR, _RISE_PER_MM = 0.30, 0.50, 0.50

#: Share of the neighboring slices' noise: overlapping reconstruction. No published source.
_SLICE_MIX = 0.35


class CorrelatedNoise:
    """Noise of a given standard deviation for any slices of a grid; each slice has its own seed."""

    def __init__(self, grid: Grid, noise_hu: float, seed: tuple[int, ...]) -> None:
        """Prepare the in-plane filter for `grid`; slices are reproducible whatever their order."""
        self._grid = grid
        self._noise_hu = noise_hu
        self._seed = seed
        shape = grid.shape[1:]
        self._padded = tuple(fft.next_fast_len(n, real=True) for n in shape)
        fy = fft.fftfreq(self._padded[0], grid.spacing_mm[1])[:, None]
        fx = fft.rfftfreq(self._padded[1], grid.spacing_mm[0])[None, :]
        frequency = np.hypot(fy, fx)
        nyquist = 0.5 / max(grid.spacing_mm[:2])
        cutoff = min(_CUTOFF_PER_MM, 0.65 * nyquist)
        power = (_LOW_FLOOR + frequency / _RISE_PER_MM) * np.exp(-((frequency / cutoff) ** 2))
        power[0, 0] = 0.0
        weight = np.full(power.shape, 2.0)
        weight[:, 0] = 1.0
        if self._padded[1] % 2 == 0:
            weight[:, -1] = 1.0
        variance = (power * weight).sum() / np.prod(self._padded)
        self._filter = np.sqrt(power / variance).astype(np.float32)

    def slices(self, start: int, stop: int) -> Field:
        """Noise in HU of slices start..stop-1, (stop - start, J, I)."""
        if self._noise_hu == 0:
            return np.zeros((stop - start, *self._grid.shape[1:]), np.float32)
        raw = [self._slice(k) for k in range(start - 1, stop + 1)]
        scale = np.float32(self._noise_hu / np.sqrt(1.0 + 2.0 * _SLICE_MIX**2))
        out = np.empty((stop - start, *self._grid.shape[1:]), np.float32)
        for index in range(stop - start):
            out[index] = raw[index] + raw[index + 2]
            out[index] *= np.float32(_SLICE_MIX)
            out[index] += raw[index + 1]
            out[index] *= scale
        return out

    def _slice(self, k: int) -> Field:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([*self._seed, k + 1])))
        white = rng.standard_normal(self._padded, dtype=np.float32)
        spectrum = fft.rfft2(white, workers=1)
        spectrum *= self._filter
        shape = self._grid.shape[1:]
        return fft.irfft2(spectrum, s=self._padded, workers=1)[: shape[0], : shape[1]]


def texture_tile(rng: np.random.Generator, shape: tuple[int, int, int], sigma_voxels: tuple[float, ...]) -> Field:
    """A periodic block of smooth noise of unit standard deviation, (K, J, I)."""
    spectrum = fft.rfftn(rng.standard_normal(shape, dtype=np.float32), workers=1)
    for axis, (count, sigma) in enumerate(zip(shape, sigma_voxels, strict=True)):
        frequency = fft.rfftfreq(count) if axis == 2 else fft.fftfreq(count)
        view = [None, None, None]
        view[axis] = slice(None)  # type: ignore[call-overload]
        spectrum *= np.exp(-2.0 * (np.pi * sigma * frequency) ** 2).astype(np.float32)[tuple(view)]
    spectrum[0, 0, 0] = 0
    tile = fft.irfftn(spectrum, s=shape, workers=1)
    tile /= tile.std()
    return tile.astype(np.float32)
