"""One study -> one film: measures of the body, layers of density, signs, and the film curve."""

import numpy as np

from data_module.demo.anatomy import SIDES, Body, Thorax
from data_module.demo.canvas import Canvas, Pose
from data_module.demo.devices import draw_device
from data_module.demo.signs import GRADE, Layers, draw_sign
from data_module.demo.study import DEVICES, Study
from data_module.demo.vessels import add_vessels, hila

_POSE, _GRAIN, _BODY = 1, 2, 3
BACKGROUND_FILL = 0.13  # blood and septa in an aerated lung


def render_film(study: Study, size: int) -> np.ndarray:
    """The film of a study, (size, size) uint8. Another size shows the same facts and the same geometry."""
    if size < 32:
        raise ValueError(f"size {size}: a phantom film needs at least 32 pixels (64, 128 and 256 are usual)")
    pose = _draw_pose(study)
    canvas = Canvas(size, pose)
    thorax = Thorax(canvas, _measure(study, pose))
    layers = Layers(
        filled=np.full_like(canvas.v, BACKGROUND_FILL),
        vessels=np.ones_like(canvas.v),
        added=np.zeros_like(canvas.v),
        bone_gap=np.ones_like(canvas.v),
    )
    airway = thorax.airway()
    for sign in study.signs:
        draw_sign(thorax, layers, sign)
    for sign in study.signs_of(DEVICES):
        layers.added += draw_device(thorax, sign)
    layers.added += canvas.draw_lines()
    return canvas.develop(_density(thorax, layers, airway, _congestion(study)), study.rng(_GRAIN, size))


def _density(thorax: Thorax, layers: Layers, airway: np.ndarray, congestion: float) -> np.ndarray:
    canvas = thorax.canvas
    add_vessels(thorax, congestion)
    vessels = canvas.draw_lines()
    lungs = thorax.lung["right"] + thorax.lung["left"]
    posterior, anterior = thorax.ribs()
    bones = posterior + anterior + thorax.shoulder_girdle()
    for side in SIDES:
        axis = thorax.clavicle(side)
        canvas.add_line(axis, thorax.body.bone * 0.15, 0.016)
        for edge in (-0.019, 0.019):  # the cortex of a long bone is seen edge-on
            canvas.add_line(axis + [0.0, edge], thorax.body.bone * 0.16, 0.010)
    bones = bones + canvas.draw_lines()
    density = thorax.tissue - thorax.thickness * lungs * (1.0 - layers.filled)
    density += thorax.mediastinum() - airway
    density += (vessels * lungs + hila(thorax, congestion) * (0.35 + 0.65 * lungs)) * layers.vessels
    density += (bones * layers.bone_gap + thorax.spine()) * np.clip(thorax.tissue * 1.4, 0.0, 1.0)
    density += _breasts(thorax)
    return np.maximum(density, 0.0) + layers.added


def _breasts(thorax: Thorax) -> np.ndarray | float:
    body = thorax.body
    if body.breast <= 0:
        return 0.0
    layer = 0.0
    for sign in SIDES.values():
        spot = thorax.canvas.ellipse(sign * 0.44, 0.06, 0.25 + 0.35 * body.breast, 0.26 + 0.45 * body.breast)
        lower = 0.35 + 0.65 / (1.0 + np.exp(-(thorax.canvas.v - 0.08) * 9.0))
        layer = layer + 1.1 * body.breast * np.clip(1.0 - spot, 0.0, 1.0) ** 0.4 * lower
    return np.asarray(layer, dtype=np.float32)


def _draw_pose(study: Study) -> Pose:
    rng = study.rng(_POSE)
    portable = study.view == "AP"
    return Pose(
        tilt=float(rng.normal(0, 0.03 if portable else 0.018)),
        scale=float(np.clip(rng.normal(1.06 if portable else 1.05, 0.035), 0.96, 1.16)),
        shift=(float(rng.normal(0, 0.025)), float(rng.normal(0.02, 0.025))),
        rotation=float(np.clip(rng.normal(0, 0.028 if portable else 0.014), -0.06, 0.06)),
        inspiration=float(np.clip(rng.normal(-0.05 if portable else 0.01, 0.03), -0.12, 0.06)),
        exposure=float(np.clip(rng.normal(0.02, 0.075), -0.13, 0.18)),
        contrast=float(np.clip(rng.normal(2.9 if portable else 3.2, 0.3), 2.3, 4.0)),
        blur=float(rng.uniform(0.2, 0.65)),
        noise=float(rng.uniform(0.008, 0.022) * (1.3 if portable else 1.0)),
    )


def _measure(study: Study, pose: Pose) -> Body:
    """The patient's own measures (the same at each visit), with pose, view and signs of size laid over."""
    patient = study.patient
    rng = np.random.default_rng([patient.body_seed, _BODY])
    female, habitus, portable = patient.sex == "F", patient.habitus, study.view == "AP"
    old = np.clip((study.age - 45) / 40, 0.0, 1.0)
    half_width = float(np.clip(rng.normal(0.70 if female else 0.73, 0.02) + 0.01 * habitus, 0.64, 0.80))
    dome = float(rng.normal(0.36, 0.025)) + pose.inspiration - 0.015 * habitus
    gap = float(rng.uniform(0.03, 0.07))
    ratio = float(np.clip(rng.normal(0.435, 0.018), 0.395, 0.47)) + (0.025 if portable else 0.0)
    knob, tortuous = float(rng.uniform(0.0, 0.02) + 0.03 * old), float(rng.uniform(0, 1) * old)
    domes = {"right": dome, "left": dome + gap}
    for sign in study.signs_of("Atelectasis"):
        for side in sign.sides:
            domes[side] -= sign.strength * (0.055 + 0.035 * GRADE[sign.severity or "mild"])
    for sign in study.signs_of("Cardiomegaly"):
        target = (0.565, 0.62, 0.69)[GRADE[sign.severity or "mild"]] + (0.015 if portable else 0.0)
        ratio += (target - ratio) * sign.strength
    wide = 0.0
    for sign in study.signs_of("Enlarged Cardiomediastinum"):
        wide = (0.065, 0.095, 0.135)[GRADE[sign.severity or "mild"]] * sign.strength
    return Body(
        half_width=half_width,
        apex_v=float(rng.normal(-0.76, 0.012)) + (0.03 if portable else 0.0),
        dome_v=domes,
        heart_ratio=ratio,
        mediastinum=wide,
        fat=float(np.clip(0.05 + 0.055 * habitus, 0.0, 0.2)),
        breast=float(np.clip(rng.normal(0.17, 0.04) + 0.03 * habitus, 0.08, 0.26)) if female else 0.0,
        rib_spacing=float(rng.normal(0.128, 0.004)),
        rib_slope=float(rng.normal(0.15, 0.025)),
        rib_phase=float(rng.uniform(-0.05, 0.05)),
        clavicle_v=float(rng.normal(-0.53, 0.02)) - (0.05 if portable else 0.0),
        scapula_u=half_width - (0.13 if portable else 0.02) + float(rng.normal(0, 0.02)),
        bone=float(np.clip(rng.normal(1.0, 0.1) - 0.22 * old * female, 0.65, 1.2)),
        heart_shift=pose.rotation,
        bubble=float(rng.uniform(0.01, 0.05)) if rng.random() < 0.75 else 0.0,
        knob=knob,
        tortuous=tortuous,
        rng_seed=patient.body_seed,
    )


def _congestion(study: Study) -> float:
    grades = [(0.45, 0.7, 0.95)[GRADE[s.severity or "mild"]] * s.strength for s in study.signs_of("Edema")]
    return max(grades, default=0.0)
