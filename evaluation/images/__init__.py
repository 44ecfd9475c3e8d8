"""Metrics of films: do they look real, do they carry what was asked, and are they varied?"""

METRIC_FILES = ("fid", "kid", "coverage", "vendi", "auroc", "calibration", "controls", "ssim")
