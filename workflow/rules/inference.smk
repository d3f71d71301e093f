# One job measures all students that are missing, each in turns with its teacher, and has the machine for itself.
for _, nodes in unfinished("inference"):

    rule inference:
        input:
            parents_of(nodes),
        output:
            [manifest(node) for node in nodes],
        log:
            log_of(nodes[0]),
        benchmark:
            "results/benchmarks/inference.jsonl"
        conda:
            ENVIRONMENT
        threads: workflow.resource_settings.cores or 8
        resources:
            mem_mb=more_each_time(16000),
            runtime=more_each_time(240),
        params:
            jobs=jobs_of(nodes),
        message:
            f"measure how fast {len(nodes)} students answer, in turns with their teachers"
        shell:
            'python -P "$SCRIPTS"/inference.py --job {params.jobs:q} --output {output:q} --log {log:q}'
