"""The text that `crossmodal cost` prints."""

from collections.abc import Collection, Iterable

from crossmodal.cost.estimate import Estimate, disk_gb, hours_by_method, wall_hours
from crossmodal.cost.published import from_published
from crossmodal.cost.step_times import StepTime
from crossmodal.experiment.config import Resolved
from crossmodal.experiment.runs import trainings


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
    jobs = trainings(config)
    taught = sum(config.recipes[job.method].networks_in_memory > 1 for job in jobs)
    counts = [_count(getattr(config, what), what) for what in ("methods", "subsets", "folds", "seeds")]
    lines = [
        f"{config.experiment}: {', '.join(counts)}, budget {config.budget}",
        f"{_count(jobs, 'trainings')} of {config.budget_settings.steps} steps, "
        f"{taught} of them with a second network in memory",
        "",
    ]
    by_device = _by_device(time for time in measured if device is None or device.lower() in time.device.lower())
    for name in sorted(by_device):
        lines += _hours(config, name, by_device[name], gpus)
    if not by_device:
        lines += _nothing_measured(config, measured, gpus, device)
    lines += ["Disk, about", *_disk(config, cases), ""]
    lines.append("Not counted: the queue, preprocessing, prediction (minutes a fold) and scoring.")
    return "\n".join(lines)


def _hours(config: Resolved, device: str, measured: list[StepTime], gpus: list[int]) -> list[str]:
    estimates = hours_by_method(config, measured)
    width = max(14, *(len(estimate.method) for estimate in estimates))
    on_cpu = device.lower().startswith("cpu")
    unit = "hours" if on_cpu else "GPU hours"
    lines = [f"On {device} ({', '.join(sorted({time.source for time in measured}))})"]
    lines.append(f"  {'method':<{width}}  trainings  {unit} (lowest to highest)")
    for estimate in estimates:
        lines.append(
            f"  {estimate.method:<{width}}  {estimate.trainings:>9}  {_range(estimate.hours)}  {estimate.basis}"
        )
    lines.append(f"  {'all':<{width}}  {sum(e.trainings for e in estimates):>9}  {_range(_sum(estimates))}")
    lines.append("  Until the last training ends:")
    for number in gpus:
        places = f"{number} at a time" if on_cpu else _count(range(number), "GPUs")
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
        lines.append("All trainings on other GPUs, GPU hours (lowest to highest)")
        lines += [f"  {name:<25}{_range(_sum(hours_by_method(config, times)))}" for name, times in further]
        lines.append("")
    return lines


def _disk(config: Resolved, cases: int | None) -> list[str]:
    sizes = disk_gb(config, cases)
    lines = [f"  {name:<30} {_size(size)}" for name, size in sizes.items()]
    if cases is None:
        lines.append("  (how many cases there are is not known: add --cases N, or --config brats=PATH)")
    return lines


def _by_device(times: Iterable[StepTime]) -> dict[str, list[StepTime]]:
    found: dict[str, list[StepTime]] = {}
    for time in times:
        found.setdefault(time.device, []).append(time)
    return found


def _sum(estimates: list[Estimate]) -> tuple[float, ...]:
    return tuple(sum(estimate.hours[which] for estimate in estimates) for which in range(3))


def _size(gigabytes: float | None) -> str:
    if gigabytes is None:
        return "not known"
    return f"{gigabytes:8.1f} GB" if gigabytes >= 1 else f"{1000 * gigabytes:8.0f} MB"


def _count(items: Collection, plural: str) -> str:
    return f"{len(items)} {plural if len(items) != 1 else plural[:-1]}"


def _range(hours: tuple[float, float, float]) -> str:
    low, middle, high = hours
    digits = 3 if high < 1 else 1 if high < 100 else 0
    return f"{middle:8.{digits}f}  ({low:.{digits}f} to {high:.{digits}f})"
