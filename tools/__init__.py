"""What a developer's machine needs: the programs of Kubernetes, a local cluster, the images."""
