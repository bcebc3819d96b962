"""Rolling training: splits, fitting, prediction, the job grid."""
