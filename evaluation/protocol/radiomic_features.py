"""Radiomic features of a film by pyradiomics, configured as published for FRD. Workers import this alone."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_GLCM = (
    *("Autocorrelation", "JointAverage", "ClusterProminence", "ClusterShade", "ClusterTendency", "Contrast"),
    *("Correlation", "DifferenceAverage", "DifferenceEntropy", "DifferenceVariance", "JointEnergy"),
    *("JointEntropy", "Imc1", "Imc2", "Idm", "Idmn", "Id", "Idn", "InverseVariance", "MaximumProbability"),
    *("SumEntropy", "SumSquares"),
)
# The published configuration of two-dimensional films (frd-score, extraction_2d.yaml).
SETTINGS: dict[str, Any] = {
    "imageType": {"Original": {}, "LoG": {"sigma": [2.0, 3.0, 4.0, 5.0]}, "Wavelet": {}},
    "featureClass": {"firstorder": [], "glcm": list(_GLCM), "glrlm": [], "glszm": [], "ngtdm": []},
    "setting": {
        "normalize": True,
        "normalizeScale": 100,
        "interpolator": "sitkBSpline",
        "resampledPixelSpacing": [2, 2, 0],
        "padDistance": 10,
        "preCrop": True,
        "force2D": True,
        "force2Ddimension": 0,
        "binWidth": 5,
        "voxelArrayShift": 300,
        "label": 1,
    },
}
Features = dict[str, float]


def describe_film(path: Path) -> Features | None:
    """pyradiomics' features of a whole film; None where it cannot say them. Names: theirs."""
    # The extra `frd` is not among what the types are checked with.
    import SimpleITK  # pyright: ignore[reportMissingImports]
    from radiomics import featureextractor, setVerbosity  # pyright: ignore[reportMissingImports]

    setVerbosity(logging.ERROR)
    with Image.open(path) as film:
        pixels = np.array(film.convert("L"))
    mask = np.ones(pixels.shape, np.int32)
    mask[0, 0] = 0  # as published: pyradiomics takes a mask of ones alone for none
    pair = [SimpleITK.JoinSeries(SimpleITK.GetImageFromArray(array)) for array in (pixels, mask)]
    try:
        found = featureextractor.RadiomicsFeatureExtractor(SETTINGS).execute(*pair)
    except RuntimeError:
        return None
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float | np.generic)}
    numbers |= {n: v for n, v in found.items() if isinstance(v, np.ndarray) and v.size == 1}
    return {name: float(value) for name, value in numbers.items()}
