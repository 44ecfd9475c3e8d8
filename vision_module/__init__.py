"""From text and a reference film to a film: autoencoder, CLIP prompts, U-ViT or Stable Diffusion."""
