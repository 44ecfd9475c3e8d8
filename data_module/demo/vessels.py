"""Hila and the branching vessels of the lungs."""

import numpy as np

from data_module.demo.anatomy import SIDES, Thorax

NUM_TRUNKS, TWIGS = 11, 3  # per lung; twigs per trunk
POINTS = 18  # of a course


def hilum(thorax: Thorax, side: str) -> tuple[float, float]:
    """(u, v) of a hilum; the left lies a little higher than the right."""
    shift = thorax.body.heart_shift
    return (shift - 0.150, -0.10) if side == "right" else (shift + 0.170, -0.14)


def add_vessels(thorax: Thorax, congestion: float = 0.0) -> None:
    """Queue the vessels of both lungs on the canvas.

    Args:
        congestion: 0 = normal, lower lobe vessels larger; towards 1 the upper ones swell (cephalisation).
    """
    rng = np.random.default_rng([thorax.body.rng_seed, 7])
    for side, sign in SIDES.items():
        # Angle 0 points outwards, positive downwards.
        angles = np.linspace(-1.35, 1.25, NUM_TRUNKS) + rng.normal(0, 0.08, NUM_TRUNKS)
        upper = np.clip(0.5 - angles / 2.0, 0.0, 1.0)
        calibre = (1.0 - 0.35 * upper) + congestion * (0.3 + 0.9 * upper)
        length = thorax.body.half_width * rng.uniform(0.62, 0.85, NUM_TRUNKS) * (1.0 - 0.12 * np.abs(angles))
        offset = np.stack([np.full(NUM_TRUNKS, 0.02 * sign), 0.09 * np.sin(angles) + 0.03], axis=1)
        root = np.array(hilum(thorax, side)) + offset
        trunks = _branches(root, angles, length, rng.normal(0, 0.25, NUM_TRUNKS), sign)
        _add(thorax, trunks, 0.17 * calibre**0.8, 0.019 * calibre)
        of = np.repeat(np.arange(NUM_TRUNKS), TWIGS)
        turn = angles[of] + rng.choice([-1, 1], len(of)) * rng.uniform(0.35, 0.75, len(of))
        root = trunks[of, rng.integers(5, 13, len(of))]
        length = length[of] * rng.uniform(0.3, 0.5, len(of))
        twigs = _branches(root, turn, length, rng.normal(0, 0.3, len(of)), sign)
        _add(thorax, twigs, 0.11 * calibre[of] ** 0.8, 0.011 * calibre[of])


def hila(thorax: Thorax, congestion: float = 0.0) -> np.ndarray:
    """(n, n) density of the pulmonary arteries at the hila."""
    layer = np.zeros_like(thorax.canvas.v)
    for side, sign in SIDES.items():
        u, v = hilum(thorax, side)
        spot = thorax.canvas.ellipse(u + 0.03 * sign, v + 0.05, 0.07, 0.15, -0.30 * sign)
        layer += (0.19 + 0.10 * congestion) * np.exp(-spot)
    return layer.astype(np.float32)


def _branches(
    root: np.ndarray, angle: np.ndarray, length: np.ndarray, bend: np.ndarray, sign: float
) -> np.ndarray:
    """(L, POINTS, 2) courses of vessels that bend evenly; roots (L, 2), the rest (L,)."""
    heading = angle[:, None] + bend[:, None] * np.linspace(0.0, 1.0, POINTS - 1)
    step = (
        np.stack([sign * np.cos(heading), np.sin(heading)], axis=2) * (length / (POINTS - 1))[:, None, None]
    )
    return root[:, None] + np.concatenate([np.zeros_like(step[:, :1]), np.cumsum(step, axis=1)], axis=1)


def _add(thorax: Thorax, points: np.ndarray, amplitude: np.ndarray, width: np.ndarray) -> None:
    taper = np.linspace(1.0, 0.28, POINTS)
    thorax.canvas.add_lines(points, amplitude[:, None] * taper, np.maximum(width[:, None] * taper, 0.006))
