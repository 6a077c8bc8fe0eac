"""Residual stages with batch norm, whose values are zero where nothing is real."""

from torch import Tensor, nn

from braid.shapes import Float


class MaskedConvolution(nn.Module):
    """Convolution and batch norm; what is not real is zero before and after, as beyond the edges."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int | tuple[int, int] = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, values: Float[Tensor, "n channels rows columns"], real: Float[Tensor, "n 1 #steps #bands"]) -> Tensor:
        """``real`` is 1 or 0, in the size of the result."""
        return self.norm(self.convolution(values)) * real


class ResidualStage(nn.Module):
    """Two convolutions beside a shortcut (arXiv:1512.03385), at half the size."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first = MaskedConvolution(channels, out, 3, 2)
        self.second = MaskedConvolution(out, out, 3)
        self.shortcut = MaskedConvolution(channels, out, 1, 2)

    def forward(self, values: Float[Tensor, "n channels rows columns"], real: Float[Tensor, "n 1 #steps #bands"]) -> Tensor:
        inner = self.second(self.first(values, real).relu(), real)
        return (inner + self.shortcut(values, real)).relu()


def residual_stages(channels: int, number: int) -> nn.ModuleList:
    """``number`` stages one after another; each doubles the channels."""
    return nn.ModuleList(ResidualStage(channels * 2**stage, channels * 2 ** (stage + 1)) for stage in range(number))
