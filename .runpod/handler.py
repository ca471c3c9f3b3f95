# RunPod's Hub looks for a file of this name. The worker is the Go program that the Dockerfile builds; no Python is in
# the image, and this file is not in it either.
