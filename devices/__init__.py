"""An artifact in, measurements out. Never imports TensorFlow, except inside the saved-model target process."""
