"""Published weights -> our models: U-ViT, Stable Diffusion, MONAI, OpenCLIP."""
