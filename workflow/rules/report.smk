rule collect_figure_data:
    input:
        per_case=rules.collect_scores.output.per_case,
        predictions=lambda wildcards: all_of(PREDICTIONS),
        cases=rules.check_cohort.output.cases,
    output:
        f"{RESULTS}/figure_data/curves.csv",
    log:
        f"{LOGS}/collect_figure_data.log",
    conda:
        CONDA
    params:
        experiment=subpath(input.per_case, ancestor=2),
    message:
        "Gather what the figures need beside the tables"
    shell:
        "crossmodal figure-data --config {params.experiment:q}/config.yaml --cases {input.cases:q}"
        " --models {params.experiment:q}/models --predictions {params.experiment:q}/predictions"
        " --tables {params.experiment:q}/tables --out {params.experiment:q}/figure_data 2>&1 | tee {log:q}"


rule draw_figures:
    input:
        rules.build_tables.output,
        rules.collect_scores.output,
        rules.collect_figure_data.output,
    output:
        index=f"{RESULTS}/figures/index.json",
        pictures=[
            report(f"{RESULTS}/figures/{name}.png", caption=f"../report/{name}.rst", category="Figures")
            for name in FIGURES
        ],
    log:
        f"{LOGS}/draw_figures.log",
    localrule: True
    conda:
        CONDA
    threads: 2
    params:
        experiment=subpath(output.index, ancestor=2),
    message:
        "Draw the figures from the tables"
    shell:
        "crossmodal figures {params.experiment:q} --workers {threads} 2>&1 | tee {log:q}"


rule write_report:
    input:
        rules.draw_figures.output,
        rules.build_tables.output,
    output:
        f"{RESULTS}/report.html",
    log:
        f"{LOGS}/write_report.log",
    localrule: True
    conda:
        CONDA
    params:
        experiment=subpath(output[0], parent=True),
    message:
        "Write the report {output}"
    shell:
        "crossmodal report {params.experiment:q} --out {output:q} 2>&1 | tee {log:q}"


# Regenerates tables and figures from what is kept in git or was restored: no training and no cohort above it.
# An experiment without tables leaves it the reference.
rule figures:
    log:
        f"{LOGS}/figures.log",
    localrule: True
    conda:
        CONDA
    threads: 2
    params:
        experiment=RESULTS if Path(RESULTS, "tables", "per_case.csv").exists() else "results/reference",
    message:
        "Draw the figures of {params.experiment} again"
    shell:
        "(([ -f {params.experiment:q}/tables/per_case.csv ] || crossmodal merge {params.experiment:q})"
        " && crossmodal tables {params.experiment:q} && crossmodal figures {params.experiment:q} --workers {threads}"
        " && crossmodal report {params.experiment:q}) 2>&1 | tee {log:q}"
