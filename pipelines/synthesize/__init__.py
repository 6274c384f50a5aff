"""Synthesize training data: books become scenes, every turn gets thoughts and a plan, and scenes become samples.

Layers, each importing only those below it:

    __main__, convert                    command lines
    run_stages, ray_prefetch, callers    run the stages over all scenes
    outputs/, options                    dataset, dataset card, report; all settings of a run
    stages/                              what asks models; `stage_table.py` lists the stages and says how to add one
    checks/, sources/                    checks of answers; readers of books
    questions, notes, stage_files, option_groups, concurrency
"""
