# One training of one network. Its state lies in fold_<k>/state/, outside the outputs, so that Snakemake does
# not delete it when a job fails: the same command goes on from there. Outputs are marked with `update`, so that
# Snakemake leaves them: a network of the same settings is not trained twice, whichever job made it.
rule train_network:
    input:
        dataset=rules.preprocess_dataset.output.manifest,
        arrays=ancient(rules.preprocess_dataset.output.preprocessed),
        teacher=teacher_manifest,
    output:
        checkpoint=update(f"{RESULTS}/{layout.CHECKPOINT}"),
        manifest=update(MANIFEST),
    log:
        f"{LOGS}/train/{OF_TRAINING}.log",
    benchmark:
        f"{BENCHMARKS}/train/{OF_TRAINING}.tsv"
    wildcard_constraints:
        method=any_of(method for method in EXPERIMENT.recipes if method not in TOGETHER),
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
        " --out {params.out:q} --replace 2>&1 | tee {log:q}"


# With `students` in the config: the students of one method, seed and fold that share their batches, as one job.
for method, number, subsets in JOINT_JOBS:

    rule:
        name:
            f"train_together_{method}_{number}"
        input:
            dataset=rules.preprocess_dataset.output.manifest,
            arrays=ancient(rules.preprocess_dataset.output.preprocessed),
            teachers=teachers_of(method, subsets),
        output:
            checkpoints=update(
                expand(f"{RESULTS}/{layout.CHECKPOINT}", method=method, modalities=subsets, allow_missing=True)
            ),
            manifests=update(expand(MANIFEST, method=method, modalities=subsets, allow_missing=True)),
        log:
            f"{LOGS}/train/{method}/together-{number}/seed{{seed}}/{layout.FOLD}.log",
        benchmark:
            f"{BENCHMARKS}/train/{method}/together-{number}/seed{{seed}}/{layout.FOLD}.tsv"
        priority: 10
        conda:
            CONDA
        threads: BUDGET.threads + BUDGET.loader_workers
        resources:
            gpu=GPUS_PER_JOB,
            mem_mb=memory_together(method, subsets),
            runtime=minutes_together(method, subsets),
        params:
            method=method,
            subsets=",".join(subsets),
            out=model_of_student(method),
            settings=["--dataset", DATASET, "--budget", EXPERIMENT.budget, *DEVICE_OPTIONS],
            options=options_together(method, subsets),
            recipe=recipe_hash_of(method, subsets[0]),
        shell:
            "crossmodal train --method {params.method:q} --modalities {params.subsets}"
            " --fold {wildcards.fold} --seed {wildcards.seed} {params.settings:q} {params.options:q}"
            " --out {params.out:q} --replace 2>&1 | tee {log:q}"
