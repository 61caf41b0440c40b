rule preprocess_dataset:
    input:
        cases=rules.check_cohort.output.cases,
    output:
        manifest=f"{DATASET}/manifest.json",
        raw=directory(f"{DATASET}/raw"),
        preprocessed=directory(f"{DATASET}/preprocessed"),
    log:
        f"{LOGS}/preprocess_dataset.log",
    benchmark:
        f"{BENCHMARKS}/preprocess_dataset.tsv"
    conda:
        CONDA
    threads: 8
    resources:
        mem_mb=lambda wildcards, threads, attempt: 4000 * threads * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        out=subpath(output.manifest, parent=True),
        budget=EXPERIMENT.budget,
        backbone=EXPERIMENT.backbone,
    message:
        "Preprocess the four-channel dataset that serves every subset and method"
    shell:
        "crossmodal dataset --cases {input.cases:q} --out {params.out:q} --budget {params.budget:q}"
        " --backbone {params.backbone} --workers {threads} 2>&1 | tee {log:q}"
