"""What half a turn leaves as it is, and what it changes: each predicted at its own scale.

A galaxy turned by half a circle is much the same. What is not – companions, the sky's noise, arms
that differ – is faint, and beside it the noise of a noised image is huge: a network that has to
say both at one scale leaves a part of that noise in what it says, and draws bent and ragged discs.
So there, of what half a turn changes, the network says with a voice of its own only by how much
the best linear guess is wrong (Karras et al., arXiv 2206.00364, eq. 7 and appendix B.6, here for
one of the two parts).
"""

import torch
from torch.nn import functional as F

from discovery.generator.process import Process

_NEAR = 5  # px, the side of a neighbourhood
_LIT = 0.5  # σ of the images above the sky, a tenth of a galaxy's centre
OWN_ABOVE = 0.25  # noise share; higher up to 0.5 discs stay ragged, lower the sky suffers


def changed(x: torch.Tensor) -> torch.Tensor:
    """What half a turn changes in images (B, C, H, W): half the difference from the turned one."""
    return (x - x.flip(2, 3)) / 2


def own_share(process: Process, time: torch.Tensor) -> torch.Tensor:
    """How far the network's second voice says the part half a turn changes, 0 to 1, (B, 1, 1, 1).

    None of it where there is little noise, for there that part is as well said with the rest;
    half of it at a noise share of OWN_ABOVE.
    """
    share = process.noise_share(time).to(time.device).float()[:, None, None, None]
    odds = share / (1 - share) / (OWN_ABOVE / (1 - OWN_ABOVE))
    return 1 - 1 / (1 + odds**4)


def put_together(
    process: Process,
    spread: float,
    noised: torch.Tensor,
    time: torch.Tensor,
    said: torch.Tensor,
    second: torch.Tensor,
) -> torch.Tensor:
    """What a network with two voices means.

    Args:
        spread: σ of what half a turn changes in an image.
        said: what it says of the whole, float (B, C, H, W) as `noised`.
        second: what it says, at its own scale, of the part that half a turn changes.

    Returns:
        a prediction of the process's target.
    """
    share, left = linear_guess(process, spread, time)
    odd = share * changed(noised) + left * changed(second)
    return said + own_share(process, time) * (odd - changed(said))


def weighted_loss(
    process: Process,
    spread: float,
    time: torch.Tensor,
    predicted: torch.Tensor,
    target: torch.Tensor,
) -> torch.Tensor:
    """Mean squared error, that of what half a turn changes over the σ it can have at most.

    Half-way between the plain loss, for which this part is too small to matter, and that of
    Karras et al. (eq. 8, λ = 1 / c_out²), for which it matters as much as all the rest.
    """
    _, left = linear_guess(process, spread, time)
    own = own_share(process, time)
    error = predicted - target
    odd = changed(error)
    return F.mse_loss(error, odd) + (odd.square() * (own / (left * 2**0.5) + 1 - own)).mean()


def without_faint_changes(image: torch.Tensor, faint: float) -> torch.Tensor:
    """Galaxies without what half a turn changes, where that is fainter than an error of σ `faint`.

    Each place keeps the share of it that its neighbourhood's power has over that of such an error
    (Lee 1980, IEEE PAMI 2, 165): arms that differ stay, and a general unlikeness goes. Where there
    is no light of a galaxy all is kept, or companions would go that are still faint amid noise.

    Args:
        image: float (B, C, H, W), of unit variance.
    """
    odd = changed(image)
    power = _of_neighbourhood(odd.square())
    light = _of_neighbourhood(image - odd)
    sky = light.flatten(1).median(1).values[:, None, None, None]
    on_galaxy = ((light - sky) / _LIT).clamp(0, 1)
    return image - on_galaxy * (faint**2 / power).clamp(max=1) * odd


def _of_neighbourhood(x: torch.Tensor) -> torch.Tensor:
    """Mean over channels and the places near each: (B, C, H, W) → (B, 1, H, W)."""
    padded = F.pad(x.mean(1, keepdim=True), (_NEAR // 2,) * 4, mode="reflect")
    return F.avg_pool2d(padded, _NEAR, stride=1)


def linear_guess(
    process: Process, spread: float, time: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best linear guess of the target from the noised image, for what half a turn changes.

    Returns:
        what to multiply the noised image by, and the σ of what is then still wrong, each float
        (B, 1, 1, 1), for an image of this spread under white noise of unit variance, of which
        half a turn changes half.
    """
    one = torch.ones(len(time), 1, 1, 1, device=time.device)
    none = torch.zeros_like(one)
    image, noise = process.noised(one, none, time), process.noised(none, one, time)
    of_image, of_noise = process.target(one, none, time), process.target(none, one, time)
    known = (image * spread).square() + noise.square() / 2
    share = (of_image * image * spread**2 + of_noise * noise / 2) / known
    left = (of_noise * image - of_image * noise).abs() * spread / (2 * known).sqrt()
    return share, left
