"""iPhones and iPads: an app that does jobs, the bundle that a Mac builds and runs, and its results taken back."""
