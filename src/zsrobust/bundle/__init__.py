"""Evaluations to send: one file that holds all that its figures are computed from, and its checks.

RobustBench (Croce et al., NeurIPS 2021 Datasets and Benchmarks) takes a claim and a checkpoint in
an issue, and keeps a JSON file a model. A bundle also brings the outcome of every sample, so that
anyone can compute every figure again without the model or a GPU.
"""
