"""What order do public samplers have? One line for each that can be installed from the package index, and for ours."""

from __future__ import annotations

import time
from typing import Any

from record import arguments, record

from solvers.order import choices, find, measure_order

SDE = "algorithm_type=sde-dpmsolver++"
NOISE = ("algorithm_type=dpmsolver", "final_sigmas_type=sigma_min")
FLOW = ("use_flow_sigmas=true", "prediction_type=flow_prediction")
# Options beside none; a name that is not here is run without options.
OPTIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "solvers:AdamsBashforth": tuple((f"order={k}",) for k in (1, 2, 3, 4)),
    "solvers:DPMSolver": tuple((f"order={k}", f"variant={v}") for v in ("singlestep", "multistep") for k in (1, 2, 3)),
    "solvers:DPMSolverPP": tuple(
        (f"order={k}", f"variant={v}") for v in ("singlestep", "multistep") for k in (1, 2, 3)
    ),
    "solvers:DEIS": tuple((f"order={k}",) for k in (1, 2, 3)),
    "solvers:RES": (("variant=singlestep",), ("variant=multistep",)),
    "solvers:UniPC": (
        *((f"order={k}",) for k in (2, 3, 4)),
        *((f"order={k}", "corrector=false") for k in (1, 2, 3)),
    ),
    "solvers:SDEDPMSolverPP": tuple((f"order={k}",) for k in (1, 2, 3)),
    "solvers:SASolver": tuple((f"predictor={p}", f"corrector={q}") for p, q in ((1, 2), (2, 0), (2, 3), (3, 4))),
    "diffusers:DDIMScheduler": ((), ("eta=1.0",)),
    "diffusers:PNDMScheduler": ((), ("skip_prk_steps=true",)),
    "diffusers:EulerDiscreteScheduler": ((), ("use_karras_sigmas=true",)),
    "diffusers:LMSDiscreteScheduler": tuple((f"order={k}",) for k in (2, 3, 4)),
    "diffusers:DPMSolverMultistepScheduler": (
        *((f"solver_order={k}",) for k in (1, 2, 3)),
        *((f"solver_order={k}", *NOISE) for k in (1, 2, 3)),
        *((f"solver_order={k}", SDE) for k in (1, 2, 3)),
        ("solver_order=2", *FLOW),
        ("solver_order=3", *FLOW),
    ),
    "diffusers:DPMSolverSinglestepScheduler": (*((f"solver_order={k}",) for k in (1, 2, 3)), ("solver_order=2", SDE)),
    "diffusers:DEISMultistepScheduler": tuple((f"solver_order={k}",) for k in (1, 2, 3)),
    "diffusers:UniPCMultistepScheduler": (*((f"solver_order={k}",) for k in (1, 2, 3)), ("solver_order=2", *FLOW)),
    "diffusers:SASolverScheduler": ((), ("tau=0.0",)),
    "diffusers:FlowMatchEulerDiscreteScheduler": ((), ("stochastic_sampling=true",)),
    "diffusers:EDMDPMSolverMultistepScheduler": tuple((f"solver_order={k}",) for k in (1, 2, 3)),
    "k_diffusion:sample_lms": tuple((f"order={k}",) for k in (2, 3, 4)),
    "k_diffusion:sample_euler": ((), ("s_churn=10.0",)),
    "k_diffusion:sample_dpmpp_sde": ((), ("eta=0.0",)),
    "k_diffusion:sample_dpmpp_2m_sde": ((), ("eta=0.0",), ("solver_type=heun",)),
    "k_diffusion:sample_dpmpp_3m_sde": ((), ("eta=0.0",)),
    "torchdiffeq:explicit_adams": (("max_order=2",), ("max_order=3",), ("max_order=4",)),
    "torchdiffeq:implicit_adams": (("max_order=4",),),
    "azula:DDIMSampler": ((), ("eta=1.0",)),
    **{f"azula:{kind}": (("order=2",), ("order=3",)) for kind in ("zABSampler", "vABSampler", "zEABSampler")},
    "azula:xEABSampler": (("order=2",), ("order=3",), ("order=3", "schedule=VPSchedule")),
    "azula:REABSampler": (("order=2",), ("order=3",), ("order=3", "schedule=VPSchedule")),
}
PACKAGES = {"solvers": "interpolants", "k_diffusion": "k-diffusion"}
SMOKE = ("solvers:Heun", "scipy:RK23", "k_diffusion:sample_dpmpp_2m")


def row(name: str, options: tuple[str, ...], finest: int) -> dict[str, Any]:
    """Measure one sampler."""
    began = time.perf_counter()
    report = measure_order(find(name, options), finest=finest)
    found, end = report.to_dict(), report.endpoint
    package = PACKAGES.get(name.partition(":")[0], name.partition(":")[0])
    return {
        "sampler": name,
        "options": list(options),
        "package": package,
        "claimed": found["claimed"],
        "observed": found["observed"],
        "kept": report.ok,
        "stochastic": report.stochastic,
        "constant": found["constant"],
        "evaluations": list(report.evaluations),
        "mean": found["marginal"]["mean"],
        "variance": found["marginal"]["variance"],
        "marginal_steps": report.marginal.steps,
        "end": None if end is None else found["endpoint"],
        "roundoff": found["roundoff"],
        "orders": {key: item["order"] for key, item in found["fits"].items()},
        "verdict": report.verdict,
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    """Measure every sampler; print a line for each as it is done."""
    options = arguments(__doc__ or "")
    names = SMOKE if options.smoke else [f"{source}:{name}" for source, found in choices().items() for name in found]
    rows = []
    for name in names:
        for chosen in OPTIONS.get(name, ((),)):
            rows.append(row(name, chosen, 64 if options.smoke else 256))
            print(rows[-1]["sampler"], *chosen, "·", rows[-1]["verdict"], flush=True)
    record("sampler_orders", rows, tuple(sorted({item["package"] for item in rows} | {"numpy"})), options.save)


if __name__ == "__main__":
    main()
