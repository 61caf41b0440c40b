"""Crossmodal: from BraTS files to a report on distillation with missing modalities.

snakemake                                                  the demo of config.yaml, on the embedded phantom
snakemake --configfile workflow/papers/choi2023.yaml --config brats=/data/BraTS2020
snakemake figures                                          tables and figures again, without training
"""

from snakemake.utils import min_version

min_version("9.0")

# --configfile would only extend a config that is read here, and a paper would inherit the demo's values.
if not workflow.config_settings.configfiles:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/cohort.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/publish.smk"


report: "workflow/report/workflow.rst"


localrules:
    all,
    collect_scores,
    build_tables,
    draw_figures,
    write_report,
    figures,
    publish,


rule all:
    default_target: True
    input:
        f"{RESULTS}/report.html",
    message:
        "Done: {input}"
