"""Evaluation: does a clip follow its controls, is it near to music, is it new (`flowmusic evaluate`).

adherence          the metrics, pure functions of what was extracted (`features.extracted`)
second_extractors  the same by extractors that had no part in the controls
references         corpus songs and sound files as references, exact labels
clip_store         request -> clip, kept under a key of everything that decides it
protocol           which clips are generated; generate, extract, judge; resumable
estimates          figures with n and a 95 % interval
report             score, floor, ceiling, gap closed; tables
musicnn            an embedding that nothing was trained with; embeddings keeps its results
fidelity           Fréchet distance of clips to references
novelty            nearest neighbours of clips in the training set
scoring            the best of several candidates
"""
