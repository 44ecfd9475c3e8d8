"""Prior: latents of a film -> report embeddings; and text to latents, the baseline of drawing."""
