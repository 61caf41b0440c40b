# Where Snakemake looks first when it is started in this folder. The workflow is workflow/Snakefile.
include: "workflow/Snakefile"


workflow.default_target = "all"  # that of an included file does not count
