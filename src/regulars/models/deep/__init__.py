"""Models trained with torch (extra `deep`) and served without it: plain arrays, and a forward pass of their own.

Files that end in `_net`, and `trainer`, import torch; the models import them inside a fit only.
"""
