"""ro-crate-metadata.json of a run: the workflow, its inputs, the run and its jobs.

Which type and property each thing needs: https://www.researchobject.org/workflow-run-crate/profiles (0.5).
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from crossmodal.cohort.cases_csv import read_cases
from crossmodal.data import TEMPLATES
from crossmodal.evaluate.results import Results
from crossmodal.experiment import layout, runs
from crossmodal.publishing.crate_graph import Graph, add_files, alone
from crossmodal.publishing.records import Job, Rule
from crossmodal.report.answer import answer, question, title
from crossmodal.wording import plural

if TYPE_CHECKING:
    from rocrate.model.entity import Entity

SNAKEMAKE = "https://pypi.org/project/snakemake/"
LICENCE = "https://spdx.org/licenses/Apache-2.0"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
PROVENANCE = {"https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate"}
INPUTS = re.compile(
    r"config\.yaml|repeat\.yaml|recipes/.*|cohort/cases\.csv|.*\.md5|(?!models|predictions|record).*\.dvc"
)
OF_THE_WORKFLOW = re.compile(r"workflow/.*|LICENSE|README\.md|versions\.json")


def describe(
    folder: Path, results: Results, root: Path, steps: list[Rule], ran: list[Job], date: datetime, author: str | None
) -> None:
    """Write the metadata of a crate whose other files lie in `folder`.

    Args:
        folder: of the crate.
        results: the experiment.
        root: the clone that it lies in; CITATION.cff there names the workflow's authors.
        steps: the workflow's rules.
        ran: the jobs that were recorded; none where only tables are kept.
        date: of the run.
        author: name of the person who ran it.
    """
    graph = Graph(folder)
    tools = _tools(graph, steps, results.versions)
    creators = _creators(graph, root)
    person = graph.thing("#author", "Person", name=author) if author else None
    workflow = _workflow(graph, steps, ran, tools, results.versions, creators)
    add_files(graph)
    run = _run(graph, results, ran, workflow, person)
    actions = [run, *_provenance(graph, results, root, ran, steps, tools, run, person)]
    profiles = PROFILES | (PROVENANCE if ran else {})
    simulated = " Phantom run: simulated images, no patients." if results.is_phantom else ""
    root_properties = {
        "name": f"{title(results)}: a run of Crossmodal",
        "description": f"{question(results)} {answer(results)['verdict']}{simulated}",
        "datePublished": date.isoformat(timespec="seconds"),
        "license": graph.thing(LICENCE, "CreativeWork", name="Apache License 2.0", identifier="Apache-2.0"),
        "conformsTo": [
            graph.thing(uri, "CreativeWork", name=name, version=uri.rsplit("/", 1)[1]) for uri, name in profiles.items()
        ],
        "mentions": actions,
        "creator": creators,
        "author": [person] if person else [],
        "keywords": "glioma, segmentation, knowledge distillation, missing MRI sequences, nnU-Net",
    }
    for key, value in root_properties.items():
        if value:
            graph.crate.root_dataset[key] = alone(value)
    graph.crate.write(folder)


def _creators(graph: Graph, root: Path) -> list["Entity"]:
    """Authors of the workflow, as CITATION.cff names them."""
    path = root / "CITATION.cff"
    authors = yaml.safe_load(path.read_text(encoding="utf-8")).get("authors", []) if path.is_file() else []
    found = []
    for number, given in enumerate(authors):
        name = given.get("name") or f"{given.get('given-names', '')} {given.get('family-names', '')}".strip()
        kind = "Organization" if "name" in given else "Person"
        found.append(graph.thing(given.get("orcid") or f"#creator-{number}", kind, name=name))
    return found


def _tools(graph: Graph, steps: list[Rule], versions: dict[str, str]) -> dict[str, "Entity"]:
    """The command that each rule runs, by the rule."""
    version = versions.get("crossmodal")
    commands = {rule.tool: None for rule in steps}
    for command in commands:
        identifier = "#" + command.replace(" ", "-")
        commands[command] = graph.thing(identifier, "SoftwareApplication", name=command, softwareVersion=version)
    return {rule.name: commands[rule.tool] for rule in steps}


def _workflow(
    graph: Graph,
    steps: list[Rule],
    ran: list[Job],
    tools: dict[str, "Entity"],
    versions: dict[str, str],
    creators: list["Entity"],
) -> "Entity":
    """The main workflow with its steps, the commands that they run, and the software that it needs."""
    name = "workflow/Snakefile"
    workflow = graph.crate.add_workflow(
        graph.folder / name,
        name,
        properties=graph.facts(name) | {"@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]},
        main=True,
        lang="snakemake",
        lang_version=versions.get("snakemake"),
    )
    graph.files[name] = workflow
    parts = {
        "name": "Crossmodal",
        "description": "From images to a report on distillation with missing MRI sequences; as the clone has it",
        "version": versions.get("crossmodal"),
        "creator": creators,
        "softwareRequirements": [_package(graph, name, version) for name, version in versions.items()],
        "step": [
            graph.thing(
                f"#step-{rule.name}",
                "HowToStep",
                name=rule.name.replace("_", " "),
                description=rule.command,
                position=str(position),
                workExample=tools[rule.name],
            )
            for position, rule in enumerate(steps)
        ],
        # A tool in hasPart must be the instrument of an action (Provenance Run Crate).
        "hasPart": list({tools[job.rule].id: tools[job.rule] for job in ran}.values()),
    }
    for key, value in parts.items():
        if value:
            workflow[key] = alone(value)
    return workflow


def _package(graph: Graph, name: str, version: str) -> "Entity":
    homes = {"python": "https://www.python.org/", "crossmodal": "#software-crossmodal"}
    home = homes.get(name, f"https://pypi.org/project/{name}/")
    url = home if home.startswith("https") else None
    return graph.thing(home, "SoftwareApplication", name=name, softwareVersion=version, url=url)


def _run(graph: Graph, results: Results, ran: list[Job], workflow: "Entity", person: "Entity | None") -> "Entity":
    """The run as a whole: from the config and the cohorts to the tables, figures and the report."""
    config, versions = results.config, results.versions
    starts, ends = [job.start for job in ran if job.start], [job.end for job in ran if job.end]
    cost = results.optional_table("cost")
    devices = sorted(cost.device.astype(str).unique()) if "device" in cost else []
    networks = plural(len(runs.trainings(config)), "training")
    inputs = [entity for name, entity in graph.files.items() if INPUTS.fullmatch(name)]
    outputs = [
        entity
        for name, entity in graph.files.items()
        if not (INPUTS.fullmatch(name) or OF_THE_WORKFLOW.fullmatch(name))
    ]
    return graph.thing(
        "#run",
        "CreateAction",
        name=f"Run of {results.name} with Snakemake {versions.get('snakemake', '')}".strip(),
        description=f"{networks}, budget {config.budget}"
        + ("" if starts else ". When it ran was not recorded; datePublished is that of its tables."),
        instrument=workflow,
        object=[*inputs, *_cohorts(graph, results)],
        result=outputs,
        startTime=_iso(min(starts)) if starts else None,
        endTime=_iso(max(ends)) if ends else None,
        agent=person,
        additionalProperty=[
            graph.thing(f"#device-{number}", "PropertyValue", name="device of the trainings", value=device)
            for number, device in enumerate(devices)
        ],
    )


def _cohorts(graph: Graph, results: Results) -> list["Entity"]:
    """The cohorts that were read, by hash and terms; the images themselves are not in the crate."""
    config = results.config
    terms = yaml.safe_load((TEMPLATES / "data_terms.yaml").read_text(encoding="utf-8"))
    read = {config.cohorts[0]: (config.brats, config.release)} if config.cohorts else {}
    read |= {item.name: (item.path, item.release) for item in config.external}
    path = results.folder / layout.CASES
    releases = dict(read_cases(path)[["cohort", "release"]].values.tolist()) if path.is_file() else {}
    found = []
    for number, (name, (place, release)) in enumerate(read.items()):
        phantom = results.is_phantom and (number == 0 or name.startswith("phantom"))
        known = terms["phantom"] if phantom else terms.get(releases.get(name, release)) or terms["table"]
        known = known | (config.cohort_lock or {} if number == 0 else {})
        made = config.phantom if phantom and number == 0 else None
        found.append(
            graph.thing(
                f"#cohort-{name}",
                "CreativeWork",
                name=name,
                description=known["title"]
                + (f"; {made.cases} cases, {made.spacing:g} mm, seed {made.seed}, site {made.site}" if made else ""),
                conditionsOfAccess=known["licence"],
                citation=known["citation"],
                identifier=f"md5:{known['md5']}" if "md5" in known else None,
                alternateName=place,
            )
        )
    return found


def _provenance(
    graph: Graph,
    results: Results,
    root: Path,
    ran: list[Job],
    steps: list[Rule],
    tools: dict[str, "Entity"],
    run: "Entity",
    person: "Entity | None",
) -> list["Entity"]:
    """Each recorded job, what Snakemake did of each step, and Snakemake's run as a whole; nothing without records."""
    prefix = results.folder.resolve().relative_to(root.resolve()).as_posix() + "/"
    made: dict[str, list[Entity]] = {}
    others: dict[str, Entity] = {}
    for job in ran:
        names = [output.removeprefix(prefix) for output in job.outputs]
        for name in names:
            if name not in graph.files and name not in others:
                others[name] = graph.thing(f"#output-{name}", "CreativeWork", name=name)
        action = graph.thing(
            f"#job-{names[0]}",
            "CreateAction",
            name=f"{job.rule.replace('_', ' ')}: {names[0]}",
            description=job.command,
            instrument=tools[job.rule],
            result=[graph.files.get(name) or others[name] for name in names],
            startTime=_iso(job.start) if job.start else None,
            endTime=_iso(job.end) if job.end else None,
            agent=person,
        )
        made.setdefault(job.rule, []).append(action)
    if not ran:
        return []
    controls = [
        graph.thing(
            f"#control-{rule.name}",
            "ControlAction",
            name=f"Snakemake's jobs of {rule.name}",
            instrument=graph.crate.get(f"#step-{rule.name}"),
            object=made[rule.name],
        )
        for rule in steps
        if rule.name in made
    ]
    engine = graph.crate.get(SNAKEMAKE) or graph.thing(SNAKEMAKE, "SoftwareApplication", name="snakemake")
    organised = graph.thing(
        "#snakemake-run", "OrganizeAction", name="Run of Snakemake", instrument=engine, object=controls, result=run
    )
    return [*(action for actions in made.values() for action in actions), organised]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
