"""Prior: latents of a film -> report embeddings."""

from prior_model.objective import LatentReportSource, PriorLossConfig, prior_losses
from prior_model.prior import ReportPrior

__all__ = ["LatentReportSource", "PriorLossConfig", "ReportPrior", "prior_losses"]
