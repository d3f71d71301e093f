# One cell of the grid a job. Where the config searches, trials choose the settings of the cells first; what a student
# begins from is made once for all cells of the tasks that share its vocabulary.


rule start:
    input:
        parents("starts"),
    output:
        "results/starts/{vocabulary}/{student}/{start}-{identity}/manifest.json",
    log:
        "results/logs/starts/{vocabulary}/{student}/{start}-{identity}.log",
    benchmark:
        "results/benchmarks/starts/{vocabulary}/{student}/{start}-{identity}.jsonl"
    priority: 1
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(16000),
        runtime=more_each_time(720),
    params:
        job=job("starts"),
    message:
        "make the start {wildcards.start} of {wildcards.student} for {wildcards.vocabulary}"
    shell:
        'python -P "$SCRIPTS"/start.py --job {params.job:q} --output {output:q} --log {log:q}'


rule trial:
    input:
        parents("trials"),
    output:
        "results/trials/{task}/{teacher}/{student}/{method}/{trial}-{identity}/manifest.json",
    log:
        "results/logs/trials/{task}/{teacher}/{student}/{method}/{trial}-{identity}.log",
    benchmark:
        "results/benchmarks/trials/{task}/{teacher}/{student}/{method}/{trial}-{identity}.jsonl"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(16000),
        runtime=more_each_time(240),
    params:
        job=job("trials"),
    message:
        "try {wildcards.trial} of {wildcards.student} with {wildcards.method} on {wildcards.task} (teacher {wildcards.teacher})"
    shell:
        'python -P "$SCRIPTS"/trial.py --job {params.job:q} --output {output:q} --log {log:q}'


rule selected:
    input:
        parents("selected"),
    output:
        "results/selected/{task}/{teacher}/{student}/{method}-{identity}/manifest.json",
    log:
        "results/logs/selected/{task}/{teacher}/{student}/{method}-{identity}.log",
    benchmark:
        "results/benchmarks/selected/{task}/{teacher}/{student}/{method}-{identity}.jsonl"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(2000),
        runtime=more_each_time(10),
    params:
        job=job("selected"),
    message:
        "choose the settings of {wildcards.student} with {wildcards.method} on {wildcards.task} (teacher {wildcards.teacher})"
    shell:
        'python -P "$SCRIPTS"/selected.py --job {params.job:q} --output {output:q} --log {log:q}'


rule student:
    input:
        parents("students"),
    output:
        "results/students/{task}/{teacher}/{student}/{method}/{seed}-{identity}/manifest.json",
    log:
        "results/logs/students/{task}/{teacher}/{student}/{method}/{seed}-{identity}.log",
    benchmark:
        "results/benchmarks/students/{task}/{teacher}/{student}/{method}/{seed}-{identity}.jsonl"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(16000),
        runtime=more_each_time(240),
    params:
        job=job("students"),
    message:
        "train {wildcards.student} with {wildcards.method} on {wildcards.task} ({wildcards.seed}, teacher {wildcards.teacher})"
    shell:
        'python -P "$SCRIPTS"/student.py --job {params.job:q} --output {output:q} --log {log:q}'
