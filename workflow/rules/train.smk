# One training of one network. Its state lies in fold_<k>/state/, outside the outputs, so that Snakemake does
# not delete it when a job fails: the same command goes on from there.
rule train_network:
    input:
        dataset=rules.preprocess_dataset.output.manifest,
        arrays=ancient(rules.preprocess_dataset.output.preprocessed),
        teacher=teacher_manifest,
    output:
        checkpoint=f"{RESULTS}/{layout.CHECKPOINT}",
        manifest=MANIFEST,
    log:
        f"{LOGS}/train/{OF_TRAINING}.log",
    benchmark:
        f"{BENCHMARKS}/train/{OF_TRAINING}.tsv"
    priority: 10
    conda:
        CONDA
    threads: BUDGET.threads + BUDGET.loader_workers
    resources:
        gpu=GPUS_PER_JOB,
        mem_mb=training_memory,
        runtime=training_minutes,
    params:
        out=MODEL,
        settings=["--dataset", DATASET, "--budget", EXPERIMENT.budget, *DEVICE_OPTIONS],
        options=recipe_options,
        recipe=recipe_hash,
    shell:
        "crossmodal train --method {wildcards.method:q} --modalities {wildcards.modalities}"
        " --fold {wildcards.fold} --seed {wildcards.seed} {params.settings:q} {params.options:q}"
        " --out {params.out:q} 2>&1 | tee {log:q}"
