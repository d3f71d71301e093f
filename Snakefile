# codekd: knowledge distillation for code understanding.
#
#   snakemake --cores 8 all                          the study in config/config.yaml
#   snakemake --cores 8 all --configfile my.yaml     another study
#   snakemake -n                                     what would run
#
# corpus -> examples -> tokenizers -> encoded -> teachers -> signals -> students -> report


from snakemake.utils import min_version

min_version("9.27")


if not workflow.configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/teachers.smk"
include: "workflow/rules/students.smk"
include: "workflow/rules/inference.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        ancient([manifest(node) for node in [*GRAPH.stage("students"), GRAPH.report]]),


onstart:
    begin()
    print(plan())


onerror:
    print(failures())


onsuccess:
    print(outcome())
