"""Support devices: metal and plastic that lie over everything, drawn as bright lines."""

import numpy as np
from scipy.interpolate import PchipInterpolator

from data_module.demo.anatomy import CARINA_V, SIDES, Thorax, smooth_edge
from data_module.demo.signs import CM
from data_module.demo.study import Sign


def draw_device(thorax: Thorax, sign: Sign) -> np.ndarray | float:
    """Queue a device's lines on the canvas; returns density that is no line (a generator can), or 0."""
    rng = np.random.default_rng([sign.seed, 11])
    side = SIDES.get(sign.side or "", 1.0)
    heart = thorax.body.heart_shift
    low = thorax.heart_low
    match sign.kind:
        case "endotracheal tube":
            tip = CARINA_V - sign.size_cm / CM
            _wire(thorax, [(0.3 * heart, -1.2), (0.6 * heart, -0.8), (heart + 0.01, tip)], 0.62, 0.016)
        case "enteric tube":
            end = thorax.body.dome_v["left"] + 0.24
            path = [(0.3 * heart + 0.02, -1.2), (heart - 0.03, -0.5), (heart + 0.0, 0.0)]
            _wire(thorax, [*path, (heart + 0.07, low), (0.27, end), (0.40, end + 0.04)], 0.55, 0.011)
        case "central line":
            neck = [(side * 0.26, -1.1), (side * 0.20, -0.82), (side * 0.14, -0.60)]
            _wire(thorax, [*neck, *_caval(heart, side, rng)], 0.60, 0.011)
        case "picc":
            arm = [(side * 1.05, -0.30), (side * 0.80, -0.50), (side * 0.5, -0.585), (side * 0.2, -0.56)]
            _wire(thorax, [*arm, *_caval(heart, side, rng)], 0.5, 0.010)
        case "chest tube":
            base = thorax.body.dome_v["right" if side < 0 else "left"]
            path = [(side * 1.05, base - 0.02), (side * 0.66, base - 0.12), (side * 0.42, -0.2)]
            _wire(thorax, [*path, (side * 0.33, -0.55)], 0.55, 0.018)
        case "valve":
            for number, v in enumerate(np.linspace(-0.50, 0.18, 6)):
                bend = 0.012 * (-1) ** number
                loop = [(0.055, v), (0.0, v - 0.028 + bend), (-0.055, v), (0.0, v + 0.028 + bend), (0.055, v)]
                thorax.canvas.add_line(np.array(loop) + [heart, 0.0], 0.95, 0.011)
            turn = np.linspace(0.0, 2 * np.pi, 20)
            ring = np.stack([0.05 + 0.055 * np.cos(turn), low - 0.26 + 0.035 * np.sin(turn)], axis=1)
            thorax.canvas.add_line(ring + [heart, 0.0], 0.95, 0.012)
        case "pacemaker":
            return _pacemaker(thorax, side, heart, low)
    return 0.0


def _caval(heart: float, side: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Brachiocephalic vein and superior vena cava, to a tip near the right atrium."""
    tip = -0.10 + rng.uniform(-0.08, 0.06)
    if side > 0:
        return [(heart + 0.03, -0.50), (heart - 0.08, -0.38), (heart - 0.105, tip)]
    return [(heart - 0.11, -0.42), (heart - 0.105, tip)]


def _pacemaker(thorax: Thorax, side: float, heart: float, low: float) -> np.ndarray:
    u, v = side * 0.52, -0.42
    box = (np.abs((thorax.canvas.u - u) / 0.10) ** 4) + (np.abs((thorax.canvas.v - v) / 0.085) ** 4)
    vein = [(u - side * 0.06, v - 0.06), (side * 0.38, -0.56), (side * 0.18, -0.52)]
    vein += [(heart + 0.02, -0.47), (heart - 0.08, -0.36)] if side > 0 else [(heart - 0.11, -0.40)]
    atrium = [(heart - 0.12, -0.05), (heart - 0.11, low - 0.25), (heart - 0.055, low - 0.30)]
    apex = 0.67 * 2.0 * thorax.body.half_width * thorax.body.heart_ratio
    ventricle = [(heart - 0.125, low - 0.2), (heart - 0.03, low - 0.05), (heart + 0.7 * apex, low - 0.07)]
    for end in (atrium, ventricle):
        _wire(thorax, [*vein, *end], 0.65, 0.010)
    return (0.95 * smooth_edge(1.0 - box, 0.4)).astype(np.float32)


def _wire(thorax: Thorax, points: list[tuple[float, float]], amplitude: float, width: float) -> None:
    """A smooth curve through the points."""
    knots = np.array(points)
    place = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(knots, axis=0).T))])
    at = np.linspace(0.0, place[-1], 60)
    thorax.canvas.add_line(PchipInterpolator(place, knots, axis=0)(at), amplitude, width)
