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
    params:
        job=job("pretrained"),
    message:
        "obtain the pretrained encoder {wildcards.teacher}"
    shell:
        "python -P $SCRIPTS/pretrained.py --job {params.job:q} --output {output:q} --log {log:q}"


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
    params:
        job=job("teachers"),
    message:
        "fine-tune {wildcards.teacher} on {wildcards.task}"
    shell:
        "python -P $SCRIPTS/teacher.py --job {params.job:q} --output {output:q} --log {log:q}"


rule signal:
    input:
        parents("signals"),
    output:
        "results/signals/{task}/{teacher}/{signal}-{identity}/manifest.json",
    log:
        "results/logs/signals/{task}/{teacher}/{signal}-{identity}.log",
    benchmark:
        "results/benchmarks/signals/{task}/{teacher}/{signal}-{identity}.jsonl"
    priority: 1
    conda:
        ENVIRONMENT
    threads: 1
    params:
        job=job("signals"),
    message:
        "capture the {wildcards.signal} of {wildcards.teacher} on {wildcards.task}"
    shell:
        "python -P $SCRIPTS/capture.py --job {params.job:q} --output {output:q} --log {log:q}"
