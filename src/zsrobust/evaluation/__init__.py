"""Evaluation: accuracies of models on data sets, clean and attacked, and how sure they are."""
