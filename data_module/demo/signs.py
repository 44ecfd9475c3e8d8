"""Each finding as its radiographic sign, drawn into a `Layers` of one film.

Air that is replaced by fluid, cells or collapse is a share (`filled`, 0 = aerated, 1 = solid), so no opacity
can be denser than the lung is deep; calcium, metal and pleural lines are added density.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data_module.demo.anatomy import SIDES, Thorax, smooth_edge
from data_module.demo.study import Sign
from data_module.demo.vessels import hilum

GRADE = {"small": 0, "mild": 0, "moderate": 1, "large": 2, "severe": 2}
CM = 19.0  # centimeters in a body unit
ZONE_V = {"upper": -0.42, "middle": -0.10, "lower": 0.20}


@dataclass
class Layers:
    """What signs change: all (n, n) float32.

    Attributes:
        filled: share of the lung's air replaced, 0 to 1.
        vessels: how much of the vessels is seen, 0 to 1 (none in a pneumothorax).
        added: density added on top.
        bone_gap: share of bone left (a fracture line is a gap).
    """

    filled: np.ndarray
    vessels: np.ndarray
    added: np.ndarray
    bone_gap: np.ndarray

    def fill(self, share: np.ndarray) -> None:
        """Replace a share of what air is left."""
        self.filled = 1.0 - (1.0 - self.filled) * (1.0 - np.clip(share, 0.0, 1.0))


def draw_sign(thorax: Thorax, layers: Layers, sign: Sign) -> None:
    """Draw one sign, on each of its sides. Cardiomegaly and a wide mediastinum are measures of the body."""
    draw = DRAWERS.get(sign.finding)
    if draw is None or sign.strength <= 0:
        return
    for side in sign.sides or (None,):
        draw(thorax, layers, sign, side, np.random.default_rng([sign.seed, SIDES.get(side or "", 0) > 0]))


def _place(thorax: Thorax, side: str, site: str, rng: np.random.Generator) -> tuple[float, float]:
    """(u, v) of a point well inside the aerated lung of a zone."""
    v = ZONE_V[site] + rng.uniform(-0.05, 0.05)
    low = thorax.body.dome_v[side]
    v = min(v, low - 0.17)
    outer = np.interp(v, thorax.canvas.v[:, 0], thorax.outer[:, 0]) if site != "upper" else 0.50
    border = thorax.left_border if side == "left" else thorax.right_border
    inner = float(border(v)) + SIDES[side] * thorax.body.heart_shift
    share = rng.uniform(0.42, 0.62)
    return SIDES[side] * float(inner + share * (outer - inner)), v


def _opacity(thorax, layers, sign, side, rng) -> None:
    """Hazy, even patch with soft edges; vessels shine through."""
    u, v = _place(thorax, side, sign.site, rng)
    size = rng.uniform(0.17, 0.22)
    spot = thorax.canvas.ellipse(u, v, size, size * rng.uniform(0.9, 1.25), rng.uniform(-0.6, 0.6))
    layers.fill(0.62 * sign.strength * np.exp(-((0.75 * spot) ** 1.4)) * thorax.lung[side])


def _pneumonia(thorax, layers, sign, side, rng) -> None:
    """Many small fluffy patches in one zone, on a faint haze."""
    u, v = _place(thorax, side, sign.site, rng)
    canvas = thorax.canvas
    haze = np.exp(-canvas.ellipse(u, v, 0.24, 0.22))
    share = 0.26 * haze
    for _ in range(13):
        du, dv = rng.normal(0, 0.10), rng.normal(0, 0.085)
        r = rng.uniform(0.032, 0.060)
        spot = canvas.ellipse(u + du, v + dv, r * rng.uniform(0.8, 1.6), r, rng.uniform(0, 3))
        share = 1.0 - (1.0 - share) * (1.0 - rng.uniform(0.55, 0.9) * np.exp(-spot))
    layers.fill(sign.strength * share * thorax.lung[side])


def _consolidation(thorax, layers, sign, side, rng) -> None:
    """A solid lobe with one sharp fissure and dark air bronchograms."""
    canvas, fissure = thorax.canvas, rng.uniform(-0.16, -0.08)
    slope = 0.10 * (thorax.distance - 0.3)
    if sign.site == "upper":
        lobe = smooth_edge(fissure + slope - canvas.v, 0.025)
        lobe *= smooth_edge(canvas.v - thorax.body.apex_v - rng.uniform(0.06, 0.16), 0.12)
    else:
        top = fissure + 0.16 + 0.10 * rng.uniform() + 0.35 * (thorax.distance - 0.3)
        lobe = smooth_edge(canvas.v - top, 0.05)
    u, v = hilum(thorax, side)
    for angle in np.linspace(-1.2, -0.3, 4) if sign.site == "upper" else np.linspace(0.15, 1.15, 4):
        t = np.linspace(0.12, 0.46, 10)
        points = np.stack([u + SIDES[side] * t * np.cos(angle), v + t * np.sin(angle)], axis=1)
        canvas.add_line(points, np.linspace(0.6, 0.3, 10), 0.014)
    bronchi = canvas.draw_lines()
    share = (0.92 * lobe - 0.75 * bronchi).clip(0.0) * sign.strength
    layers.fill(share * thorax.lung[side])
    layers.vessels *= 1.0 - 0.8 * lobe * thorax.lung[side] * sign.strength


def _edema(thorax, layers, sign, side, rng) -> None:
    """Bat-wing haze about the hila, Kerley B lines at the bases; the vessels are swollen by `vessels.py`."""
    grade = GRADE[sign.severity or "mild"]
    u, v = hilum(thorax, side)
    wing = thorax.canvas.ellipse(u + SIDES[side] * 0.13, v + 0.07, 0.21 + 0.035 * grade, 0.30 + 0.05 * grade)
    share = (0.40, 0.52, 0.66)[grade] * np.exp(-(wing**1.3)) + (0.08, 0.12, 0.17)[grade]
    grain = rng.normal(0, 1, (14, 14))
    at = np.clip((np.stack([thorax.canvas.v, thorax.canvas.u]) + 1.0) * 6.5, 0, 12.99)
    share *= 1.0 + 0.22 * _bilinear(grain, at)
    layers.fill(sign.strength * share * thorax.lung[side])
    outer = thorax.body.half_width
    for row in np.linspace(0.18, 0.42, 3 + grade):
        end = outer - 0.03
        line = np.array([[end - rng.uniform(0.09, 0.13), row], [end, row + 0.01]]) * [SIDES[side], 1.0]
        thorax.canvas.add_line(line, 0.20 * sign.strength, 0.009)


def _bilinear(grid: np.ndarray, at: np.ndarray) -> np.ndarray:
    low = at.astype(np.int64)
    (y, x), (fy, fx) = low, (at - low).astype(np.float32)
    grid = grid.astype(np.float32)
    top = grid[y, x] * (1 - fx) + grid[y, x + 1] * fx
    return top * (1 - fy) + (grid[y + 1, x] * (1 - fx) + grid[y + 1, x + 1] * fx) * fy


def _atelectasis(thorax, layers, sign, side, rng) -> None:
    """Plate-like bands above a raised hemidiaphragm (`film.py` raises it)."""
    low = thorax.body.dome_v[side]
    grade = GRADE[sign.severity or "mild"]
    for number in range(2 + grade):
        v = low - 0.075 - 0.105 * number + rng.uniform(-0.02, 0.02)
        start, length = rng.uniform(0.22, 0.30), rng.uniform(0.26, 0.36)
        rise = rng.uniform(-0.07, 0.03)
        t = np.linspace(0.0, 1.0, 12)
        points = np.stack(
            [SIDES[side] * (start + length * t), v + rise * t + 0.02 * np.sin(np.pi * t)], axis=1
        )
        taper = 0.55 + 0.45 * np.sin(np.pi * t)
        thorax.canvas.add_line(
            points, rng.uniform(0.30, 0.44) * sign.strength * taper, rng.uniform(0.014, 0.024)
        )


def _effusion(thorax, layers, sign, side, rng) -> None:
    """Fluid with a meniscus that rises along the lateral wall; a small one only blunts the angle."""
    grade = GRADE[sign.severity or "small"]
    low = thorax.body.dome_v[side]
    level = low + (0.075, -0.10, -0.42)[grade] + rng.uniform(-0.03, 0.03)
    across = np.clip((thorax.distance - 0.25) / (thorax.body.half_width - 0.25), 0.0, 1.1)
    top = level - (0.20, 0.15, 0.16)[grade] * across**3 - 0.03 * np.clip(1 - 4 * across, 0, 1)
    fluid = smooth_edge(thorax.canvas.v - top, 0.035) * thorax.lung[side] * sign.strength
    layers.fill(0.97 * fluid)
    layers.added += 0.13 * fluid
    layers.vessels *= 1.0 - 0.9 * fluid


def _pneumothorax(thorax, layers, sign, side, rng) -> None:
    """A bare, dark rim about a smaller lung whose pleura shows as a thin line."""
    grade = GRADE[sign.severity or "small"]
    shrink, drop = ((0.13, 0.19), (0.21, 0.27), (0.36, 0.38))[grade]
    shrink *= rng.uniform(0.9, 1.1)
    small = thorax.lung_shape(side, shrink, drop)
    bare = thorax.lung[side] * (1.0 - small) * sign.strength
    pleura = small * (1.0 - small) * 4.0 * thorax.lung[side]
    layers.vessels *= 1.0 - bare
    layers.fill((0.07, 0.13, 0.30)[grade] * small * thorax.lung[side] * sign.strength)
    layers.filled -= 0.16 * bare  # no blood, no septa: blacker than lung
    layers.added += (0.19 * pleura - 0.05 * bare) * sign.strength


def _lesion(thorax, layers, sign, side, rng) -> None:
    """A round, dense, well-defined ball."""
    u, v = _place(thorax, side, sign.site, rng)
    radius = sign.size_cm / 2.0 / CM
    ball = thorax.canvas.ellipse(u, v, radius, radius * rng.uniform(0.9, 1.1), rng.uniform(0, 3))
    angle = np.arctan2(thorax.canvas.v - v, thorax.canvas.u - u)
    ball *= 1.0 + 0.10 * np.cos(3 * angle + rng.uniform(0, 6)) + 0.07 * np.cos(5 * angle + rng.uniform(0, 6))
    depth = np.sqrt(np.clip(1.0 - ball, 0.0, 1.0)) * (0.40 + 1.0 * radius)
    layers.added += sign.strength * 0.58 * np.tanh(2.6 * depth) * (0.3 + 0.7 * thorax.lung[side])


def _pleural_other(thorax, layers, sign, side, rng) -> None:
    """Thickened pleura along the lateral wall and over the apex, or calcified plaques."""
    canvas, wall = thorax.canvas, thorax.outer - thorax.distance
    wave = 0.5 + 0.5 * np.sin(canvas.v * rng.uniform(14, 20) + rng.uniform(0, 6))
    here = thorax.side(side) * sign.strength
    if sign.kind == "thickening":
        rind = smooth_edge(0.062 + 0.02 * wave - wall, 0.025) * smooth_edge(canvas.v + 0.5, 0.1)
        top = thorax.body.apex_v + 0.155 + 0.03 * wave
        cap = smooth_edge(top - canvas.v, 0.03)
        layers.fill(0.80 * np.maximum(rind, cap) * thorax.lung[side] * here)
        return
    for _ in range(4):
        v = rng.uniform(-0.30, 0.26)
        at = float(np.interp(v, canvas.v[:, 0], thorax.outer[:, 0])) - rng.uniform(0.06, 0.16)
        plaque = canvas.ellipse(
            SIDES[side] * at, v, rng.uniform(0.022, 0.034), rng.uniform(0.05, 0.085), -0.3
        )
        layers.added += 0.52 * smooth_edge(1.0 - plaque, 0.8) * here
    low = np.asarray(thorax.diaphragm(side, thorax.distance), dtype=np.float32)
    sheet = np.exp(-(((canvas.v - low + 0.005) / 0.016) ** 2))
    sheet *= np.exp(-(((thorax.distance - 0.36) / 0.13) ** 2)) * here
    layers.added += 0.42 * sheet


def _fracture(thorax, layers, sign, side, rng) -> None:
    """A gap in the bone and displaced, overlapping ends that stand out bright."""
    if sign.kind == "clavicle":
        breaks, across, slope, step = [tuple(thorax.clavicle(side)[13])], 0.12, -0.15, 0.036
    else:
        breaks, across, slope, step = _rib_breaks(thorax, side, rng), 0.10, 0.45, 0.026
    t = np.linspace(0.0, 1.0, 6)
    for u, v in breaks:
        gap = np.exp(-thorax.canvas.ellipse(u, v, 0.06, 0.06))
        layers.bone_gap *= 1.0 - 0.95 * gap * sign.strength
        layers.added -= 0.05 * gap * sign.strength
        for end in (-1.0, 1.0):  # inner and outer end, side by side where they overlap
            out = end * across * (1.0 - 1.3 * t)
            points = np.stack([u + SIDES[side] * out, v + slope * out + end * step], axis=1)
            thorax.canvas.add_line(points, 0.72 * sign.strength, 0.0165)


def _rib_breaks(thorax, side, rng) -> list[tuple[float, float]]:
    """(u, v) of breaks of three or four neighboring ribs, in a row near the lateral wall."""
    body, share = thorax.body, rng.uniform(0.70, 0.82)
    first = int(np.ceil((-0.34 - body.rib_phase) / body.rib_spacing)) + int(rng.integers(0, 2))
    breaks = []
    for number in range(first, first + int(rng.integers(3, 5))):
        v = body.rib_phase + number * body.rib_spacing
        v += float(thorax.rib_course(share, v))
        outer = float(np.interp(v, thorax.canvas.v[:, 0], thorax.outer[:, 0]))
        breaks.append((SIDES[side] * share * outer, v))
    return breaks


DRAWERS: dict[str, Callable] = {
    "Lung Opacity": _opacity,
    "Lung Lesion": _lesion,
    "Edema": _edema,
    "Consolidation": _consolidation,
    "Pneumonia": _pneumonia,
    "Atelectasis": _atelectasis,
    "Pneumothorax": _pneumothorax,
    "Pleural Effusion": _effusion,
    "Pleural Other": _pleural_other,
    "Fracture": _fracture,
}
