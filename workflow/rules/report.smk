rule collect_figure_data:
    input:
        per_case=rules.collect_scores.output.per_case,
        predictions=all_of(PREDICTIONS),
        cases=rules.check_cohort.output.cases,
    output:
        f"{RESULTS}/figure_data/curves.csv",
    log:
        f"{LOGS}/collect_figure_data.log",
    params:
        config=f"{RESULTS}/config.yaml",
        models=f"{RESULTS}/models",
        predictions=f"{RESULTS}/predictions",
        tables=subpath(input.per_case, parent=True),
        out=subpath(output[0], parent=True),
    message:
        "Gather what the figures need beside the tables"
    shell:
        "crossmodal figure-data --config {params.config:q} --cases {input.cases:q} --models {params.models:q}"
        " --predictions {params.predictions:q} --tables {params.tables:q} --out {params.out:q} 2>&1 | tee {log:q}"


rule draw_figures:
    input:
        rules.build_tables.output,
        rules.collect_scores.output,
        rules.collect_figure_data.output,
    output:
        index=f"{RESULTS}/figures/index.json",
    log:
        f"{LOGS}/draw_figures.log",
    params:
        experiment=RESULTS,
    message:
        "Draw the figures from the tables"
    shell:
        "crossmodal figures {params.experiment:q} 2>&1 | tee {log:q}"


rule write_report:
    input:
        rules.draw_figures.output,
        rules.build_tables.output,
    output:
        f"{RESULTS}/report.html",
    log:
        f"{LOGS}/write_report.log",
    params:
        experiment=RESULTS,
        templates=Path(workflow.basedir, "workflow", "report"),
    message:
        "Write the report {output}"
    shell:
        "crossmodal report {params.experiment:q} --templates {params.templates:q} --out {output:q} 2>&1 | tee {log:q}"


# Regenerates tables and figures from what is kept in git or was restored: no training and no cohort above it.
rule figures:
    log:
        f"{LOGS}/figures.log",
    params:
        experiment=figures_of(),
    message:
        "Draw the figures of {params.experiment} again"
    shell:
        "(crossmodal tables {params.experiment:q} && crossmodal figures {params.experiment:q}) 2>&1 | tee {log:q}"
