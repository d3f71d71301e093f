# From a pretrained encoder to what a fine-tuned teacher knows.


localrules:
    pretrained,


rule pretrained:
    input:
        parents("pretrained"),
    output:
        "results/pretrained/{teacher}-{identity}/manifest.json",
    log:
        "results/logs/pretrained/{teacher}-{identity}.log",
    benchmark:
        "results/benchmarks/pretrained/{teacher}-{identity}.jsonl"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(8000),
        runtime=more_each_time(60),
    params:
        job=job("pretrained"),
    message:
        "obtain the pretrained encoder {wildcards.teacher}"
    shell:
        'python -P "$SCRIPTS"/pretrained.py --job {params.job:q} --output {output:q} --log {log:q}'


rule adapted:
    input:
        parents("adapted"),
    output:
        "results/adapted/{teacher}-{identity}/manifest.json",
    log:
        "results/logs/adapted/{teacher}-{identity}.log",
    benchmark:
        "results/benchmarks/adapted/{teacher}-{identity}.jsonl"
    priority: 1
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(16000),
        runtime=more_each_time(720),
    params:
        job=job("adapted"),
    message:
        "train the encoder {wildcards.teacher} on code"
    shell:
        'python -P "$SCRIPTS"/adapt.py --job {params.job:q} --output {output:q} --log {log:q}'


rule teacher:
    input:
        parents("teachers"),
    output:
        "results/teachers/{task}/{teacher}-{identity}/manifest.json",
    log:
        "results/logs/teachers/{task}/{teacher}-{identity}.log",
    benchmark:
        "results/benchmarks/teachers/{task}/{teacher}-{identity}.jsonl"
    priority: 1
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(16000),
        runtime=more_each_time(720),
    params:
        job=job("teachers"),
    message:
        "fine-tune {wildcards.teacher} on {wildcards.task}"
    shell:
        'python -P "$SCRIPTS"/teacher.py --job {params.job:q} --output {output:q} --log {log:q}'


# One pass of a teacher captures all that is missing of it on a task, and another verifies it: a rule of its own for every
# (task, teacher), because how many files it makes depends on what is already there. A plus stands in no name, and a colon
# would end the rule's name in what a cluster's job is asked for.
for stage, step in (("signals", "capture"), ("verified", "verify")):
    for (task, teacher), nodes in unfinished(stage):

        rule:
            name:
                f"{step}+{task}+{teacher}"
            input:
                parents_of(nodes),
            output:
                [manifest(node) for node in nodes],
            log:
                log_of(nodes[0]),
            benchmark:
                f"results/benchmarks/{stage}/{task}/{teacher}.jsonl"
            priority: 1
            conda:
                ENVIRONMENT
            threads: 1
            resources:
                mem_mb=more_each_time(16000),
                runtime=more_each_time(240),
            params:
                step=step,
                jobs=jobs_of(nodes),
            message:
                f"{step} {', '.join(node.coordinates[-1] for node in nodes)} of {teacher} on {task}"
            shell:
                'python -P "$SCRIPTS"/{params.step}.py --job {params.jobs:q} --output {output:q} --log {log:q}'
