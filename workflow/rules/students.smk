# One cell of the grid a job.


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
    params:
        job=job("students"),
    message:
        "train {wildcards.student} with {wildcards.method} on {wildcards.task} ({wildcards.seed}, teacher {wildcards.teacher})"
    shell:
        "python -P $SCRIPTS/student.py --job {params.job:q} --output {output:q} --log {log:q}"
