# From pinned wheels to encoded examples. What teachers and captures wait for comes first: Snakemake looks at the priority of
# a job alone, not at that of those that need it, and a teacher that starts late is what a run ends with.


localrules:
    corpus,


rule corpus:
    input:
        parents("corpus"),
    output:
        "results/corpus/{corpus}-{identity}/manifest.json",
    log:
        "results/logs/corpus/{corpus}-{identity}.log",
    benchmark:
        "results/benchmarks/corpus/{corpus}-{identity}.jsonl"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(4000),
        runtime=more_each_time(60),
    params:
        job=job("corpus"),
    message:
        "extract the functions of the corpus {wildcards.corpus}"
    shell:
        'python -P "$SCRIPTS"/corpus.py --job {params.job:q} --output {output:q} --log {log:q}'


rule examples:
    input:
        parents("examples"),
    output:
        "results/examples/{task}-{identity}/manifest.json",
    log:
        "results/logs/examples/{task}-{identity}.log",
    benchmark:
        "results/benchmarks/examples/{task}-{identity}.jsonl"
    priority: 2
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(8000),
        runtime=more_each_time(60),
    params:
        job=job("examples"),
    message:
        "make the examples of {wildcards.task}"
    shell:
        'python -P "$SCRIPTS"/examples.py --job {params.job:q} --output {output:q} --log {log:q}'


rule windows:
    input:
        parents("windows"),
    output:
        "results/windows/{windows}-{identity}/manifest.json",
    log:
        "results/logs/windows/{windows}-{identity}.log",
    benchmark:
        "results/benchmarks/windows/{windows}-{identity}.jsonl"
    priority: 2
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(8000),
        runtime=more_each_time(60),
    params:
        job=job("windows"),
    message:
        "cut the functions of {wildcards.windows} into windows"
    shell:
        'python -P "$SCRIPTS"/windows.py --job {params.job:q} --output {output:q} --log {log:q}'


rule syntax:
    input:
        parents("syntax"),
    output:
        "results/syntax/{task}-{identity}/manifest.json",
    log:
        "results/logs/syntax/{task}-{identity}.log",
    benchmark:
        "results/benchmarks/syntax/{task}-{identity}.jsonl"
    priority: 2
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(8000),
        runtime=more_each_time(60),
    params:
        job=job("syntax"),
    message:
        "find the lexemes of {wildcards.task}"
    shell:
        'python -P "$SCRIPTS"/syntax.py --job {params.job:q} --output {output:q} --log {log:q}'


rule floor:
    input:
        parents("floors"),
    output:
        "results/floors/{task}-{identity}/manifest.json",
    log:
        "results/logs/floors/{task}-{identity}.log",
    benchmark:
        "results/benchmarks/floors/{task}-{identity}.jsonl"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(16000),
        runtime=more_each_time(120),
    params:
        job=job("floors"),
    message:
        "fit the n-gram floor of {wildcards.task}"
    shell:
        'python -P "$SCRIPTS"/floor.py --job {params.job:q} --output {output:q} --log {log:q}'


rule taught_floor:
    input:
        parents("floors"),
    output:
        "results/floors/{task}/{teacher}-{identity}/manifest.json",
    log:
        "results/logs/floors/{task}/{teacher}-{identity}.log",
    benchmark:
        "results/benchmarks/floors/{task}/{teacher}-{identity}.jsonl"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(16000),
        runtime=more_each_time(120),
    params:
        job=job("floors"),
    message:
        "fit the n-grams that {wildcards.teacher} teaches on {wildcards.task}"
    shell:
        'python -P "$SCRIPTS"/floor.py --job {params.job:q} --output {output:q} --log {log:q}'


rule tokenizer:
    input:
        parents("tokenizers"),
    output:
        "results/tokenizers/{vocabulary}/{size}-{identity}/manifest.json",
    log:
        "results/logs/tokenizers/{vocabulary}/{size}-{identity}.log",
    benchmark:
        "results/benchmarks/tokenizers/{vocabulary}/{size}-{identity}.jsonl"
    priority: 2
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(8000),
        runtime=more_each_time(60),
    params:
        job=job("tokenizers"),
    message:
        "learn {wildcards.size} tokens for {wildcards.vocabulary}"
    shell:
        'python -P "$SCRIPTS"/vocabulary.py --job {params.job:q} --output {output:q} --log {log:q}'


rule encoded:
    input:
        parents("encoded"),
    output:
        "results/encoded/{task}/{sequences}-{identity}/manifest.json",
    log:
        "results/logs/encoded/{task}/{sequences}-{identity}.log",
    benchmark:
        "results/benchmarks/encoded/{task}/{sequences}-{identity}.jsonl"
    priority: 2
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more_each_time(8000),
        runtime=more_each_time(60),
    params:
        job=job("encoded"),
    message:
        "encode {wildcards.task} for {wildcards.sequences}"
    shell:
        'python -P "$SCRIPTS"/encode.py --job {params.job:q} --output {output:q} --log {log:q}'
