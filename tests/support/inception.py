"""A small network with the outputs, the names and the resizing of the TorchScript file of Inception."""

import warnings

import torch
from torch import nn
from torch.nn import functional


class Convolution(nn.Module):
    """A convolution and a rectifier."""

    def __init__(self, inputs, outputs, size, stride):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride)

    def forward(self, x):
        return torch.relu(self.conv(x))


class Mixed(nn.Module):
    """Two branches, of which the first is called conv."""

    def __init__(self, inputs):
        super().__init__()
        self.conv = Convolution(inputs, 9, 1, 1)
        self.tower = Convolution(inputs, 3, 1, 1)

    def forward(self, x):
        return torch.cat([self.conv(x), self.tower(x)], 1)


class Small(nn.Module):
    """Features of width 12 from 299 × 299 pixels, and 11 classes."""

    def __init__(self, mixed="mixed_6", centre=128.0):
        super().__init__()
        self.centre = centre
        self.layers = nn.Sequential()
        self.layers.add_module("conv", Convolution(3, 4, 5, 40))
        self.layers.add_module(mixed, Mixed(4))
        self.layers.add_module("pool2", nn.AdaptiveAvgPool2d(1))
        self.output = nn.Linear(12, 11)

    def forward(
        self, img, return_features: bool = False, use_fp16: bool = False, no_output_bias: bool = False
    ) -> torch.Tensor:
        n, channels, height, width = img.shape
        # Of 299 places, number i is at i H/299: the grid of affine_grid, moved by half a pixel of each size.
        theta = torch.eye(2, 3)
        theta[0, 2] = 1.0 / width - 1.0 / 299
        theta[1, 2] = 1.0 / height - 1.0 / 299
        grid = functional.affine_grid(
            theta.unsqueeze(0).repeat([n, 1, 1]), [n, channels, 299, 299], align_corners=False
        )
        x = functional.grid_sample(img.float(), grid, "bilinear", "border", align_corners=False)
        features = self.layers((x - self.centre) / self.centre).reshape([n, 12])
        if return_features:
            return features
        if no_output_bias:
            return functional.linear(features, self.output.weight).softmax(1)
        return self.output(features).softmax(1)


def save(module, file):
    """Write the module as TorchScript, which torch calls deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module).save(str(file))
    return file


def small(seed=0, **options):
    """Return the network with seeded weights."""
    torch.manual_seed(seed)
    return Small(**options).eval()
