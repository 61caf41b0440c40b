"""Snakemake on a terminal: a line for each step that ended, what runs now, a bar, and at the end what failed.

profiles/default asks for it where stderr is a terminal (`logger: crossmodal`); everywhere else Snakemake prints its own
lines. Snakemake finds it by the package's name. What it leaves out is in .snakemake/log and in the steps' own logs.
"""

import sys
import threading
import time
from logging import WARNING, LogRecord
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from crossmodal.progress import in_words
from snakemake_logger_plugin_crossmodal.steps import Run, Step, last_lines

# How many steps that run are shown, and how many lines of the log of one that failed.
RUNNING, FAILED_LINES = 8, 12
REDRAWN = 0.5  # seconds from one drawing of what runs to the next
# Snakemake's lines that a step's own line or the end makes superfluous.
LEFT_OUT = (
    *("Assuming unrestricted", "Building DAG", "Conda environments: ignored", "Execute ", "Exiting because a job"),
    *("Provided ", "RuleException:\nCalledProcessError", "Rules claiming more", "Select jobs", "Using shell"),
    *("WorkflowError:\nAt least one job", "host: "),
)


def shows_steps_alone(settings: Any) -> bool:
    """Whether a run's terminal shows steps, and their lines go to their logs alone.

    Args:
        settings: Snakemake's output settings. Who says how much to print (--verbose, --printshellcmds, --debug-dag,
            --quiet, --dry-run) gets Snakemake's own lines.
    """
    chosen = settings.verbose, settings.printshellcmds, settings.debug_dag, settings.quiet, settings.dryrun
    return "crossmodal" in settings.log_handler_settings and not any(chosen)


class LogHandler(LogHandlerBase):
    """What `--logger crossmodal` prints."""

    writes_to_stream, writes_to_file = True, False
    has_filter = has_formatter = needs_rulegraph = False

    def __post_init__(self) -> None:
        from snakemake.logging import ColorizingTextHandler, DefaultFormatter

        self.run, self.stopped = Run(), False
        self.plain = None
        settings = self.common_settings
        if not shows_steps_alone(settings):
            self.plain = ColorizingTextHandler(settings.nocolor, sys.stdout if settings.stdout else sys.stderr)
            self.plain.setFormatter(DefaultFormatter(settings.quiet, settings.show_failed_logs))
        self.console = Console(stderr=True, no_color=settings.nocolor or None, highlight=False)
        self.live = Live(get_renderable=self._now, console=self.console, auto_refresh=False, transient=True)
        self.ended = threading.Event()

    def emit(self, record: LogRecord) -> None:
        """Show what has happened."""
        try:
            if self.plain:
                self.plain.emit(record)
            else:
                self._show(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """End the bar, and show each step that failed with its log's last lines. Snakemake closes twice."""
        self.ended.set()
        with self.lock:
            self.live.stop()
        failed = [*self.run.failed.values(), *self.run.running.values()]  # Snakemake does not report every end
        self.run.failed, self.run.running = {}, {}
        if failed and not self.stopped:
            self._print(f"\n{self.run.done} of {self.run.total} steps are done, {len(failed)} failed:", "red")
            for step in failed:
                self._print(f"\nfailed: {step.name}", "red")
                for log in step.logs:
                    self._print(f"the end of {log}:")
                    self._print("\n".join(f"    {line}" for line in last_lines(Path(log), FAILED_LINES)))
        super().close()

    def _show(self, record: LogRecord) -> None:
        event, now = getattr(record, "event", None), time.monotonic()
        if event == LogEvent.RUN_INFO:
            self.run.counts = {rule: count for rule, count in record.stats.items() if rule != "total"}
            if not self.live.is_started:
                self.live.start()
                threading.Thread(target=self._redraw, daemon=True).start()
        elif event == LogEvent.JOB_INFO:
            name = record.rule_msg or _name(record.rule_name, record.wildcards)
            self.run.begin(record.jobid, Step(name, record.rule_name, record.log, now))
        elif event == LogEvent.JOB_FINISHED:
            step = self.run.finish(record.job_id, now)
            self._ended(f"{self.run.done}/{self.run.total}", "green", step, now)
            for warning in step.warnings():
                self._print(f"        {warning}", "yellow")
        elif event == LogEvent.JOB_ERROR:
            if step := self.run.fail(record.jobid):
                self._ended("stopped" if self.stopped else "failed", "red", step, now)
        elif event in (None, LogEvent.ERROR) and not (message := record.getMessage()).startswith(LEFT_OUT):
            self.stopped = self.stopped or message.startswith("Terminating processes on user request")
            self._print(message, "red" if record.levelno > WARNING else "yellow" if record.levelno == WARNING else "")

    def _redraw(self) -> None:
        # Not rich's own thread: it may draw while a line is printed, and then erases that line. This one waits for the
        # handler's lock, which each record holds while it is shown.
        while not self.ended.wait(REDRAWN):
            with self.lock:
                if self.live.is_started:
                    self.live.refresh()

    def _print(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, markup=False, soft_wrap=True)

    def _ended(self, how: str, style: str, step: Step, now: float) -> None:
        took = (f"  {in_words(now - step.started)}", "dim")
        self.console.print(Text.assemble((f"{how:>7} ", style), step.name, took), soft_wrap=True)

    def _now(self) -> RenderableType:
        """The steps that run, each with the last line of its log, and the bar."""
        now, running = time.monotonic(), list(self.run.running.values())
        lines = []
        for step in running[:RUNNING]:
            lines.append(Text.assemble("running ", step.name, (f"  {in_words(now - step.started)}", "dim")))
            if says := step.says(now):
                lines.append(Text(f"        {says}", "dim"))
        if len(running) > RUNNING:
            lines.append(Text(f"        and {len(running) - RUNNING} more", "dim"))
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(1, self.run.total), completed=self.run.done, width=30)
        left = f"{self.run.done} of {self.run.total} steps  {self.run.left_in_words(now)}"
        row.add_row(bar, Text(left, no_wrap=True, overflow="ellipsis"))
        return Group(*lines, row)


def _name(rule: str, wildcards: dict[str, str]) -> str:
    """A step without a message of its own: "Train network: choi2023, t1ce+flair, seed 0, fold 0"."""
    values = ", ".join(f"{key} {value}" if value.isdigit() else value for key, value in wildcards.items())
    return rule.replace("_", " ").capitalize() + (f": {values}" if values else "")
