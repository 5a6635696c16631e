"""Rules over the machine: is there memory and room for the run, and is the GPU there used."""

from __future__ import annotations

import sys

from lorachain.config import StageConfig
from lorachain.preflight.finding import Finding, found
from lorachain.preflight.inputs import Needs

_STAY_AWAKE = {
    "win32": "Training keeps it awake as long as its lid is open.",
    "darwin": "Put caffeinate -i before the command to keep it awake.",
    "linux": "Put systemd-inhibit before the command to keep it awake.",
}


def check_machine(
    needs: Needs | None, config: StageConfig, unused_gpu: str | None, on_battery: bool | None
) -> list[Finding]:
    """Every rule of this file. `needs` is None where nobody can say; `unused_gpu` is what
    `machine.unused_gpu` says, `on_battery` what the function of that name does."""
    return [
        *(memory_short(needs, config) if needs else ()),
        *(disk_short(needs, config) if needs else ()),
        *gpu_unused(unused_gpu),
        *may_sleep(on_battery),
    ]


def memory_short(needs: Needs, config: StageConfig) -> list[Finding]:
    """The estimate is more than what is free: a run that dies at its first step, or swaps."""
    if needs.memory <= needs.there:
        return []
    parts = {
        "weights": needs.weights,
        "adapter and gradients": needs.adapter,
        "optimizer": needs.optimizer,
        "activations": needs.activations,
        "logits": needs.logits,
        "other": needs.other,
    }
    listed = ", ".join(f"{name} {gigabytes(size)}" for name, size in parts.items())
    where = "the GPU" if needs.device == "cuda" else "this computer"
    used = needs.total - needs.there
    do = _less(needs, config)
    if used > 0.25 * needs.total:
        do.insert(0, f"close what else uses {where} ({gigabytes(used)} are taken)")
    return [
        found(
            "memory-short",
            f"The run needs about {gigabytes(needs.memory)}, and {gigabytes(needs.there)} are free "
            f"on {where}: {listed}.",
            f"{'; '.join(do)}.",
            needed=needs.memory,
            there=needs.there,
            parts=parts,
        )
    ]


def _less(needs: Needs, config: StageConfig) -> list[str]:
    """What to change, the largest saving at the least cost first."""
    ways = []
    half = config.data.max_seq_length // 2
    if not needs.checkpointing:
        ways.append(
            "--set training.gradient_checkpointing=true keeps fewer activations (the same result, "
            "slower)"
        )
    if needs.quantization == "none" and needs.device == "cuda":
        ways.append("--set quantization.load_in_4bit=true holds the base in a quarter")
    if config.training.per_device_train_batch_size > 1:
        rows = config.training.per_device_train_batch_size
        accumulation = config.training.gradient_accumulation_steps * rows
        ways.append(
            "--set training.per_device_train_batch_size=1 --set "
            f"training.gradient_accumulation_steps={accumulation} takes the same steps in smaller "
            "pieces"
        )
    ways.append(
        f"--set data.max_seq_length={half} --set data.on_overlong=drop leaves the longest rows out"
    )
    if needs.weights > 0.8 * needs.there:
        ways.append("choose a smaller base (--base-model)")
    return ways


def disk_short(needs: Needs, config: StageConfig) -> list[Finding]:
    """No room for the checkpoints that are kept at once, and the version."""
    if needs.checkpoints <= needs.disk_free:
        return []
    ways = ["make room, or choose another --output"]
    if config.checkpoint.save_total_limit > 1:
        ways.append("--set checkpoint.save_total_limit=1 keeps fewer checkpoints")
    if config.checkpoint.resume == "exact":
        ways.append("--set checkpoint.resume=weights keeps no optimizer state")
    return [
        found(
            "disk-short",
            f"Checkpoints and version take {gigabytes(needs.checkpoints)}, and "
            f"{gigabytes(needs.disk_free)} are free at the output.",
            f"{'; '.join(ways)}.",
            needed=needs.checkpoints,
            free=needs.disk_free,
        )
    ]


def gpu_unused(sentence: str | None) -> list[Finding]:
    """An NVIDIA card that this torch does not use: the run would take many times as long."""
    if sentence is None:
        return []
    says, _, do = sentence.partition(". ")
    return [found("gpu-unused", f"{says}.", do or "python scripts/doctor.py")]


def on_battery() -> bool | None:
    """Whether this computer runs on battery; None where there is none or nobody says."""
    import psutil  # type: ignore[import-untyped,unused-ignore]

    ask = getattr(psutil, "sensors_battery", None)
    try:
        battery = ask() if ask is not None else None
    except (OSError, RuntimeError, ValueError):  # what a driver that answers nonsense leads to
        return None
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def may_sleep(battery: bool | None, system: str = sys.platform) -> list[Finding]:
    """A laptop on battery: it slows down, and sleeps when nobody touches it."""
    if not battery:
        return []
    return [
        found(
            "may-sleep",
            "This computer runs on battery: it computes more slowly, and may go to sleep when it "
            "is left alone.",
            f"Plug it in. {_STAY_AWAKE.get(system, _STAY_AWAKE['linux'])}",
        )
    ]


def gigabytes(size: float) -> str:
    """1.5 GB, or 120 MB below 1 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
