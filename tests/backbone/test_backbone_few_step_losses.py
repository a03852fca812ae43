"""Few-step losses of a network, against loops with central differences, and what training with them needs."""

import dataclasses

import pytest
import torch
from backbone_support import perturb

from backbone import EMA, Arrays, SiT, SiTConfig, TrainConfig, bind, train
from backbone.draws import Draws
from backbone.few_step import Consistency, ImprovedMeanFlow, MeanFlow, Shortcut
from interpolants import GVP, VP, Linear, zero_terminal_snr
from interpolants.schedules import TrigFlow
from interpolants.times import LogitNormal, LogNormalSigma, Uniform

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
TOY = SiTConfig(
    input_size=4,
    patch_size=2,
    in_channels=1,
    hidden_size=16,
    depth=1,
    num_heads=2,
    num_classes=3,
    learn_sigma=False,
    class_dropout=0.4,
    attention="math",
    flow_map=True,
)
LOSSES = {
    "meanflow": MeanFlow(Linear()),
    "meanflow guided": MeanFlow(GVP(), times=Uniform(), equal=0.25, power=0.5, omega=1.5, kappa=0.25),
    "improved meanflow": ImprovedMeanFlow(Linear()),
    "shortcut": Shortcut(Linear(), share=0.5, levels=3),
    "shortcut trigflow": Shortcut(TrigFlow(0.5), share=0.5, levels=2),
    "consistency": Consistency(TrigFlow(0.5)),
    "consistency warm": Consistency(Linear(), warmup=40, offset=None),
}
H = 1e-5


@pytest.fixture
def model():
    torch.manual_seed(0)
    return perturb(SiT(TOY), 0.3).double().train()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(16, 1, 4, 4, generator=generator, dtype=torch.float64), torch.arange(16) % 3


DRAWS = Draws(5, torch.arange(20, 36))


def sample(schedule, x, noise, time):
    """Return x_t and the velocity of one sample at a float time."""
    a, s, da, ds = (float(part) for part in schedule(float(time)))
    return a * x + s * noise, da * x + ds * noise


def pieces(model, x, y):
    """Return u(r, t, z) of one sample, its number-by-number labels dropped by hand, and the noise of the batch."""
    dropped = DRAWS.below("drop", TOY.class_dropout)
    assert 0 < int(dropped.sum()) < 16
    labels = torch.where(dropped, TOY.null_class, y)

    @torch.no_grad()
    def average(i, start, time, z, label=None):
        label = labels[i] if label is None else torch.tensor(label)
        at = [torch.tensor([number], dtype=torch.float64) for number in (start, time)]
        return model.eval()(z[None], at[1], label[None], start=at[0])[0]

    return average, DRAWS.normal("noise", (1, 4, 4)).double(), dropped


def intervals(loss):
    """Return (r, t) of every sample by hand."""
    law = loss.times.of(loss.schedule)
    pairs = torch.stack([law.at(DRAWS.uniform(name), torch.float64) for name in ("time", "second time")])
    equal = DRAWS.uniform("choice") < loss.equal
    assert 0 < int(equal.sum()) < 16
    return [(float(t if same else r), float(t)) for r, t, same in zip(pairs.amin(0), pairs.amax(0), equal)]


@pytest.mark.parametrize("name", ["meanflow", "meanflow guided", "improved meanflow"])
def test_the_losses_of_intervals_are_their_formulas(name, model, data):
    """Each sample's loss, with guidance, weight, dropped label and interval, by a loop with central differences."""
    loss, (x, y) = LOSSES[name], data
    found = loss(model, x, y, DRAWS)
    average, noise, dropped = pieces(model, x, y)
    for i, (r, t) in enumerate(intervals(loss)):
        z, v = sample(loss.schedule, x[i], noise[i], t)
        if name == "meanflow guided" and not dropped[i]:
            v = 1.5 * v + 0.25 * average(i, t, t, z) - 0.75 * average(i, t, t, z, TOY.null_class)
        along = average(i, t, t, z) if name == "improved meanflow" else v
        slope = average(i, r, t + H, z + H * along) - average(i, r, t - H, z - H * along)
        square = float((average(i, r, t, z) + (t - r) * slope / (2 * H) - v).square().sum())
        assert float(found[i].detach()) == pytest.approx(square / (square + 0.01) ** loss.power, rel=1e-6)


@pytest.mark.parametrize("name", ["shortcut", "shortcut trigflow"])
def test_the_shortcut_loss_is_its_formula(name, model, data):
    """Half learn the velocity, half the mean of two steps on a dyadic grid, the finest two along the velocity."""
    loss, (x, y) = LOSSES[name], data
    found = loss(model, x, y, DRAWS)
    average, noise, _ = pieces(model, x, y)
    span = loss.schedule.domain[1]
    seen = set()
    for i, (choice, u, second) in enumerate(
        zip(*(DRAWS.uniform(n).tolist() for n in ("choice", "time", "second time")))
    ):
        if choice < 0.5:
            level = int(second * loss.levels)
            place = int(u * 2**level)
            r, t = span * place / 2**level, span * (place + 1) / 2**level
            seen.add(level)
        else:
            r = t = span * u
        z, target = sample(loss.schedule, x[i], noise[i], t)
        if choice < 0.5:
            d = (t - r) / 2
            euler = level == loss.levels - 1
            first = average(i, t if euler else t - d, t, z)
            target = (first + average(i, t - d if euler else r, t - d, z - d * first)) / 2
        assert float(found[i].detach()) == pytest.approx(
            float((average(i, r, t, z) - target).square().mean()), rel=1e-9
        )
    assert seen == set(range(loss.levels))


@pytest.mark.parametrize("teacher", [False, True])
@pytest.mark.parametrize("name", ["consistency", "consistency warm"])
def test_the_consistency_loss_has_its_gradient(name, teacher, model, data):
    """The gradient in the last bias is −2⟨∂F, ĝ⟩/d with ĝ from central differences of f, of samples or a teacher."""
    loss, (x, y) = LOSSES[name], data
    guide = perturb(SiT(dataclasses.replace(TOY, flow_map=False)), 0.3, seed=7).double()
    if teacher:
        loss = dataclasses.replace(loss, teacher=guide, guidance=2.0)
    total = loss(model, x, y, DRAWS)
    (gradient,) = torch.autograd.grad(total.sum(), model.final_layer.linear.bias)
    average, noise, dropped = pieces(model, x, y)
    times = loss.times.of(loss.schedule).at(DRAWS.uniform("time"), torch.float64).tolist()
    wanted, schedule = torch.zeros(4, dtype=torch.float64), loss.schedule

    def function(i, t, z):
        a, s, da, ds = (float(part) for part in schedule(t))
        return (ds * z - s * average(i, t, t, z)) / (a * ds - da * s)

    for i, t in enumerate(times):
        z, v = sample(schedule, x[i], noise[i], t)
        if teacher:
            with torch.no_grad():
                field = bind(guide.eval(), TOY.null_class if dropped[i] else y[i : i + 1], 2.0)
                v = field(torch.tensor([t], dtype=torch.float64), z[None])[0]
        a, s, da, ds = (float(part) for part in schedule(t))
        w, h = a * ds - da * s, 1e-4 * min(t, 0.1)
        slope = (function(i, t + h, z + h * v) - function(i, t - h, z - h * v)) / (2 * h)
        flat = ds / w * (v - average(i, t, t, z))
        warm = min(1.0, (20 + i) / loss.warmup) if loss.warmup else 1.0
        tangent = a / w * (flat + warm * (slope - flat))
        if loss.offset:
            tangent = tangent / (float(tangent.square().mean()) ** 0.5 + loss.offset)
        assert float(total[i].detach()) == pytest.approx(float(tangent.square().mean()), rel=1e-5)
        patches = tangent[0].reshape(2, 2, 2, 2).permute(0, 2, 1, 3).reshape(4, 4)
        wanted -= 2 * patches.sum(0) / 16
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_a_function_of_its_draws(name, model, data):
    """Finite losses (N,), the same whatever torch's generator does, sample by sample; others for another seed."""
    loss, (x, y) = LOSSES[name], data
    model = model.float()
    found = loss(model, x.float(), y, DRAWS)
    assert found.shape == (16,)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    torch.manual_seed(99)
    assert torch.equal(loss(model, x.float(), y, DRAWS), found)
    part = loss(model, x[4:7].float(), y[4:7], Draws(5, torch.arange(24, 27)))
    torch.testing.assert_close(part, found[4:7], rtol=2e-4, atol=1e-6)
    assert not torch.equal(loss(model, x.float(), y, Draws(6, torch.arange(20, 36))), found)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_reach_what_a_loss_trains(name, model, data):
    """Every weight gets a finite gradient, those of the embedding of t − r included where intervals have a length."""
    loss, (x, y) = LOSSES[name], data
    loss(model, x, y, DRAWS).mean().backward()
    for label, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert torch.isfinite(parameter.grad).all(), label
            assert parameter.grad.any(), label


@pytest.mark.parametrize("name", ["meanflow", "improved meanflow", "consistency"])
def test_tangents_stay_in_float32_under_autocast(name, model, data):
    """Under bfloat16 autocast time and its tangent reach the embeddings in float32 and the loss stays near."""
    loss, (x, y) = LOSSES[name], data
    model, seen = model.float(), []
    for module in (model.t_embedder, model.length_embedder):
        module.register_forward_hook(lambda module, args, out: seen.extend([args[0].dtype, out.dtype]))
    wanted = loss(model, x.float(), y, DRAWS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(model, x.float(), y, DRAWS)
    assert set(seen) == {torch.float32}
    assert found.dtype == torch.float32
    assert float((found - wanted).detach().abs().mean()) < 0.05 * float(wanted.detach().abs().mean())


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_trains(name, data):
    """Two steps of training run, twice to the same bits, and move the embedding of t − r where it has a part."""
    x, y = data
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        net = perturb(SiT(TOY), 0.1)
        config = TrainConfig(steps=2, batch_size=8, learning_rate=1e-3, ema_decay=0.5)
        results.append(train(net, Arrays(x.float(), y, net.config.num_classes), config, objective=LOSSES[name]))
    assert results[0].losses == results[1].losses
    assert isinstance(results[0].ema, EMA)
    for one, two in zip(*(result.averaged.parameters() for result in results)):
        assert torch.equal(one, two)


def test_networks_that_do_not_fit_are_refused(data):
    """Fused attention is answered with the two lines that copy the weights, a network of one time with as_flow_map."""
    x, y = (part[:2] for part in data)
    fused = SiT(dataclasses.replace(TOY, attention="fused"))
    for loss in (MeanFlow(Linear()), ImprovedMeanFlow(Linear()), Consistency(Linear())):
        with pytest.raises(
            ValueError, match=r"expected attention with forward-mode.*SiT\(dataclasses.replace\("
        ) as error:
            loss(fused, x.float(), y, Draws(0, torch.arange(2)))
        assert "twin.load_state_dict(model.state_dict())" in str(error.value)
    assert torch.isfinite(Shortcut(Linear())(fused, x.float(), y, Draws(0, torch.arange(2)))).all()
    plain = SiT(dataclasses.replace(TOY, flow_map=False))
    for loss in (MeanFlow(Linear()), ImprovedMeanFlow(Linear()), Shortcut(Linear())):
        with pytest.raises(ValueError, match=r"expected a network of an interval.*few_step.as_flow_map\(model\)"):
            loss(plain, x.float(), y, Draws(0, torch.arange(2)))
    assert torch.isfinite(Consistency(Linear())(plain, x.float(), y, Draws(0, torch.arange(2)))).all()


@pytest.mark.parametrize("loss", [MeanFlow, ImprovedMeanFlow, Shortcut, Consistency])
def test_schedules_without_exact_ends_are_refused(loss):
    """VP, whose signal does not vanish, is refused with a remedy that works; something else than a schedule too."""
    with pytest.raises(ValueError, match=r"expected a schedule from alpha = 1.*vp.*zero_terminal_snr"):
        loss(VP(), times=Uniform(1e-3, 1.0))
    assert loss(zero_terminal_snr(VP()), times=Uniform(1e-3, 0.999)).schedule.alpha(1.0) == 0.0
    with pytest.raises(TypeError, match="expected a Schedule; received 'linear'"):
        loss("linear")


@pytest.mark.parametrize(
    ("loss", "options", "expected"),
    [
        (MeanFlow, {"equal": 1.5}, "a share equal"),
        (MeanFlow, {"power": -1.0}, "power ≥ 0"),
        (ImprovedMeanFlow, {"offset": 0.0}, "power ≥ 0 and offset > 0"),
        (MeanFlow, {"omega": 0.0}, "omega > 0"),
        (MeanFlow, {"kappa": 1.0}, "omega > 0 and kappa in"),
        (Shortcut, {"share": -0.1}, "a share in"),
        (Shortcut, {"levels": 0}, "levels: a whole number"),
        (Shortcut, {"levels": 2.5}, "levels: a whole number"),
        (Consistency, {"offset": 0.0}, "an offset > 0"),
        (Consistency, {"warmup": -1}, "warmup: samples"),
        (Consistency, {"guidance": 2.0}, "guidance of a teacher"),
    ],
)
def test_options_out_of_range_are_refused(loss, options, expected):
    """Each option out of range is refused with what is allowed."""
    with pytest.raises(ValueError, match=f"expected {expected}.*; received .*; remedy: "):
        loss(Linear(), **options)


def test_guidance_needs_labels(data):
    """A network without labels has no guidance to learn; without guidance it trains."""
    net = SiT(dataclasses.replace(TOY, num_classes=0))
    x, draws = data[0][:2].float(), Draws(0, torch.arange(2))
    with pytest.raises(ValueError, match="expected labels for guidance"):
        MeanFlow(Linear(), omega=2.0)(net, x, None, draws)
    teacher = SiT(dataclasses.replace(TOY, num_classes=0, flow_map=False))
    for loss in (MeanFlow(Linear()), Shortcut(Linear()), Consistency(Linear(), teacher=teacher)):
        assert torch.isfinite(loss(net, x, None, draws)).all()


def test_the_defaults_are_the_published_ones():
    """Times, shares and constants as the papers and their code give them."""
    mean, improved, short, consistent = (loss(Linear()) for loss in (MeanFlow, ImprovedMeanFlow, Shortcut, Consistency))
    assert (mean.times, mean.equal, mean.power, mean.offset) == (LogitNormal(-0.4, 1.0), 0.75, 1.0, 0.01)
    assert (improved.times, improved.equal) == (LogitNormal(-0.4, 1.0), 0.5)
    assert (short.times, short.share, short.levels) == (Uniform(), 0.25, 7)
    assert (consistent.times, consistent.offset) == (LogNormalSigma(-1.0, 1.4), 0.1)
