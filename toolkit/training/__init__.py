"""The training side: fit, options, fine-tuning. TensorFlow is imported when something is trained."""
