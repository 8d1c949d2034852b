"""How far a number can be trusted: resampling of images, on evidence alone.

A task gives one object (`measure`) that computes its metrics under weights of the images; everything else here is the same for every task:
weights are drawn, intervals and tests follow from the replicates.
"""
