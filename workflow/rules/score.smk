rule predict_cases:
    input:
        model=trained_model,
        cases=rules.check_cohort.output.cases,
    output:
        directory(PREDICTIONS),
    log:
        f"{LOGS}/predict/{OF_PREDICTION}.log",
    benchmark:
        f"{BENCHMARKS}/predict/{OF_PREDICTION}.tsv"
    conda:
        CONDA
    threads: BUDGET.threads
    resources:
        gpu=GPUS_PER_JOB,
        mem_mb=12000,
        runtime=240,  # another attempt goes on from the cases that are done
    params:
        device=DEVICE_OPTIONS,
    shell:
        "crossmodal predict-cases --model {input.model:q} --fold {wildcards.fold} --cases {input.cases:q}"
        " --cohort {wildcards.cohort:q} --modalities {wildcards.modalities} --out {output:q}"
        " {params.device:q} --threads {threads} 2>&1 | tee {log:q}"


rule score_predictions:
    input:
        predictions=PREDICTIONS,
        cases=rules.check_cohort.output.cases,
    output:
        SCORES,
    log:
        f"{LOGS}/score/{OF_PREDICTION}.log",
    conda:
        CONDA
    resources:
        mem_mb=4000,
        runtime=240,
    shell:
        "crossmodal score --predictions {input.predictions:q} --cases {input.cases:q}"
        " --cohort {wildcards.cohort:q} --out {output:q} --workers {threads} 2>&1 | tee {log:q}"


rule collect_scores:
    input:
        scores=lambda wildcards: all_of(SCORES),
        cases=rules.check_cohort.output.cases,
    output:
        per_case=f"{RESULTS}/tables/per_case.csv",
        cost=f"{RESULTS}/tables/cost.csv",
    log:
        f"{LOGS}/collect_scores.log",
    localrule: True
    conda:
        CONDA
    params:
        experiment=subpath(output.per_case, ancestor=2),
    message:
        "Collect the scores of all methods"
    shell:
        "crossmodal collect --config {params.experiment:q}/config.yaml --scores {params.experiment:q}/scores"
        " --cases {input.cases:q} --models {params.experiment:q}/models --benchmarks {params.experiment:q}/benchmarks"
        " --out {output.per_case:q} 2>&1 | tee {log:q}"


rule build_tables:
    input:
        rules.collect_scores.output.per_case,
    output:
        summary=f"{RESULTS}/tables/summary.csv",
        comparisons=f"{RESULTS}/tables/comparisons.csv",
    log:
        f"{LOGS}/build_tables.log",
    localrule: True
    conda:
        CONDA
    params:
        experiment=subpath(output.summary, ancestor=2),
    message:
        "Summarise and compare the methods"
    shell:
        "crossmodal tables {params.experiment:q} 2>&1 | tee {log:q}"
