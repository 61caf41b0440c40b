# DVC keeps the bytes, Snakemake the graph: this is the end of a run, and no other rule knows of DVC.
rule publish:
    input:
        rules.write_report.output,
    log:
        f"{LOGS}/publish.log",
    localrule: True
    conda:
        CONDA
    params:
        experiment=subpath(input[0], parent=True),
        remote=["--remote", EXPERIMENT.publish_remote] if EXPERIMENT.publish_remote else [],
    message:
        "Publish the models, predictions and scores of {params.experiment}"
    shell:
        "crossmodal publish {params.experiment:q} {params.remote:q} 2>&1 | tee {log:q}"
