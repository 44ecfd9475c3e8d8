"""Hila and the branching vessels of the lungs."""

import numpy as np

from data_module.demo.anatomy import SIDES, Thorax

NUM_TRUNKS = 11


def hilum(thorax: Thorax, side: str) -> tuple[float, float]:
    """(u, v) of a hilum; the left lies a little higher than the right."""
    shift = thorax.body.heart_shift
    return (shift - 0.175, -0.10) if side == "right" else (shift + 0.185, -0.14)


def add_vessels(thorax: Thorax, congestion: float = 0.0) -> None:
    """Queue the vessels of both lungs on the canvas.

    Args:
        congestion: 0 = normal, lower lobe vessels larger; towards 1 the upper ones swell (cephalisation).
    """
    rng = np.random.default_rng([thorax.body.rng_seed, 7])
    for side, sign in SIDES.items():
        root = np.array(hilum(thorax, side))
        reach = thorax.body.half_width
        # Angle 0 points outwards, positive downwards.
        angles = np.linspace(-1.35, 1.25, NUM_TRUNKS) + rng.normal(0, 0.08, NUM_TRUNKS)
        for angle in angles:
            upper = np.clip(0.5 - angle / 2.0, 0.0, 1.0)
            calibre = (1.0 - 0.35 * upper) + congestion * (0.3 + 0.9 * upper)
            length = reach * rng.uniform(0.62, 0.85) * (1.0 - 0.12 * abs(angle))
            trunk = _branch(root, angle, length, rng.normal(0, 0.25), sign)
            _add(thorax, trunk, 0.20 * calibre, 0.022 * calibre)
            for _ in range(3):
                at = int(rng.integers(5, 13))
                turn = angle + rng.choice([-1, 1]) * rng.uniform(0.35, 0.75)
                twig = _branch(trunk[at], turn, length * rng.uniform(0.3, 0.5), rng.normal(0, 0.3), sign)
                _add(thorax, twig, 0.11 * calibre, 0.012 * calibre)


def hila(thorax: Thorax, congestion: float = 0.0) -> np.ndarray:
    """(n, n) density of the pulmonary arteries at the hila."""
    layer = np.zeros_like(thorax.canvas.v)
    for side, sign in SIDES.items():
        u, v = hilum(thorax, side)
        spot = thorax.canvas.ellipse(u + 0.035 * sign, v + 0.05, 0.065, 0.15, -0.35 * sign)
        layer += (0.17 + 0.12 * congestion) * np.exp(-spot)
    return layer.astype(np.float32)


def _branch(root: np.ndarray, angle: float, length: float, bend: float, sign: float) -> np.ndarray:
    t = np.linspace(0.0, 1.0, 18)[:, None]
    heading = angle + bend * t
    step = np.concatenate([sign * np.cos(heading), np.sin(heading)], axis=1) * (length / 17)
    return root + np.cumsum(step, axis=0) - step[0]


def _add(thorax: Thorax, points: np.ndarray, amplitude: float, width: float) -> None:
    taper = np.linspace(1.0, 0.28, len(points))
    thorax.canvas.add_line(points, amplitude * taper, np.maximum(width * taper, 0.006))
