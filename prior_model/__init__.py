"""Prior: latents of a film -> report embeddings; and text to latents, the baseline of drawing."""

from prior_model.objective import LatentReportSource, PriorLossConfig, prior_losses
from prior_model.prior import ReportPrior
from prior_model.text_to_latent import TextLatentSource, TextToLatent, text_to_latent_losses

__all__ = [
    "LatentReportSource",
    "PriorLossConfig",
    "ReportPrior",
    "TextLatentSource",
    "TextToLatent",
    "prior_losses",
    "text_to_latent_losses",
]
