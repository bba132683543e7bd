"""What half a turn leaves as it is, and what it changes: each predicted at its own scale.

A galaxy turned by half a circle is much the same. What is not – companions, the sky's noise, arms
that differ – is faint, and beside it the noise of a noised image is huge: a network that has to
say both at one scale leaves a part of that noise in what it says, and draws bent and ragged discs.
So of what half a turn changes, the network says only by how much the best linear guess is wrong
(Karras et al., arXiv 2206.00364, eq. 7 and appendix B.6, here for one of the two parts).
"""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from discovery.generator.process import Process

_EVEN, _STEEP = 3.0, 4


def changed(x: torch.Tensor) -> torch.Tensor:
    """What half a turn changes in images (B, C, H, W): half the difference from the turned one."""
    return (x - x.flip(2, 3)) / 2


def scaled(
    process: Process, spread: float, noised: torch.Tensor, time: torch.Tensor, said: torch.Tensor
) -> torch.Tensor:
    """What a network means that says the part half a turn changes at that part's scale.

    Args:
        spread: σ of what half a turn changes in an image.
        said: what the network says, float (B, C, H, W) as `noised`.

    Returns:
        a prediction of the process's target; of the other part it is what was said.
    """
    share, scale = odd_scale(process, spread, time)
    odd = changed(said)
    return said - odd + share * changed(noised) + scale * odd


def weighted_loss(
    process: Process,
    spread: float,
    time: torch.Tensor,
    predicted: torch.Tensor,
    target: torch.Tensor,
) -> torch.Tensor:
    """Mean squared error, that of what half a turn changes over the root of its scale.

    Between the plain loss, for which this part is too small to matter where there is much noise,
    and that of Karras et al. (eq. 8, λ = 1 / c_out²), under which the rest is learnt too slowly.
    """
    _, scale = odd_scale(process, spread, time)
    error = predicted - target
    odd = changed(error)
    return F.mse_loss(error, odd) + (odd.square() / scale.sqrt()).mean()


def odd_scale(
    process: Process, spread: float, time: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How what a network says of the part that half a turn changes is to be read.

    With little noise as it stands: a companion is then told from the sky pixel by pixel, which a
    linear guess takes for one. Where noise and image are 1 to `_EVEN`, half of each.

    Returns:
        what to add of the noised image, and what to multiply the network's word by, each float
        (B, 1, 1, 1).
    """
    share, left = linear_guess(process, spread, time)
    image, noise = _shares(process.noised, time)
    guessed = 1 / (1 + (image / (_EVEN * noise)).pow(_STEEP))
    return guessed * share, torch.lerp(torch.ones_like(left), left, guessed)


def linear_guess(
    process: Process, spread: float, time: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best linear guess of the target from the noised image, for what half a turn changes.

    Returns:
        what to multiply the noised image by, and the σ of what is then still wrong, each float
        (B, 1, 1, 1), for an image of this spread under white noise of unit variance, of which
        half a turn changes half.
    """
    image, noise = _shares(process.noised, time)
    of_image, of_noise = _shares(process.target, time)
    known = (image * spread).square() + noise.square() / 2
    share = (of_image * image * spread**2 + of_noise * noise / 2) / known
    left = (of_noise * image - of_image * noise).abs() * spread / (2 * known).sqrt()
    return share, left


def _shares(mixed: Callable, time: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What `mixed` makes of an image alone and of noise alone, each (B, 1, 1, 1)."""
    one = torch.ones(len(time), 1, 1, 1, device=time.device)
    none = torch.zeros_like(one)
    return mixed(one, none, time), mixed(none, one, time)
