rule generate_phantom:
    output:
        directory(EXPERIMENT.phantom.place),
    log:
        f"{LOGS}/generate_phantom.log",
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=lambda wildcards, threads, attempt: 2000 * threads * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        options=[
            *("--cases", EXPERIMENT.phantom.cases),
            *("--spacing", EXPERIMENT.phantom.spacing),
            *("--seed", EXPERIMENT.phantom.seed),
            *("--site", EXPERIMENT.phantom.site),
            *(["--width", EXPERIMENT.phantom.width] if EXPERIMENT.phantom.width != 1 else []),
        ],
    message:
        "Generate the embedded glioma phantoms in {output}"
    shell:
        "crossmodal cohort phantom {output:q} {params.options:q} --workers {threads} 2>&1 | tee {log:q}"


rule check_cohort:
    input:
        cohort_inputs,
    output:
        # problems.csv beside it is not declared: Snakemake would delete it just when the check fails
        cases=CASES,
    log:
        f"{LOGS}/check_cohort.log",
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=lambda wildcards, threads, attempt: 2000 * threads * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        path=EXPERIMENT.brats or EXPERIMENT.phantom.place,
        name=EXPERIMENT.cohorts[0],
        release=EXPERIMENT.release,
        on_problem=EXPERIMENT.on_problem,
        split=split_options(),
        external=external_options(),
        out=subpath(output.cases, parent=True),
    message:
        "Check and split the cohort in {params.path}"
    shell:
        "crossmodal cohort check {params.path:q} --name {params.name:q} --release {params.release:q}"
        " --on-problem {params.on_problem} {params.split:q} {params.external:q}"
        " --workers {threads} --out {params.out:q} 2>&1 | tee {log:q}"
