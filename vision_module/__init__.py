"""From text and a reference film to a film: autoencoder, CLIP prompts, U-ViT or Stable Diffusion."""

from vision_module.autoencoder import decode_latents, encode_films
from vision_module.encoding import encode_latents, encode_prompts
from vision_module.film_sampler import DrawingConfig, FilmSampler
from vision_module.pipeline import UViTPipeline, VisionModel
from vision_module.sampling import denoise, draw_noise, make_solver
from vision_module.uvit import UViT

__all__ = [
    "DrawingConfig",
    "FilmSampler",
    "UViT",
    "UViTPipeline",
    "VisionModel",
    "decode_latents",
    "denoise",
    "draw_noise",
    "encode_films",
    "encode_latents",
    "encode_prompts",
    "make_solver",
]
