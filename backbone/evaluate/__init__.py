"""How good samples are: FID, sFID, Inception score, precision and recall, and the accuracy of the label asked for.

The mathematics is of features in numpy, whatever network they are of; none of it needs torch.
"""

from __future__ import annotations

from backbone.evaluate.accuracy import Classifier, conditional_accuracy
from backbone.evaluate.compare import Options, compare
from backbone.evaluate.features import Extractor, Features, extractor, from_module, pixels
from backbone.evaluate.frechet import frechet_bias, frechet_distance, gaussian_frechet_distance
from backbone.evaluate.gather import Gathered, Reference, gather, open_reference
from backbone.evaluate.images import Images, NpzImages, PngImages, open_images
from backbone.evaluate.manifold import precision_recall
from backbone.evaluate.moments import Moments
from backbone.evaluate.report import Measured, Report
from backbone.evaluate.score import inception_score
from backbone.evaluate.statistics import Statistics

__all__ = [
    "Classifier",
    "Extractor",
    "Features",
    "Gathered",
    "Images",
    "Measured",
    "Moments",
    "NpzImages",
    "Options",
    "PngImages",
    "Reference",
    "Report",
    "Statistics",
    "compare",
    "conditional_accuracy",
    "extractor",
    "frechet_bias",
    "frechet_distance",
    "from_module",
    "gather",
    "gaussian_frechet_distance",
    "inception_score",
    "open_images",
    "open_reference",
    "pixels",
    "precision_recall",
]
