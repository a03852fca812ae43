"""A tree of images shaped like ImageNet, from what scikit-learn ships, and a VAE shaped like SiT's.

Class folders hold JPEG of different sizes, one grey, one CMYK, one with an EXIF orientation, and one that ends early.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

CLASSES = ("n01440764", "n02123045", "n07747607")
CORRUPT = "n02123045/n02123045_3.JPEG"


def photographs():
    """Return the two photographs, 427 × 640 pixels."""
    return [Image.fromarray(array) for array in load_sample_images().images]


def jpeg(image, **options):
    """Return the bytes of an image as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


def piece(photograph, rng):
    """Return a rectangle of a photograph, of any place, size and shape."""
    width, height = (int(side) for side in rng.integers(40, 200, 2))
    left, top = int(rng.integers(0, 640 - width)), int(rng.integers(0, 427 - height))
    return photograph.crop((left, top, left + width, top + height))


def write_tree(root: Path, per_class: int = 6, corrupt: bool = True) -> Path:
    """Write the tree and return its folder; the same tree for the same arguments.

    Args:
        root: the folder, which is made.
        per_class: images of each class, at least 6.
        corrupt: whether ``CORRUPT`` ends early.
    """
    rng = np.random.default_rng(0)
    orientation = Image.Exif()
    orientation[0x0112] = 6
    digits = load_digits().images
    for label, (name, photograph) in enumerate(zip(CLASSES, [*photographs(), None])):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            if photograph is None:
                pixels = (digits[number] * 15.9).astype(np.uint8)
                image = Image.fromarray(pixels).resize((48 + 3 * number, 56), Image.Resampling.BICUBIC)
            else:
                image = piece(photograph, rng)
            odd = {(0, 1): "L", (0, 2): "CMYK"}.get((label, number), "RGB")
            data = jpeg(image.convert(odd), **({"exif": orientation} if (label, number) == (1, 1) else {}))
            file = root / name / f"{name}_{number}.JPEG"
            data = data[: len(data) // 2] if corrupt and f"{name}/{file.name}" == CORRUPT else data
            file.write_bytes(data)
    (root / CLASSES[0] / ".DS_Store").write_bytes(b"litter")
    (root / CLASSES[0] / "notes.txt").write_text("no image")
    return root


def write_vae(folder: Path, seed: int = 0, scale: float | None = None) -> Path:
    """Write an ``AutoencoderKL`` with random weights, 8 times down-sampling and 4 latent channels; return its folder.

    Args:
        folder: where ``save_pretrained`` writes it.
        seed: of the weights.
        scale: the scaling factor; None measures the one that gives its latents of the photographs unit variance.
    """
    import torch
    from diffusers import AutoencoderKL

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            norm_num_groups=4,
            latent_channels=4,
            sample_size=32,
        ).eval()
    with torch.no_grad():
        # A new network says σ = 1 everywhere; a trained one is surer than that.
        network.quant_conv.bias[4:] -= 3.0
        network.quant_conv.weight[:4] *= 4.0
        pixels = np.stack([np.asarray(image.resize((64, 64))) for image in photographs()])
        posterior = network.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1).latent_dist
        variance = posterior.mean.var((0, 2, 3)).mean() + posterior.std.square().mean()
    network.register_to_config(scaling_factor=float(variance**-0.5) if scale is None else scale)
    network.save_pretrained(folder)
    return folder


def pixel_config(images: Path, out: Path, **changes):
    """Return a config that encodes a tree into small pixels, quickly, in five shards."""
    from backbone import EncodeConfig

    fields = {"size": 16, "corrupt": "skip", "shard_records": 4, "batch_size": 3, "device": "cpu"} | changes
    return EncodeConfig(images=images, vae="identity", out=out, **fields)


def bytes_of(store: Path) -> dict[str, bytes]:
    """Return every file of a store but the times."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.name != "times.json"
    }
