"""The text that `crossmodal cost` prints."""

from collections.abc import Iterable

from crossmodal.cost.estimate import Estimate, disk_gb, hours_by_method, wall_hours
from crossmodal.cost.published import from_published
from crossmodal.cost.step_times import StepTime
from crossmodal.experiment.config import Resolved
from crossmodal.experiment.runs import trainings
from crossmodal.wording import plural


def cost_page(
    config: Resolved, measured: list[StepTime], gpus: list[int], cases: int | None, device: str | None
) -> str:
    """Trainings, hours, wall time and disk of an experiment, as a page of plain text.

    Args:
        config: the resolved config.
        measured: step times of its network, on any devices. Where there are none, hours are estimated.
        gpus: for how many GPUs the wall time is given.
        cases: of the training cohort; None when unknown.
        device: part of a device's name, to leave the others out.
    """
    jobs, steps = trainings(config), config.budget_settings.steps
    taught = sum(config.recipes[job.method].networks_in_memory > 1 for job in jobs)
    counts = [plural(len(getattr(config, f"{what}s")), what) for what in ("method", "subset", "fold", "seed")]
    lines = [
        f"{config.experiment}: {', '.join(counts)}, budget {config.budget}",
        f"{plural(len(jobs), 'training')} of {steps} steps, {taught} of them with a second network in memory",
        "",
    ]
    by_device = _by_device(time for time in measured if device is None or device.lower() in time.device.lower())
    for name in sorted(by_device):
        lines += _hours(config, name, by_device[name], gpus)
    if not by_device:
        lines += _nothing_measured(config, measured, gpus, device)
    lines.append("Disk, about")
    for name, size in disk_gb(config, cases).items():
        shown = "not known" if size is None else f"{size:8.1f} GB" if size >= 1 else f"{1000 * size:8.0f} MB"
        lines.append(f"  {name:<30} {shown}")
    if cases is None:
        lines.append("  (how many cases there are is not known: add --cases N, or --config brats=PATH)")
    return "\n".join([*lines, "", "Not counted: the queue, preprocessing, prediction (minutes a fold) and scoring."])


def _by_device(times: Iterable[StepTime]) -> dict[str, list[StepTime]]:
    found: dict[str, list[StepTime]] = {}
    for time in times:
        found.setdefault(time.device, []).append(time)
    return found


def _hours(config: Resolved, device: str, measured: list[StepTime], gpus: list[int]) -> list[str]:
    estimates = hours_by_method(config, measured)
    width = max(14, *(len(estimate.method) for estimate in estimates))
    on_cpu = device.lower().startswith("cpu")
    lines = [
        f"On {device} ({', '.join(sorted({time.source for time in measured}))})",
        f"  {'method':<{width}}  trainings  {'hours' if on_cpu else 'GPU hours'} (lowest to highest)",
        *(f"  {e.method:<{width}}  {e.trainings:>9}  {_range(e.hours)}  {e.basis}" for e in estimates),
        f"  {'all':<{width}}  {sum(e.trainings for e in estimates):>9}  {_range(_sum(estimates))}",
        "  Until the last training ends:",
    ]
    for number in gpus:
        places = f"{number} at a time" if on_cpu else plural(number, "GPU")
        lines.append(f"  {places:<{width}}             {_range(wall_hours(config, estimates, number))}")
    return [*lines, ""]


def _nothing_measured(config: Resolved, measured: list[StepTime], gpus: list[int], device: str | None) -> list[str]:
    others = ", ".join(sorted({time.device for time in measured}))
    what = f"on a device called '{device}'" if device else "of this network"
    lacking = f"no step {what} was measured" + (f" (only on {others})" if others else "")
    measure = [
        f"  Measure it on the machine you will use: make bench; or train one method with budget={config.budget}",
        "  and give that experiment's folder: crossmodal cost --measured results/NAME",
        "",
    ]
    by_device = _by_device(from_published(config, device))
    if not by_device:
        return [f"Hours: not known: {lacking}.", *measure]
    (first, times), *further = by_device.items()
    lines = [
        f"Hours: an ESTIMATE from published rates: {lacking}.",
        "  Lowest: NVIDIA's tuned nnU-Net. Middle: nnU-Net's own 9 h a training on an A100, scaled by the operations",
        "  of the network. Highest: a training that waits for augmentation. Other GPUs: scaled by memory bandwidth.",
        *measure,
        *_hours(config, first, times, gpus),
    ]
    if further:
        totals = {name: _sum(hours_by_method(config, times)) for name, times in further}
        lines.append("All trainings on other GPUs, GPU hours (lowest to highest)")
        lines += [*(f"  {name:<25}{_range(hours)}" for name, hours in totals.items()), ""]
    return lines


def _sum(estimates: list[Estimate]) -> tuple[float, ...]:
    return tuple(map(sum, zip(*(estimate.hours for estimate in estimates), strict=True)))


def _range(hours: tuple[float, ...]) -> str:
    low, middle, high = hours
    digits = 3 if high < 1 else 1 if high < 100 else 0
    return f"{middle:8.{digits}f}  ({low:.{digits}f} to {high:.{digits}f})"
