"""Two-phase sampling: an ensemble's first part on every sample, the later ones on a random part.

Neyman, "Contribution to the theory of sampling human populations", JASA 1938; Cochran, *Sampling
Techniques* (3rd edition, 1977), chapter 12.
"""
