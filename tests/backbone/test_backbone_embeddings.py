"""Position, time and label embeddings against their formulas, evaluated in mpmath."""

import mpmath
import pytest
import torch

from backbone.embeddings import Float32Linear, LabelEmbedding, TimeEmbedding, position_embedding, time_features


def test_position_embedding_is_the_formula():
    """Entry (token, channel) is sin or cos of column (first half) or row (second half) over 10000^(2i/(D/2))."""
    width, side = 24, 5
    table = position_embedding(width, side)
    assert table.shape == (1, side * side, width)
    assert table.dtype == torch.float32
    with mpmath.workdps(30):
        for row, column in [(0, 0), (0, 3), (4, 0), (2, 4), (4, 4)]:
            for coordinate, offset in ((column, 0), (row, width // 2)):
                for i in range(width // 4):
                    angle = coordinate / mpmath.mpf(10000) ** (mpmath.mpf(2 * i) / (width // 2))
                    token = table[0, row * side + column]
                    assert float(token[offset + i]) == pytest.approx(float(mpmath.sin(angle)), abs=6e-8)
                    assert float(token[offset + width // 4 + i]) == pytest.approx(float(mpmath.cos(angle)), abs=6e-8)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-7), (torch.float64, 1e-15)])
def test_time_features_are_the_formula(dtype, tolerance):
    """Feature i is cos(t ω_i) in the first half and sin(t ω_i) in the second, ω_i = exp(-ln(10000) i/128)."""
    times = [0.0, 0.125, 0.5, 1.0]
    features = time_features(torch.tensor(times, dtype=dtype))
    assert features.shape == (4, 256)
    with mpmath.workdps(30):
        for n, time in enumerate(times):
            for i in (0, 1, 17, 64, 127):
                angle = time * mpmath.exp(-mpmath.log(10000) * i / 128)
                assert float(features[n, i]) == pytest.approx(float(mpmath.cos(angle)), abs=tolerance)
                assert float(features[n, 128 + i]) == pytest.approx(float(mpmath.sin(angle)), abs=tolerance)


def test_time_is_embedded_in_float32_under_autocast():
    """Autocast to bfloat16 changes nothing in the time embedding, bit for bit."""
    torch.manual_seed(0)
    embedding, time = TimeEmbedding(16), torch.rand(8)
    plain = embedding(time)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(embedding(time), plain)
        assert torch.nn.Linear(16, 16)(plain).dtype == torch.bfloat16
    assert embedding.bfloat16()(time).dtype == torch.float32


def test_a_float32_linear_keeps_float64():
    """Float32Linear never computes below float32 and computes in float64 when its weights or inputs do."""
    layer = Float32Linear(4, 3, dtype=torch.bfloat16)
    assert layer(torch.ones(2, 4, dtype=torch.bfloat16)).dtype == torch.float32
    assert layer.double()(torch.ones(2, 4)).dtype == torch.float64
    assert Float32Linear(4, 3, bias=False)(torch.ones(2, 4)).shape == (2, 3)


def test_labels_are_dropped_at_the_stated_rate_in_training_only():
    """Training replaces a share class_dropout of labels by the null class (5 σ binomial); evaluation none."""
    torch.manual_seed(0)
    n, rate = 20_000, 0.1
    table = LabelEmbedding(num_classes=3, width=4, dropout=rate)
    y = torch.randint(0, 3, (n,))
    null = table.embedding_table.weight[3]
    dropped = int((table.train()(y) == null).all(dim=1).sum())
    assert abs(dropped - rate * n) < 5 * (n * rate * (1 - rate)) ** 0.5
    assert torch.equal(table.eval()(y), table.embedding_table.weight[y])


def test_a_given_mask_replaces_the_draw():
    """With a mask exactly the marked labels become the null class, in training and in evaluation."""
    table = LabelEmbedding(num_classes=3, width=4, dropout=1.0)
    y, drop = torch.tensor([0, 1, 2, 3]), torch.tensor([True, False, True, False])
    expected = table.embedding_table.weight[torch.tensor([3, 1, 3, 3])]
    assert torch.equal(table.train()(y, drop), expected)
    assert torch.equal(table.eval()(y, drop), expected)
