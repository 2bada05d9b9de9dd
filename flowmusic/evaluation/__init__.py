"""Evaluation: does a clip follow its controls, and what does the codec leave of a recording.

adherence      the metrics, pure functions of what was heard
listening      audio -> what the extractors hear, kept on disk
references     corpus songs and sound files as references
trials         which clips are generated
protocol       generate, listen, compare; resumable
report         means, floor, ceiling, tables
codec_quality  figures of the codec
separation     figures of the drum separator
musicnn        an embedding that nothing was trained with; embeddings keeps what it says
frechet        distance of two sets of embeddings; fidelity compares generated clips by it
steps          adherence and fidelity against the number of evaluations
neighbours     nearest neighbours among embeddings; novelty looks for copies of the training set
probe          what a clip is, learnt from renders; prompts, text_scores, text_probe: does text work
style          similarity to a style reference, copying, adherence (style_scores: its figures)
balance        text against style over double guidance (balance_scores: its figures)
inversions     pseudo-words learnt from recordings (inversion_scores; style_models: the model as both see it)
command        arguments of `flowmusic evaluate`
"""
