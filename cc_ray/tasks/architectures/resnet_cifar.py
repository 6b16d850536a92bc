"""Residual networks for images of 32 x 32 pixels: three stages of 16, 32 and 64 channels, 6 n + 2 layers deep.

Shortcuts have no weights ("option A"): where the image shrinks every other pixel is taken and the new channels are
zero. Names of tensors are those of the widely used weights of github.com/akamaster/pytorch_resnet_cifar10 (without
`module.`).

Source: He et al., 2016, "Deep Residual Learning for Image Recognition", section 4.2.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch norm, and a way around them.

    Args:
        channels_in: Channels of the input.
        channels: Channels of the output; the new ones lie evenly before and behind those of the shortcut.
        stride: 1, or 2 to halve height and width.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.new_channels = stride, channels - channels_in

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels, h / stride, w / stride)."""
        hidden = functional.relu(self.bn1(self.conv1(inputs)))
        return functional.relu(self.bn2(self.conv2(hidden)) + self._shortcut(inputs))

    def _shortcut(self, inputs: Tensor) -> Tensor:
        if not self.new_channels:
            return inputs
        before = self.new_channels // 2
        spread = (0, 0, 0, 0, before, self.new_channels - before)
        return functional.pad(inputs[:, :, :: self.stride, :: self.stride], spread)


class ResNet(nn.Module):
    """A residual network on small images, (n, image_channels, h, w) to (n, classes).

    Args:
        blocks: Blocks of each stage.
        classes: Classes that it tells apart.
        channels: Channels of the first stage; each next one has twice as many.
        image_channels: Channels of the images.
    """

    def __init__(self, blocks: int, classes: int, channels: int = 16, image_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(image_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = _stage(blocks, channels, channels, 1)
        self.layer2 = _stage(blocks, channels, 2 * channels, 2)
        self.layer3 = _stage(blocks, 2 * channels, 4 * channels, 2)
        self.linear = nn.Linear(4 * channels, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores, (n, classes)."""
        hidden = functional.relu(self.bn1(self.conv1(inputs)))
        hidden = self.layer3(self.layer2(self.layer1(hidden)))
        return self.linear(hidden.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def resnet20(classes: int = 10) -> ResNet:
    """Three blocks a stage, 0.27 million parameters."""
    return ResNet(3, classes)


def resnet32(classes: int = 10) -> ResNet:
    """Five blocks a stage, 0.46 million parameters."""
    return ResNet(5, classes)


def _stage(blocks: int, channels_in: int, channels: int, stride: int) -> nn.Sequential:
    rest = (Block(channels, channels, 1) for _ in range(blocks - 1))
    return nn.Sequential(Block(channels_in, channels, stride), *rest)
