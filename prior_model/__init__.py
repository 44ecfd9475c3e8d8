"""Prior: latents of a film -> report embeddings."""

from prior_model.objective import LatentReportSource, PriorLossConfig, prior_losses
from prior_model.prior import ReportPrior
from prior_model.vit_weights import load_vit_weights

__all__ = ["LatentReportSource", "PriorLossConfig", "ReportPrior", "load_vit_weights", "prior_losses"]
