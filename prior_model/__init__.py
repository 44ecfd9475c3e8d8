"""Prior: latents of a film -> report embeddings; and text to latents, the baseline of drawing."""

from prior_model.film_prior import CODEC, ENCODER, FilmReportSource, FilmToReport
from prior_model.objective import LatentReportSource, PriorLossConfig, ReportTargets, prior_losses
from prior_model.prior import ReportPrior
from prior_model.text_to_latent import TextLatentSource, TextToLatent, text_to_latent_losses
from prior_model.vit_weights import load_vit_weights

__all__ = [
    "CODEC",
    "ENCODER",
    "FilmReportSource",
    "FilmToReport",
    "LatentReportSource",
    "PriorLossConfig",
    "ReportPrior",
    "ReportTargets",
    "TextLatentSource",
    "TextToLatent",
    "load_vit_weights",
    "prior_losses",
    "text_to_latent_losses",
]
