"""The thorax of the phantom: its measures, and the layers of density that make a film.

Body coordinates: u from the midline (image left = the patient's right = negative), v downwards, both about
[-1, 1] over the film. Densities are path attenuation: air 0, the soft tissue of the chest about 1.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from data_module.demo.canvas import Canvas, sigmoid

APEX_V, NECK_V, CARINA_V = -0.76, -0.9, -0.30
SIDES = {"right": -1.0, "left": 1.0}


@dataclass(frozen=True)
class Body:
    """Measures of one thorax, in body units."""

    half_width: float  # lung field, widest
    apex_v: float
    dome_v: dict[str, float]  # top of each hemidiaphragm
    heart_ratio: float  # cardiothoracic ratio
    mediastinum: float  # widening of the upper mediastinum, 0 = normal
    fat: float  # soft tissue outside the ribs
    breast: float  # 0 = none
    rib_spacing: float
    rib_slope: float
    rib_phase: float
    clavicle_v: float
    scapula_u: float
    bone: float  # mineral: strength of bones
    heart_shift: float  # rotation of the patient
    bubble: float  # gastric air
    knob: float  # aortic knob
    tortuous: float
    rng_seed: int


def smooth_edge(distance: np.ndarray, width: float) -> np.ndarray:
    """1 where distance > 0, 0 where < 0, over a soft edge of about `width` body units."""
    return sigmoid(distance * np.float32(2.5 / width))


def _spaced(at: np.ndarray, least: float = 0.04) -> np.ndarray:
    """Knots in rising order, also where a high diaphragm pushes the heart up into the hila."""
    steps = least * np.arange(len(at))
    return np.maximum.accumulate(at - steps) + steps


class Thorax:
    """Soft masks of the anatomy on one canvas. All arrays (n, n) float32, masks in [0, 1]."""

    def __init__(self, canvas: Canvas, body: Body):
        self.canvas, self.body = canvas, body
        self.distance = np.abs(canvas.u)  # from the cage's midline
        self.is_left = smooth_edge(canvas.u, 0.02)
        self.midline_u = canvas.u - np.float32(body.heart_shift)
        self._borders()
        self.outer = self._outer_edge(body.half_width, body.apex_v)
        self.lung = {side: self._lung(side) for side in SIDES}
        self.thickness = self._lung_thickness()
        self.tissue = self._tissue()

    # Curves ---------------------------------------------------------------------------------------------

    def side(self, side: str) -> np.ndarray:
        """Mask of one half of the film."""
        return self.is_left if side == "left" else 1.0 - self.is_left

    def _borders(self) -> None:
        """Right and left borders of heart and mediastinum, as distance from the midline at each v."""
        body = self.body
        heart = 2.0 * body.half_width * body.heart_ratio
        right, left, wide = 0.33 * heart, 0.67 * heart, body.mediastinum
        low = 0.5 * (body.dome_v["right"] + body.dome_v["left"])
        self.heart_low = low
        at = np.array(
            [
                -1.0,
                body.apex_v,
                -0.54,
                -0.38,
                -0.22,
                low - 0.42,
                low - 0.33,
                low - 0.16,
                low - 0.01,
                low + 0.3,
            ]
        )
        out = [0.12, 0.105, 0.10, 0.112, 0.115, 0.1 * right + 0.105, 0.72 * right + 0.02, right, 0.97 * right]
        out.append(0.5 * right)
        bulge = np.array([0.2, 0.5, 1.0, 1.2, 1.0, 0.4, 0.1, 0.0, 0.0, 0.0])
        self.right_border = PchipInterpolator(_spaced(at), np.array(out) + wide * bulge)
        knob = 0.150 + body.knob
        at = np.array(
            [-1.0, body.apex_v, -0.55, -0.43, -0.32, -0.23, -0.12]
            + [low - 0.37, low - 0.26, low - 0.13, low + 0.0, low + 0.3]
        )
        out = [0.10, 0.085, 0.092, knob, 0.128, 0.128, 0.17]
        out += [0.35 * left + 0.06, 0.76 * left, 0.95 * left, left, 0.6 * left]
        bulge = np.array([0.2, 0.5, 0.9, 1.1, 1.3, 1.2, 0.8, 0.15, 0.0, 0.0, 0.0, 0.0])
        self.left_border = PchipInterpolator(_spaced(at), np.array(out) + wide * bulge)
        v = np.clip(self.canvas.v, -1.0, float(low) + 0.3)
        grid = np.linspace(-1.0, float(low) + 0.3, 256)
        self.inner = {
            "right": np.interp(v, grid, self.right_border(grid)).astype(np.float32),
            "left": np.interp(v, grid, self.left_border(grid)).astype(np.float32),
        }

    def _outer_edge(self, half_width: float, apex_v: float) -> np.ndarray:
        """Lateral edge of the lung at each v: rises from the apex, widest below the middle."""
        t = np.clip((self.canvas.v - apex_v) / np.float32(0.62 - apex_v), 0.0, 1.0)
        grown = (1.0 - (1.0 - np.minimum(t / 0.72, 1.0)) ** 2.3) ** 0.62
        return (0.26 + (half_width - 0.26) * grown - 0.05 * np.maximum(t - 0.8, 0) / 0.2).astype(np.float32)

    def diaphragm(self, side: str, distance: np.ndarray | float) -> np.ndarray | float:
        """v of the hemidiaphragm at a distance from the midline: a dome that falls to the lateral angle."""
        top, peak = self.body.dome_v[side], 0.30 if side == "right" else 0.34
        lateral = np.clip((distance - peak) / (self.body.half_width - peak), 0.0, 1.0)
        medial = np.maximum(peak - distance, 0.0) / peak
        return top + 0.21 * lateral**2.6 + 0.07 * medial**2

    def lung_shape(self, side: str, shrink: float = 0.0, drop: float = 0.0) -> np.ndarray:
        """Mask of a lung; with `shrink` (of its width) and `drop` (of its apex), of a collapsed lung."""
        body, v = self.body, self.canvas.v
        outer = self.outer - np.float32(shrink) * smooth_edge(0.62 - v, 0.5)
        top = body.apex_v + drop + 0.16 * (np.abs(self.distance - 0.27) / 0.3) ** 2
        mask = smooth_edge(outer - self.distance, 0.025) * smooth_edge(v - top.astype(np.float32), 0.04)
        low = np.asarray(self.diaphragm(side, self.distance), dtype=np.float32)
        return mask * smooth_edge(low - v, 0.022) * self.side(side)

    def _lung(self, side: str) -> np.ndarray:
        toward = self.midline_u * np.float32(SIDES[side])
        return self.lung_shape(side) * smooth_edge(toward - self.inner[side], 0.028)

    def _lung_thickness(self) -> np.ndarray:
        """Density that air takes away where a lung is full depth; less near the cage's edge and the bases."""
        across = np.clip(self.distance / np.maximum(self.outer, 0.05), 0.0, 1.0)
        along = np.clip((self.canvas.v - self.body.apex_v) / 0.35, 0.0, 1.0)
        return (0.70 * np.sqrt(1.0 - 0.55 * across**4) * (0.72 + 0.28 * along)).astype(np.float32)

    def _tissue(self) -> np.ndarray:
        """Soft tissue of trunk, neck, shoulders and arms, without the lungs' air."""
        body, v, r = self.body, self.canvas.v, self.distance
        trunk = body.half_width + 0.09 + body.fat
        fold = sigmoid((np.float32(-0.24) - v) * 14.0)
        half = trunk + (1.5 - trunk) * fold + 0.03 * np.maximum(v, 0)
        shoulder = -0.74 - 0.5 * np.exp(-((r / 0.27) ** 2)) + 0.16 * r**2 - 0.25 * body.fat
        inside = smooth_edge(half - r, 0.03) * smooth_edge(v - shoulder.astype(np.float32), 0.05)
        depth = np.sqrt(np.clip(1.0 - 0.75 * (r / np.maximum(half, 0.1)) ** 4, 0.05, 1.0))
        depth *= 0.72 + 0.28 * sigmoid((v + 0.72) * 9.0)  # the neck and shoulder tops are thin
        return (inside * depth * (1.02 + 0.35 * body.fat)).astype(np.float32)

    # Layers ---------------------------------------------------------------------------------------------

    def mediastinum(self) -> np.ndarray:
        """Added density of heart, great vessels, abdomen and gastric bubble."""
        body, v, canvas = self.body, self.canvas.v, self.canvas
        right = smooth_edge(self.midline_u + self.inner["right"], 0.04)
        left = smooth_edge(self.inner["left"] - self.midline_u, 0.04)
        core = right * left
        heart = np.exp(-(((self.midline_u - 0.1) / 0.36) ** 2) - ((v - self.heart_low + 0.15) / 0.33) ** 2)
        below = 0.0
        for side in SIDES:
            low = np.asarray(self.diaphragm(side, self.distance), dtype=np.float32)
            below = below + smooth_edge(v - low, 0.03) * self.side(side)
        below = below * smooth_edge(self.body.half_width + 0.05 + 0.6 * body.fat - self.distance, 0.06)
        liver = 0.28 - 0.06 * self.is_left
        layer = core * (0.09 + 0.05 * sigmoid((v + 0.35) * 8.0) + 0.23 * heart) + below * liver * (
            1 - 0.35 * core * heart
        )
        if body.bubble > 0:
            low = body.dome_v["left"]
            air = canvas.ellipse(0.36, low + 0.10 + body.bubble / 2, 0.13 + body.bubble, 0.045 + body.bubble)
            layer -= 0.5 * smooth_edge(1.0 - air, 0.6) * smooth_edge(v - low - 0.035, 0.02)
        return layer.astype(np.float32)

    def spine(self) -> np.ndarray:
        """Vertebral column with bodies, discs and spinous processes, seen through the mediastinum."""
        v, u = self.canvas.v, self.canvas.u - np.float32(0.15 * self.body.heart_shift)
        column = smooth_edge(0.088 + 0.012 * v - np.abs(u), 0.03)
        phase = (v - self.body.rib_phase) / np.float32(0.128)
        wave = np.cos(2 * np.pi * phase)
        discs = smooth_edge(wave + 0.72, 0.9)
        process = np.exp(-(((u) / 0.018) ** 2)) * np.maximum(wave, 0)
        return (self.body.bone * (0.13 * column * (0.45 + 0.55 * discs) + 0.05 * process)).astype(np.float32)

    def ribs(self) -> tuple[np.ndarray, np.ndarray]:
        """Posterior and anterior arcs. The arcs of a side differ by a shift only, so one pass draws all."""
        body, v, r = self.body, self.canvas.v, self.distance
        s = np.clip(r / np.maximum(self.outer + 0.015, 0.1), 0.0, 1.2)
        inside = smooth_edge(self.outer + 0.03 - r, 0.02) * smooth_edge(v - body.apex_v - 0.02, 0.05)
        back = self.rib_course(s, v)
        phase = (v - body.rib_phase - back) / np.float32(body.rib_spacing)
        away = np.abs(phase - np.round(phase)) * np.float32(body.rib_spacing)
        posterior = smooth_edge(0.028 - away, 0.014) * (0.5 + 0.5 * (away / 0.026).clip(0, 1.2) ** 2)
        posterior *= inside * smooth_edge(r - 0.07, 0.03) * smooth_edge(0.74 - v, 0.1)
        front = back + 0.055 + (0.34 + 0.12 * v) * np.maximum(1.0 - s, 0.0) ** 0.85
        phase = (v - body.rib_phase - front) / np.float32(body.rib_spacing)
        away = np.abs(phase - np.round(phase)) * np.float32(body.rib_spacing)
        anterior = smooth_edge(0.028 - away, 0.022) * inside
        anterior *= smooth_edge(r - 0.26, 0.10) * smooth_edge(0.32 - v, 0.12) * smooth_edge(v + 0.60, 0.08)
        wall = np.exp(-(((r - self.outer - 0.012) / 0.016) ** 2)) * smooth_edge(0.7 - v, 0.1)
        wall *= smooth_edge(v - body.apex_v - 0.1, 0.05)
        strength = np.float32(body.bone)
        fade = 1.0 - 0.5 * smooth_edge(v - body.dome_v["right"] - 0.1, 0.1)
        return (
            strength * (0.19 * posterior * fade + 0.07 * wall).astype(np.float32),
            (strength * 0.10 * anterior).astype(np.float32),
        )

    def rib_course(self, s: np.ndarray | float, v: np.ndarray | float) -> np.ndarray | float:
        """How far below its start at the spine a posterior rib lies, at share s of the way to the wall."""
        slope = self.body.rib_slope * (1.0 + 0.35 * v)
        return slope * (1.35 * s**2.2 - 0.35 * np.sin(np.pi * np.minimum(s, 1.0)))

    def shoulder_girdle(self) -> np.ndarray:
        """Scapulae and humeral heads."""
        canvas, body = self.canvas, self.body
        layer = np.zeros_like(canvas.v)
        for sign in SIDES.values():
            blade_u = body.scapula_u
            blade = canvas.ellipse(sign * (blade_u + 0.13), -0.30, 0.15, 0.34, sign * 0.22)
            edge = np.exp(-(((np.sqrt(blade) - 1.0) / 0.07) ** 2)) * smooth_edge(
                np.float32(blade_u + 0.16) - sign * canvas.u, 0.1
            )
            head = canvas.ellipse(sign * (blade_u + 0.33), -0.56, 0.105, 0.12)
            layer += 0.06 * smooth_edge(1.0 - blade, 0.4) + 0.09 * edge + 0.28 * smooth_edge(1.0 - head, 0.5)
            self._add_arm(sign, blade_u)
        return (body.bone * layer).astype(np.float32)

    def _add_arm(self, sign: float, blade_u: float) -> None:
        """Humeral shaft and the scapular spine, as lines."""
        shaft = np.array([[blade_u + 0.37, -0.5], [blade_u + 0.44, -0.1], [blade_u + 0.47, 0.5]])
        spine = np.array([[blade_u + 0.02, -0.46], [blade_u + 0.17, -0.60], [blade_u + 0.28, -0.68]])
        for points, amplitude, width in ((shaft, 0.32, 0.045), (spine, 0.10, 0.016)):
            self.canvas.add_line(points * [sign, 1.0], self.body.bone * amplitude, width)

    def clavicle(self, side: str) -> np.ndarray:
        """(P, 2) points of the clavicle's axis, from the sternum outwards."""
        t = np.linspace(0.0, 1.0, 25)
        u = 0.075 + 0.70 * t + 0.5 * self.body.heart_shift * SIDES[side]
        v = self.body.clavicle_v + 0.055 * np.sin(2 * np.pi * (t - 0.04)) - 0.14 * t
        return np.stack([u * SIDES[side], v], axis=1)

    def airway(self) -> np.ndarray:
        """(n, n) density that the air of trachea and main bronchi takes away, as a positive layer."""
        bent = self.body.heart_shift
        trachea = np.array([[0.4 * bent, -1.15], [0.7 * bent, -0.6], [bent + 0.012, CARINA_V]])
        right = np.array([[bent + 0.01, CARINA_V], [bent - 0.075, -0.20], [bent - 0.14, -0.12]])
        left = np.array([[bent + 0.015, CARINA_V], [bent + 0.1, -0.225], [bent + 0.18, -0.17]])
        for points, amplitude, width in ((trachea, 0.28, 0.026), (right, 0.11, 0.016), (left, 0.09, 0.016)):
            self.canvas.add_line(points, amplitude, width)
        return self.canvas.draw_lines()
