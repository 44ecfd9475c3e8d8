"""How well a film comes back from the autoencoder: MS-SSIM, PSNR and L1."""

import torch

# Five scales with a window of 11: the film is halved four times, and the smallest must exceed the window.
MS_SSIM_SIDE = (11 - 1) * 2**4


@torch.no_grad()
def score_reconstruction(images: torch.Tensor, films: torch.Tensor) -> dict[str, torch.Tensor]:
    """Means over the batch of films that came back, `images`, against the true `films`.

    Args:
        images, films: (B, 1, S, S) in [-1, 1].

    Returns:
        `ms_ssim` (Wang et al., 2003), or `ssim` for films of 160 pixels and less, which have too few for
        its five scales; `psnr` in dB, per film; `l1` in units of [-1, 1].
    """
    # Late: torchmetrics takes seconds, and a training step needs none of it.
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure,
        structural_similarity_index_measure,
    )

    # In float32: the windowed means of SSIM are differences of nearly equal numbers.
    with torch.autocast(images.device.type, enabled=False):
        images, films = images.float().clamp(-1.0, 1.0), films.float()
        if films.shape[-1] > MS_SSIM_SIDE:
            similarity = multiscale_structural_similarity_index_measure(images, films, data_range=2.0)
            scores = {"ms_ssim": torch.as_tensor(similarity)}
        else:
            similarity = structural_similarity_index_measure(images, films, data_range=2.0)
            scores = {"ssim": torch.as_tensor(similarity)}
        mse = (images - films).square().mean(dim=(1, 2, 3))
        # 8-bit films have no smaller error than half a gray level; it also keeps an exact copy finite.
        scores["psnr"] = 10.0 * torch.log10(4.0 / mse.clamp(min=(1.0 / 255.0) ** 2)).mean()
        scores["l1"] = (images - films).abs().mean()
    return scores
